"""The Dagster layer: jobs, ops, resources, schedules, sensors and assets. It holds no maintenance rule and no SQL."""
