"""When a job's next run is overdue."""

from datetime import datetime, timedelta

from mika_ops.alerting.incidents import OverdueAt
from mika_ops.config.settings import Settings
from mika_ops.orchestration.dagster_internals import cron_times


def overdue_at(settings: Settings) -> OverdueAt:
    """Return what says until when a run must have finished: the setting, or as long as the schedule itself waits."""
    return overdue_after(
        settings.maintenance_schedule,
        settings.maintenance_timezone,
        no_run=timedelta(minutes=settings.alert_no_run_minutes),
        idle=timedelta(minutes=settings.heartbeat_minutes if settings.idle_ticks == "skip" else 0),
        run=timedelta(minutes=settings.long_run_minutes),
    )


def overdue_after(
    cron: str, timezone: str, *, no_run: timedelta, run: timedelta, idle: timedelta = timedelta(0)
) -> OverdueAt:
    def until(heard: datetime) -> datetime:
        ticks = cron_times(cron, timezone, since=heard + idle)
        return max(heard + no_run, next(ticks) + run)

    return until
