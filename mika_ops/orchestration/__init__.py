"""Dagster: the job, its ops and resources, when it runs, and who is told when it fails. No rule and no SQL."""
