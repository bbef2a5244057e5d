"""The job ``mika_maintenance``: its ops, resources, schedule and summary."""
