"""Retention of Dagster's own run history."""
