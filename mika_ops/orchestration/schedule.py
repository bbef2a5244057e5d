"""When maintenance runs."""

import dagster as dg

from mika_ops.settings import Settings


def maintenance_schedule(settings: Settings, job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Return the schedule; it runs as soon as it is deployed. The planned time of a tick is the clock of its run."""
    return dg.ScheduleDefinition(
        name=f"{job.name}_schedule",
        job=job,
        cron_schedule=settings.maintenance_schedule,
        execution_timezone=settings.maintenance_timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Runs maintenance at {settings.maintenance_schedule} ({settings.maintenance_timezone}).",
    )
