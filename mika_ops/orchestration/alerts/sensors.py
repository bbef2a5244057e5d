"""The sensors that alert about the runs of a job."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import dagster as dg

from mika_ops.alerting.channels import channels
from mika_ops.alerting.incidents import OverdueAt
from mika_ops.clock import utc_now
from mika_ops.config.shop import Shop
from mika_ops.orchestration.alerts.monitor import JobMonitor, SuppliedAlerts
from mika_ops.orchestration.alerts.overdue import overdue_after, overdue_at
from mika_ops.orchestration.retention.job import DAILY

TICK_SECONDS: Final = 120
"""The interval between two ticks. Each costs 50 ms of CPU and a kilobyte of Dagster's storage, kept for a day."""


HISTORY_TICK_SECONDS: Final = 600
"""The interval between two ticks of the sensor for a job that runs once a day."""


def alert_sensor(
    shop: Shop,
    job: dg.JobDefinition,
    *,
    now: Callable[[], datetime] = utc_now,
) -> dg.SensorDefinition:
    """Return the sensor that alerts when this job, and no other, fails, and when it has recovered.

    The alert sink that the shop supplies delivers the alerts; without one, the addresses of ``MIKA_ALERT_URLS`` do, or
    else the log. Raises ``SettingsError`` for an invalid address.
    """
    monitor = _monitor(shop, job, now=now, overdue_at=overdue_at(shop.settings))
    return _sensor(
        replace(monitor, errors=frozenset(shop.settings.check_errors)),
        logs=shop.supplied.alert_sink is None and not shop.settings.alert_urls,
        when=(
            f"a run of {job.name} or one of its subtasks fails, a subtask that used to run is skipped, a check fails "
            f"that is an error ({', '.join(shop.settings.check_errors) or 'none is'}), or no run finishes any more"
        ),
        seconds=TICK_SECONDS,
    )


def history_alert_sensor(
    shop: Shop,
    job: dg.JobDefinition,
    *,
    now: Callable[[], datetime] = utc_now,
) -> dg.SensorDefinition:
    """Return the sensor that alerts when old runs are no longer deleted; otherwise it is like ``alert_sensor``.

    It is a sensor of its own, because the cursor of a sensor reads the runs of one job; this one ticks less often.
    """
    settings = shop.settings
    daily = overdue_after(
        DAILY, settings.maintenance_timezone, no_run=timedelta(0), run=timedelta(minutes=settings.long_run_minutes)
    )
    return _sensor(
        _monitor(shop, job, now=now, overdue_at=daily),
        logs=shop.supplied.alert_sink is None and not shop.settings.alert_urls,
        when=f"a run of {job.name} fails, or none finishes any more: then the history grows indefinitely",
        seconds=HISTORY_TICK_SECONDS,
    )


def _sensor(monitor: JobMonitor, *, logs: bool, when: str, seconds: int) -> dg.SensorDefinition:
    @dg.sensor(
        name=f"{monitor.job}_alerts",
        description=(
            f"{'Logs an alert, by the logger mika_ops.alerts,' if logs else 'Alerts'} when {when}; again after a "
            "while, and when it is over."
        ),
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        cursor, sentence = monitor.tick(context.instance, context.cursor)
        context.update_cursor(cursor)
        return dg.SkipReason(sentence)

    return alerts


def _monitor(
    shop: Shop,
    job: dg.JobDefinition,
    *,
    now: Callable[[], datetime],
    overdue_at: OverdueAt,
) -> JobMonitor:
    settings, sink = shop.settings, shop.supplied.alert_sink
    return JobMonitor(
        job=job.name,
        sinks=channels(shop) if sink is None else [SuppliedAlerts(sink)],
        cooldown=timedelta(minutes=settings.alert_cooldown_minutes),
        overdue_at=overdue_at if settings.maintenance_enabled else None,
        dagster_url=settings.dagster_url,
        now=now,
    )
