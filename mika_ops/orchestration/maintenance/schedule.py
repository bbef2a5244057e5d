"""The schedule: at each tick, whether a maintenance run starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import dagster as dg

from mika_ops.clock import utc_now
from mika_ops.config.settings import Settings
from mika_ops.config.shop import Shop
from mika_ops.orchestration.dagster_internals import count_runs, newest_run_ids
from mika_ops.orchestration.runs import ENDED, UNFINISHED, ended_at, started_at
from mika_ops.orchestration.tags import WHY_TAG
from mika_ops.scheduling.backlog_probe import BacklogProbe
from mika_ops.scheduling.tick import RecentRuns, decide_tick
from mika_ops.subtasks.registry import SUBTASK_NAMES
from mika_ops.timestamps import to_timestamp

_RUNS_READ: Final = 10
"""The number of unfinished and of ended runs that a tick reads; more than one of each is rare."""


def maintenance_schedule(shop: Shop, job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Return the schedule, which is on as soon as it is deployed. The scheduled time of a tick is that of its run.

    A tick queries the backlog first. It starts a run only if work is due, if the last run failed or ended long ago, or
    if the backlog cannot be read; otherwise it is skipped with the reason.
    """
    settings, probe, runs = shop.settings, BacklogProbe(shop), JobRuns(job.name)

    def evaluate_tick(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        planned = to_timestamp(context.scheduled_execution_time)
        decision = decide_tick(runs.read(context.instance), lambda: probe.probe(planned), now=utc_now(), shop=shop)
        # Dagster keeps the log of each tick indefinitely, in a file: log only what the reason does not say.
        if decision.warning:
            context.log.warning(decision.warning)
        return dg.RunRequest(tags={WHY_TAG: decision.reason}) if decision.run else dg.SkipReason(decision.reason)

    return dg.ScheduleDefinition(
        name=f"{job.name}_schedule",
        job=job,
        cron_schedule=settings.maintenance_schedule,
        execution_timezone=settings.maintenance_timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=_description(settings),
        execution_fn=evaluate_tick,
    )


@dataclass(frozen=True)
class _Ended:
    """When a run ended, whether it succeeded, and whether it covered all subtasks."""

    at: datetime
    succeeded: bool
    full: bool


class JobRuns:
    """The recent runs of a job in the history.

    A run that has ended does not change, so each is read once and cached: to read records, Dagster inspects its own
    schema each time, which on Postgres costs more than all other queries of a tick.
    """

    def __init__(self, job_name: str) -> None:
        self._job_name = job_name
        self._ended: dict[str, _Ended] = {}

    def read(self, instance: dg.DagsterInstance) -> RecentRuns:
        """Read the unfinished runs and the last full run: a run of some subtasks says nothing about the others."""
        # There are usually none, and a count is cheap.
        any_unfinished = count_runs(instance, self._in(UNFINISHED))
        unfinished = instance.get_run_records(self._in(UNFINISHED), limit=_RUNS_READ) if any_unfinished else []
        newest = newest_run_ids(instance, self._in(ENDED), limit=_RUNS_READ)
        known = {id_: ended for id_, ended in self._ended.items() if id_ in newest}
        if unknown := [id_ for id_ in newest if id_ not in known]:
            records = instance.get_run_records(dg.RunsFilter(run_ids=unknown))
            known |= {record.dagster_run.run_id: _ended(record) for record in records}
        self._ended = known
        last = next((known[id_] for id_ in newest if id_ in known and known[id_].full), None)
        return RecentRuns(
            under_way={record.dagster_run.run_id: started_at(record) for record in unfinished},
            ended_at=None if last is None else last.at,
            succeeded=last is not None and last.succeeded,
        )

    def _in(self, statuses: Sequence[dg.DagsterRunStatus]) -> dg.RunsFilter:
        return dg.RunsFilter(job_name=self._job_name, statuses=list(statuses))


def _ended(record: dg.RunRecord) -> _Ended:
    return _Ended(
        ended_at(record),
        succeeded=record.dagster_run.status is dg.DagsterRunStatus.SUCCESS,
        full=_is_full(record),
    )


def _is_full(record: dg.RunRecord) -> bool:
    chosen = record.dagster_run.run_config.get("subtasks")
    return not chosen or (isinstance(chosen, list) and set(chosen) == set(SUBTASK_NAMES))


def _description(settings: Settings) -> str:
    when = f"Cron {settings.maintenance_schedule} ({settings.maintenance_timezone})"
    if settings.idle_ticks == "run":
        return f"{when}: starts a maintenance run at every tick."
    return (
        f"{when}: starts a maintenance run if work is due, and at least every {settings.heartbeat_minutes:g} minutes. "
        "Other ticks are skipped with the reason."
    )
