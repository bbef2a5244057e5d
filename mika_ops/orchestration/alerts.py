"""Telling somebody that a maintenance run failed."""

import logging
from typing import Final

import dagster as dg

from mika_ops.ports import Alert, AlertSink
from mika_ops.privacy import redacted
from mika_ops.supplied import in_hand

logger: Final = logging.getLogger("mika_ops.alerts")


class LoggedAlerts:
    """Logs every alert as an error. Fits ``mika_ops.ports.AlertSink``."""

    def send(self, alert: Alert) -> None:
        """Log an alert."""
        logger.error(alert.sentence)


def failure_alerts(job: dg.JobDefinition, sink: AlertSink | None = None) -> dg.SensorDefinition:
    """Return the sensor that alerts for every failed run of this job, and of no other.

    ``sink`` delivers the alerts; without one, they are logged.
    """
    delivered = "Logs an alert, as an error of the logger mika_ops.alerts," if sink is None else "Alerts"

    @dg.run_failure_sensor(
        name=f"{job.name}_alerts",
        description=f"{delivered} for every failed run of {job.name}.",
        monitored_jobs=[job],
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def alert(context: dg.RunFailureSensorContext) -> None:
        by = LoggedAlerts() if sink is None else in_hand("Host(alert_sink)", AlertSink, sink)
        by.send(alert_of(context))

    return alert


def alert_of(context: dg.RunFailureSensorContext) -> Alert:
    """Say which run failed and why: ids and sentences, no personal data."""
    causes = [_cause(event) for event in context.get_step_failure_events()] or [_cause(context.failure_event)]
    run = context.dagster_run
    told = "; ".join(redacted(cause) for cause in causes if cause)
    return Alert(run.job_name, run.run_id, f"{run.job_name} run {run.run_id} failed: {told}")


def _cause(event: dg.DagsterEvent) -> str:
    data = event.event_specific_data
    failure = getattr(data, "user_failure_data", None)
    if failure is not None and failure.description:
        return str(failure.description)
    error = getattr(data, "error", None)
    while error is not None and error.cause is not None:
        error = error.cause
    if error is None:
        return str(event.message)
    message: str = error.message
    return message.partition(f"{error.cls_name}: ")[2] or message
