"""A run that is asked to stop ends as canceled, whoever asks.

Dagster marks a run canceled where its UI asked for it, and failed where its process was told to stop: by a deployment,
by a node that is drained, by ``systemctl stop``. Maintenance stops in order either way, and the next tick goes on where
it was, so neither is a failure that somebody must be told of.
"""

import dagster as dg
from dagster._core.execution.plan.objects import ErrorSource


def cancel_when_interrupted(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Have the run end as canceled from now on where this process is interrupted (SIGTERM, SIGINT)."""

    def cancel(entry: dg.EventLogEntry) -> None:
        event = entry.dagster_event
        if event is None or not event.is_step_failure:
            return
        if event.step_failure_data.error_source == ErrorSource.INTERRUPT:
            current = instance.get_run_by_id(run.run_id)
            # Before the run's end is written: Dagster then looks at whether it was asked to cancel it.
            if current is not None and current.status == dg.DagsterRunStatus.STARTED:
                instance.report_run_canceling(current, message="The run's process was asked to stop.")

    instance.add_event_listener(run.run_id, cancel)
