"""Monitors the runs of a job: alerts when maintenance fails, and when it has recovered.

The monitor keeps its own cursor, because Dagster's run-status sensors lose an alert whose delivery fails. It reads the
finished runs of one job, and the tags that say how their subtasks ended. The events of a run are read only for the
cause that an alert names.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import dagster as dg
from pydantic import BaseModel, ConfigDict, ValidationError

from mika_ops.alerting import incidents
from mika_ops.alerting.incidents import FinishedRun, MonitorState, OverdueAt
from mika_ops.clock import utc_now
from mika_ops.host.lazy import resolve_component
from mika_ops.orchestration.alerts.delivery import AlertDelivery
from mika_ops.orchestration.maintenance.ops import FAIL_RUN_ON
from mika_ops.orchestration.runs import ENDED, ended_at
from mika_ops.orchestration.tags import COMPLETED_TAG, FAILED_TAG, HEALTHY_TAG, SKIPPED_TAG, UNHEALTHY_TAG, names_in
from mika_ops.ports.alerts import Alert, AlertSink

RUNS_A_TICK: Final = 10_000
"""The most runs that one tick reads. If more wait, no alert is sent before all are read."""


OVERLAP: Final = timedelta(seconds=30)
"""How far back each tick reads again: a run may be recorded a moment after one that finished later."""


_SEEN_KEPT: Final = 500
"""The most runs that the cursor names as seen."""


class AlertsNotDelivered(Exception):
    """Alerts could not be delivered, and the next tick retries them. The message names the incidents and reasons."""


class Cursor(BaseModel):
    """How far the runs are read: up to ``since``, and those ``seen`` after it; and the state of the job."""

    model_config = ConfigDict(frozen=True)

    version: Literal[2] = 2
    since: datetime
    seen: tuple[int, ...] = ()
    state: MonitorState

    @classmethod
    def read(cls, text: str | None) -> "Cursor | None":
        """Read a cursor; ``None`` if there is none, or if another version wrote it."""
        try:
            return None if text is None else cls.model_validate_json(text)
        except ValidationError:
            return None

    def written(self) -> str:
        """Write the cursor, without default values."""
        return self.model_dump_json(exclude_defaults=True)[:-1] + f',"version":{self.version}}}'


@dataclass(frozen=True)
class SuppliedAlerts:
    """A host's sink, which may be created lazily, with the first alert. Fits ``AlertSink``."""

    sink: AlertSink

    def send(self, alert: Alert) -> None:
        """Deliver an alert. Raises ``InvalidHost`` if the sink does not fit its port, and whatever the sink raises."""
        resolve_component("Host(alert_sink)", AlertSink, self.sink).send(alert)


