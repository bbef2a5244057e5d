"""When maintenance runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import dagster as dg

from mika_ops.clock import utc_now
from mika_ops.config.loading import for_shop
from mika_ops.config.settings import Settings
from mika_ops.host.host import Host
from mika_ops.orchestration.dagster_internals import count_runs, newest_run_ids
from mika_ops.orchestration.runs import ENDED, UNFINISHED, ended_at, started_at
from mika_ops.orchestration.tags import WHY_TAG
from mika_ops.scheduling.tick import BacklogProbe, RecentRuns, decide_tick
from mika_ops.subtasks.registry import SUBTASK_NAMES
from mika_ops.timestamps import to_timestamp

_RUNS_READ: Final = 10
"""Runs that a tick looks at, under way and ended: more than one of a kind is rare."""


def maintenance_schedule(
    settings: Settings, job: dg.JobDefinition, host: Host | None = None, *, shop: str | None = None
) -> dg.ScheduleDefinition:
    """Return the schedule; it runs as soon as it is deployed. The planned time of a tick is the clock of its run.

    A tick looks first, and starts a run only where something is due, the last run failed or is long ago, or nobody can
    tell; otherwise its reason to skip says what it saw. ``shop``: its name, where there are several.
    """
    lookout, runs = BacklogProbe(settings, host), RunsOfAJob(job.name)

    def look_first(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        planned = to_timestamp(context.scheduled_execution_time)
        decision = decide_tick(
            runs.read(context.instance), lambda: lookout.look(planned), now=utc_now(), settings=settings
        )
        # What a tick logs is kept for ever, in a file of its own: it logs what the tick's reason does not say.
        if decision.warning:
            context.log.warning(for_shop(shop, decision.warning))
        why = for_shop(shop, decision.why)
        return dg.RunRequest(tags={WHY_TAG: why}) if decision.launch else dg.SkipReason(why)

    return dg.ScheduleDefinition(
        name=f"{job.name}_schedule",
        job=job,
        cron_schedule=settings.maintenance_schedule,
        execution_timezone=settings.maintenance_timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=_description(settings),
        execution_fn=look_first,
    )


@dataclass(frozen=True)
class _Ended:
    """How and when a run ended, and whether it was of all subtasks."""

    at: datetime
    well: bool
    full: bool


class RunsOfAJob:
    """What the history knows of a job's runs.

    Runs that have ended do not change, so each is read once: for records, Dagster looks its own schema over each time,
    which on Postgres costs more than all else that a tick asks for.
    """

    def __init__(self, job_name: str) -> None:
        self._job_name = job_name
        self._ended: dict[str, _Ended] = {}

    def read(self, instance: dg.DagsterInstance) -> RecentRuns:
        """Read those under way, and the last that ended; one of some subtasks only says nothing of the others."""
        # Mostly there are none, and to count them costs little.
        any_under_way = count_runs(instance, self._in(UNFINISHED))
        under_way = instance.get_run_records(self._in(UNFINISHED), limit=_RUNS_READ) if any_under_way else []
        newest = newest_run_ids(instance, self._in(ENDED), limit=_RUNS_READ)
        known = {id_: ended for id_, ended in self._ended.items() if id_ in newest}
        if unknown := [id_ for id_ in newest if id_ not in known]:
            records = instance.get_run_records(dg.RunsFilter(run_ids=unknown))
            known |= {record.dagster_run.run_id: _ended(record) for record in records}
        self._ended = known
        last = next((known[id_] for id_ in newest if id_ in known and known[id_].full), None)
        return RecentRuns(
            under_way={record.dagster_run.run_id: started_at(record) for record in under_way},
            ended_at=None if last is None else last.at,
            ended_well=last is not None and last.well,
        )

    def _in(self, statuses: Sequence[dg.DagsterRunStatus]) -> dg.RunsFilter:
        return dg.RunsFilter(job_name=self._job_name, statuses=list(statuses))


def _ended(record: dg.RunRecord) -> _Ended:
    return _Ended(
        ended_at(record),
        well=record.dagster_run.status is dg.DagsterRunStatus.SUCCESS,
        full=_is_full(record),
    )


def _is_full(record: dg.RunRecord) -> bool:
    chosen = record.dagster_run.run_config.get("subtasks")
    return not chosen or (isinstance(chosen, list) and set(chosen) == set(SUBTASK_NAMES))


def _description(settings: Settings) -> str:
    when = f"Runs maintenance at {settings.maintenance_schedule} ({settings.maintenance_timezone})"
    if settings.idle_ticks == "run":
        return f"{when}."
    return f"{when} when something is due, and every {settings.heartbeat_minutes:g} minutes when nothing is."
