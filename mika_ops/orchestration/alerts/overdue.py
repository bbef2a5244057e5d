"""When the next run of a job is overdue."""

from datetime import datetime, timedelta

from mika_ops.alerting.incidents import OverdueAt
from mika_ops.config.settings import Settings
from mika_ops.orchestration.dagster_internals import cron_times


def overdue_at(settings: Settings) -> OverdueAt:
    """Return the rule by when a run must finish: the time of the setting, or that of the next scheduled run."""
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
    def due_by(last_finished_at: datetime) -> datetime:
        ticks = cron_times(cron, timezone, since=last_finished_at + idle)
        return max(last_finished_at + no_run, next(ticks) + run)

    return due_by
