"""Assembling everything that Dagster loads."""

import dagster as dg

from mika_ops.host import Host
from mika_ops.orchestration.alerts import failure_alerts
from mika_ops.orchestration.job import maintenance_job
from mika_ops.orchestration.resources import resources_for
from mika_ops.orchestration.schedule import maintenance_schedule
from mika_ops.settings import Settings, load_settings


def build_definitions(*, host: Host | None = None, settings: Settings | None = None) -> dg.Definitions:
    """Return the job with its resources, schedule and alerts, for one shop.

    ``settings`` are read from the environment where they are not given; a piece of ``host`` comes before one that the
    settings ask for. With ``maintenance_enabled`` off there is no schedule. Connects to nothing. Raises
    ``SettingsError`` where the environment cannot be used.
    """
    settings = load_settings() if settings is None else settings
    job = maintenance_job()
    return dg.Definitions(
        jobs=[job],
        schedules=[maintenance_schedule(settings, job)] if settings.maintenance_enabled else [],
        sensors=[failure_alerts(job)],
        resources=resources_for(settings, host),
    )
