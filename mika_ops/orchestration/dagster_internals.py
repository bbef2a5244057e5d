"""All that mika-ops uses of Dagster without a public API. No other module imports ``dagster._…``.

``dagster>=1.13,<1.14`` is pinned for these names. Each is imported where it is used, so a name that moves breaks only
what needs it. For each name: what breaks if it moves, and which public API could replace it.

``dagster._core.definitions.job_base.InMemoryJob``, ``dagster._core.execution.api.execute_run``
    Breaks: ``mika-ops run`` and ``python -m mika_ops.demo run``.
    Public: ``dagster.execute_job`` with ``dagster.build_reconstructable_job``. It was tried and works, but a job that
    can be reconstructed must be a function of a module with JSON arguments, and Dagster stores these arguments with
    the run. The settings would have to pass that way, and their secrets would be in Dagster's storage.
    ``JobDefinition.execute_in_process`` replaces the job's executor, so an interrupted run would end as failed.
``DagsterInstance.create_run_for_job``
    Breaks: ``mika-ops run``.
    Public: ``dagster.execute_job`` creates the run itself; see above.
``dagster._utils.schedules.schedule_execution_time_iterator``
    Breaks: the alert that no run has finished (dead man's switch), and with it both alert sensors.
    Public: none; the windows of ``dagster.TimeWindowPartitionsDefinition`` start at the same times, but the methods
    that return them are not public either. The package ``cronsim`` reads the same strings.
``dagster._core.storage.event_log.SqliteEventLogStorage``, ``DagsterInstance.event_log_storage``
    Breaks: history retention on SQLite, which would leave the empty event files of deleted runs behind.
    Public: none; ``DagsterInstance.delete_run`` leaves these files.
``DagsterInstance.compute_log_manager``
    Breaks: history retention, which could not delete the logs of a run.
    Public: none.
``DagsterInstance.report_run_canceling``
    Breaks: an interrupted run ends as failed instead of canceled, and raises an alert.
    Public: none; the UI calls the same through the run launcher.
``DagsterEvent.step_failure_data.error_source``
    Breaks: the same, for a run whose step is interrupted in another process.
    Public: none.
``DagsterInstance.get_runs_count``, ``DagsterInstance.get_run_ids``
    Breaks: the schedule, history retention and the hourly roll-up.
    Public: ``DagsterInstance.get_run_records``. It reads whole runs, and on Postgres inspects Dagster's schema on each
    call, which costs more than the rest of an idle tick.
``DagsterInstance.all_logs``, ``DagsterInstance.get_records_for_run``
    Breaks: the summary of a run and ``mika-ops run``, which read outcomes; the causes in alerts.
    Public: ``DagsterInstance.get_event_records`` reads one type of event of all runs, without a filter by run.
``DagsterInstance.add_run_tags``
    Breaks: the summary, and with it alerts about subtasks and checks.
    Public: none.
``dagster._core.execution.context.system.PlanOrchestrationContext``, ``dagster._core.execution.plan.plan.ExecutionPlan``
    Breaks: nothing at run time; they are names of types in the signature of ``dagster.Executor.execute``.
    Public: none.
``dagster._core.execution.retries.RetryMode``, ``dagster._core.execution.step_dependency_config.StepDependencyConfig``
    Breaks: nothing at run time; they are names of types of two properties of ``dagster.Executor``.
    Public: none.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import dagster as dg

if TYPE_CHECKING:
    from dagster._core.execution.context.system import PlanOrchestrationContext as PlanOrchestrationContext
    from dagster._core.execution.plan.plan import ExecutionPlan as ExecutionPlan
    from dagster._core.execution.retries import RetryMode as RetryMode
    from dagster._core.execution.step_dependency_config import StepDependencyConfig as StepDependencyConfig


def create_run(
    job: dg.JobDefinition, instance: dg.DagsterInstance, run_config: Mapping[str, Any] | None = None
) -> dg.DagsterRun:
    """Record a run of a job that has not started."""
    return instance.create_run_for_job(job, run_config=run_config, tags=job.run_tags)


def execute_run(job: dg.JobDefinition, run: dg.DagsterRun, instance: dg.DagsterInstance) -> dg.JobExecutionResult:
    """Execute a recorded run in this process, with the executor of its job. Never raises for a run that fails."""
    from dagster._core.definitions.job_base import InMemoryJob
    from dagster._core.execution.api import execute_run

    return execute_run(InMemoryJob(job), run, instance)


def cron_times(cron: str, timezone: str, *, since: datetime) -> Iterator[datetime]:
    """Yield the times of a cron string from ``since`` on, without end, as Dagster's scheduler computes them."""
    from dagster._utils.schedules import schedule_execution_time_iterator

    return schedule_execution_time_iterator(since.timestamp(), cron, timezone)


def event_files(instance: dg.DagsterInstance, run_id: str) -> list[Path]:
    """Return the files in which a SQLite instance keeps the events of one run; none for any other storage.

    Dagster empties them when it deletes the run, and leaves them there. They are the three files that its own ``wipe``
    removes for each run. For a run id that is no UUID there are none: the name could be that of another file.
    """
    from dagster._core.storage.event_log import SqliteEventLogStorage

    storage = instance.event_log_storage
    if not isinstance(storage, SqliteEventLogStorage) or not _is_uuid(run_id):
        return []
    database = storage.path_for_shard(run_id)
    return [Path(database + suffix) for suffix in ("", "-wal", "-shm")]


def delete_logs(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete what the steps of a run printed."""
    instance.compute_log_manager.delete_logs(prefix=[run_id])


def mark_canceling(instance: dg.DagsterInstance, run: dg.DagsterRun, message: str) -> None:
    """Record that a run is asked to stop: Dagster then ends it as canceled and not as failed."""
    instance.report_run_canceling(run, message=message)


def is_interruption(event: dg.DagsterEvent) -> bool:
    """Say whether a step failed because its process was asked to stop."""
    return event.is_step_failure and event.step_failure_data.error_source.name == "INTERRUPT"


def count_runs(instance: dg.DagsterInstance, wanted: dg.RunsFilter) -> int:
    """Return how many runs there are."""
    return instance.get_runs_count(wanted)


def newest_run_ids(instance: dg.DagsterInstance, wanted: dg.RunsFilter, *, limit: int) -> Sequence[str]:
    """Return the ids of the newest runs, newest first."""
    return instance.get_run_ids(wanted, limit=limit)


def events_of_run(
    instance: dg.DagsterInstance, run_id: str, kind: dg.DagsterEventType, *, limit: int | None = None
) -> list[dg.DagsterEvent]:
    """Return the events of one type of a run, oldest first; ``limit``: at most so many."""
    if limit is None:
        entries = instance.all_logs(run_id, of_type=kind)
    else:
        records = instance.get_records_for_run(run_id, of_type={kind}, limit=limit).records
        entries = [record.event_log_entry for record in records]
    return [entry.dagster_event for entry in entries if entry.dagster_event is not None]


def add_run_tags(instance: dg.DagsterInstance, run_id: str, tags: Mapping[str, str]) -> None:
    """Add tags to a run, and replace those that it has."""
    instance.add_run_tags(run_id, dict(tags))


def _is_uuid(run_id: str) -> bool:
    try:
        return str(UUID(run_id)) == run_id
    except ValueError:
        return False