@dataclass(frozen=True)
class JobMonitor:
    """One job and the channels that are alerted about it.

    ``errors``: the checks whose failure is an alert; ``overdue_at``: ``None`` where no schedule is registered.
    """

    job: str
    sinks: Sequence[AlertSink]
    cooldown: timedelta
    errors: frozenset[str] = frozenset()
    overdue_at: OverdueAt | None = None
    dagster_url: str | None = None
    now: Callable[[], datetime] = utc_now
    monotonic: Callable[[], float] = time.monotonic

    def tick(self, instance: dg.DagsterInstance, stored: str | None) -> tuple[str, str]:
        """Read the runs that finished since the last tick, and deliver what is due; return a new cursor and a sentence.

        Raises ``AlertsNotDelivered`` if nothing could be delivered and the stored cursor already holds the incidents:
        the next tick then starts from that cursor. Otherwise the new cursor must be kept, and the sentence reports it.
        """
        now, before = self.now(), Cursor.read(stored)
        cursor, runs, all_read = self._read(instance, before, now)
        state = incidents.apply_runs(
            cursor.state,
            runs,
            now=now,
            cooldown=self.cooldown,
            channels=len(self.sinks),
            overdue_at=self.overdue_at if all_read else None,
        )
        if self.overdue_at is None:
            state = incidents.without_no_runs(state)
        sentence = f"{_many(len(runs), 'run')} finished"
        if not all_read:
            return cursor.model_copy(update={"state": state}).written(), f"{sentence}; more are read at the next tick"
        delivery = AlertDelivery(self.job, self.sinks, instance, state, self.dagster_url, self.monotonic)
        delivery.deliver(list(incidents.due_notifications(state, now=now, cooldown=self.cooldown)), now)
        if delivery.delivered:
            sentence = f"{sentence}, {_many(delivery.delivered, 'alert')} delivered"
        if delivery.failed:
            sentence = f"{sentence}; not delivered, and retried at the next tick: {delivery.failure_reasons()}"
            if not delivery.delivered and before is not None and delivery.failed_in(before.state):
                raise AlertsNotDelivered(sentence)
        return cursor.model_copy(update={"state": delivery.state}).written(), sentence

    def _read(
        self, instance: dg.DagsterInstance, before: Cursor | None, now: datetime
    ) -> tuple[Cursor, list[FinishedRun], bool]:
        """Return the advanced cursor, the finished runs, oldest first, and whether these are all."""
        wanted = dg.RunsFilter(job_name=self.job, statuses=ENDED)
        if before is None:
            # The newest run shows the present state, whatever the runs before did.
            newest = instance.get_run_records(wanted, limit=1, order_by="update_timestamp")
            since = newest[0].update_timestamp if newest else datetime.fromtimestamp(0, UTC)
            seen = tuple(record.storage_id for record in newest)
            runs = [self._finished_run(record) for record in newest]
            state = MonitorState(last_finished_at=runs[0].at if runs else now)
            return Cursor(since=since, seen=seen, state=state), runs, True
        limit = RUNS_A_TICK + len(before.seen) + 1
        records = instance.get_run_records(
            dg.RunsFilter(job_name=self.job, statuses=ENDED, updated_after=before.since),
            limit=limit,
            order_by="update_timestamp",
            ascending=True,
        )
        known = set(before.seen)
        new = [record for record in records if record.storage_id not in known and not _is_old(record, before.since)]
        return _advanced(before, records), [self._finished_run(record) for record in new], len(records) < limit

    def _finished_run(self, record: dg.RunRecord) -> FinishedRun:
        run = record.dagster_run
        at = ended_at(record)
        failing = names_in(run.tags, UNHEALTHY_TAG)
        return FinishedRun(
            run_id=run.run_id,
            at=at,
            failed=run.status is dg.DagsterRunStatus.FAILURE,
            canceled=run.status is dg.DagsterRunStatus.CANCELED,
            failed_subtasks=names_in(run.tags, FAILED_TAG),
            skipped_subtasks=names_in(run.tags, SKIPPED_TAG),
            completed_subtasks=names_in(run.tags, COMPLETED_TAG),
            run_failing_subtasks=FAIL_RUN_ON,
            failing_checks=failing & self.errors,
            passing_checks=names_in(run.tags, HEALTHY_TAG) | failing - self.errors,
        )


def _is_old(record: dg.RunRecord, since: datetime) -> bool:
    """Say whether a run finished before and was changed later, for example by a person who added a tag."""
    return record.end_time is not None and record.end_time < since.timestamp()


def _advanced(before: Cursor, records: Sequence[dg.RunRecord]) -> Cursor:
    if not records:
        return before
    since = max(before.since, records[-1].update_timestamp - OVERLAP)
    recent = [record for record in records if record.update_timestamp > since]
    if len(recent) > _SEEN_KEPT:
        since = recent[-_SEEN_KEPT - 1].update_timestamp
        recent = [record for record in recent if record.update_timestamp > since]
    return before.model_copy(update={"since": since, "seen": tuple(record.storage_id for record in recent)})


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"
