"""When maintenance runs."""

from typing import Final

import dagster as dg

from mika_ops.settings import Settings

SCHEDULE_NAME: Final = "mika_maintenance_schedule"


def maintenance_schedule(settings: Settings, job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Return the schedule; it runs as soon as it is deployed. The planned time of a tick is the clock of its run."""
    return dg.ScheduleDefinition(
        name=SCHEDULE_NAME,
        job=job,
        cron_schedule=settings.maintenance_schedule,
        execution_timezone=settings.maintenance_timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Runs maintenance at {settings.maintenance_schedule} ({settings.maintenance_timezone}).",
    )
