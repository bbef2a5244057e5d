"""Diagnosis of a configuration: every configured component is tried, and nothing is changed."""
