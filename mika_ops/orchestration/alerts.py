"""Telling somebody that a maintenance run failed."""

import logging
from typing import Final

import dagster as dg

from mika_ops.privacy import redacted

SENSOR_NAME: Final = "mika_maintenance_alerts"

logger: Final = logging.getLogger("mika_ops.alerts")


def failure_alerts(job: dg.JobDefinition) -> dg.SensorDefinition:
    """Return the sensor that logs an alert for every failed run of this job, and of no other."""

    @dg.run_failure_sensor(
        name=SENSOR_NAME,
        description=f"Logs an alert, as an error of the logger {logger.name}, for every failed run of {job.name}.",
        monitored_jobs=[job],
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def alert(context: dg.RunFailureSensorContext) -> None:
        logger.error(alert_text(context))

    return alert


def alert_text(context: dg.RunFailureSensorContext) -> str:
    """Say which run failed and why: ids and sentences, no personal data."""
    causes = [_cause(event) for event in context.get_step_failure_events()] or [_cause(context.failure_event)]
    run = context.dagster_run
    return f"{run.job_name} run {run.run_id} failed: {'; '.join(redacted(cause) for cause in causes if cause)}"


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
