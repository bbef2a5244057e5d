"""Diagnosis of a configuration: probes test every configured component, and change nothing."""
