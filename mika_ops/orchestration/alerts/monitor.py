"""Alerting when maintenance goes wrong, and when it works again.

A plain sensor with a cursor of its own, since Dagster's run-status sensors lose an alert whose delivery fails. It reads
the finished runs of one job and the tags in which they say how their subtasks ended; the events of a run are read only
for the cause that an alert names.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import dagster as dg
from pydantic import BaseModel, ConfigDict, ValidationError

from mika_ops.alerting import incidents
from mika_ops.alerting.incidents import FinishedRun, MonitorState, Notification, OverdueAt
from mika_ops.alerting.messages import alert_of
from mika_ops.clock import utc_now
from mika_ops.host.lazy import resolve_component
from mika_ops.orchestration.alerts.causes import cause_of
from mika_ops.orchestration.maintenance.ops import FAIL_RUN_ON
from mika_ops.orchestration.runs import ENDED, ended_at
from mika_ops.orchestration.tags import COMPLETED_TAG, FAILED_TAG, HEALTHY_TAG, SKIPPED_TAG, UNHEALTHY_TAG, names_in
from mika_ops.ports.alerts import Alert, AlertSink
from mika_ops.redaction import describe_error

RUNS_A_TICK: Final = 10_000
"""The most runs that one tick reads. If more wait, no alert is sent before all are read."""


DELIVERY_SECONDS: Final = 30.0
"""After so long a tick begins no delivery any more: Dagster ends a tick after a minute, and forgets what it did."""


OVERLAP: Final = timedelta(seconds=30)
"""How far back each tick reads again: a run may be recorded a moment after one that finished later."""


_REMEMBERED: Final = 500


class AlertsNotDelivered(Exception):
    """Alerts could not be delivered and wait for the next tick. The message says which, and why."""


class Cursor(BaseModel):
    """How far the runs are read: those updated up to ``since``, and those ``seen`` after it; and what is known."""

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
        """Write the cursor, without what is as by default."""
        return self.model_dump_json(exclude_defaults=True)[:-1] + f',"version":{self.version}}}'


@dataclass(frozen=True)
class SuppliedAlerts:
    """A host's sink, which may be made only when the first alert is to be delivered. Fits ``AlertSink``."""

    sink: AlertSink

    def send(self, alert: Alert) -> None:
        """Deliver an alert. Raises ``InvalidHost`` where what the host made does not fit, and what its sink raises."""
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
        """Read the runs that finished since, and deliver what is due; return the new cursor and a sentence.

        Raises ``AlertsNotDelivered`` where nothing could be delivered and the stored cursor knows of it already: the
        next tick then starts from there. If the cursor has to be kept, only the sentence says so.
        """
        now, before = self.now(), Cursor.read(stored)
        cursor, observations, all_read = self._read(instance, before, now)
        state = incidents.apply_runs(
            cursor.state,
            observations,
            now=now,
            cooldown=self.cooldown,
            channels=len(self.sinks),
            overdue_at=self.overdue_at if all_read else None,
        )
        if self.overdue_at is None:
            state = incidents.without_no_runs(state)
        sentence = f"{_many(len(observations), 'run')} finished"
        if not all_read:
            return cursor.model_copy(update={"state": state}).written(), f"{sentence}; more are read at the next tick"
        round_ = Delivery(self, instance, state)
        round_.deliver(list(incidents.due_notifications(state, now=now, cooldown=self.cooldown)), now)
        if round_.delivered:
            sentence = f"{sentence}, {_many(round_.delivered, 'alert')} delivered"
        if round_.failed:
            sentence = f"{sentence}; not delivered, and tried again at the next tick: {round_.why_not()}"
            if not round_.delivered and before is not None and _is_in_state(before.state, round_.failed):
                raise AlertsNotDelivered(sentence)
        return cursor.model_copy(update={"state": round_.state}).written(), sentence

    def _read(
        self, instance: dg.DagsterInstance, before: Cursor | None, now: datetime
    ) -> tuple[Cursor, list[FinishedRun], bool]:
        """Return the cursor moved on, what the runs say, oldest first, and whether these are all that wait."""
        wanted = dg.RunsFilter(job_name=self.job, statuses=ENDED)
        if before is None:
            # Whatever has been, the newest run says how things are.
            newest = instance.get_run_records(wanted, limit=1, order_by="update_timestamp")
            since = newest[0].update_timestamp if newest else datetime.fromtimestamp(0, UTC)
            seen = tuple(record.storage_id for record in newest)
            observations = [self._seen(record) for record in newest]
            heard = observations[0].at if observations else now
            return Cursor(since=since, seen=seen, state=MonitorState(heard=heard)), observations, True
        limit = RUNS_A_TICK + len(before.seen) + 1
        records = instance.get_run_records(
            dg.RunsFilter(job_name=self.job, statuses=ENDED, updated_after=before.since),
            limit=limit,
            order_by="update_timestamp",
            ascending=True,
        )
        known = set(before.seen)
        new = [record for record in records if record.storage_id not in known and not _is_old(record, before.since)]
        return _moved_on(before, records), [self._seen(record) for record in new], len(records) < limit

    def _seen(self, record: dg.RunRecord) -> FinishedRun:
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
            blamed=FAIL_RUN_ON,
            failing_checks=failing & self.errors,
            passing_checks=names_in(run.tags, HEALTHY_TAG) | failing - self.errors,
        )


@dataclass
class Delivery:
    """The deliveries of one tick: what was delivered, and what could not be."""

    watch: JobMonitor
    instance: dg.DagsterInstance
    state: MonitorState
    delivered: int = 0
    failed: dict[tuple[str, int], str] = field(default_factory=dict)
    _causes: dict[tuple[str | None, str], str | None] = field(default_factory=dict)

    def deliver(self, messages: Sequence[Notification], now: datetime) -> None:
        """Deliver messages, for as long as there is time: to channels that have failed in this tick last."""
        until = self.watch.monotonic() + DELIVERY_SECONDS
        later = []
        broken: set[int] = set()
        for message in messages:
            if message.channel in broken:
                later.append(message)
            elif not self._tell(message, now, until):
                broken.add(message.channel)
        for message in later:
            self._tell(message, now, until)

    def why_not(self) -> str:
        """Say which incidents could not be reported, and why: each reason once."""
        keys = ", ".join(dict.fromkeys(key for key, _ in self.failed))
        return f"{keys} ({'; '.join(dict.fromkeys(self.failed.values()))})"

    def _tell(self, message: Notification, now: datetime, until: float) -> bool:
        """Deliver a notification. If the opening of its incident could not be delivered, it waits as well."""
        place = message.key, message.channel
        if place in self.failed:
            return False
        if self.watch.monotonic() >= until:
            self.failed[place] = "no time was left"
            return False
        alert = alert_of(message, job=self.watch.job, cause=self._cause(message), url=self._link(message.run_id))
        try:
            self.watch.sinks[message.channel].send(alert)
        except Exception as error:  # noqa: BLE001 - a host's sink may raise anything, and the other channels are to be alerted
            self.failed[place] = describe_error(error)
            return False
        self.state = incidents.mark_notified(self.state, message, now=now)
        self.delivered += 1
        return True

    def _link(self, run_id: str | None) -> str | None:
        base = self.watch.dagster_url
        return f"{base.rstrip('/')}/runs/{run_id}" if base is not None and run_id else None

    def _cause(self, message: Notification) -> str | None:
        asked = message.run_id, message.key
        if message.kind == "recovered" or not message.run_id:
            return None
        if asked not in self._causes:
            try:
                self._causes[asked] = cause_of(self.instance, message.run_id, message.key)
            except Exception:  # noqa: BLE001 - an alert without its cause is better than none
                self._causes[asked] = None
        return self._causes[asked]


def _is_old(record: dg.RunRecord, since: datetime) -> bool:
    """Say whether a run finished before and was changed since, such as by a person who tagged it."""
    return record.end_time is not None and record.end_time < since.timestamp()


def _moved_on(before: Cursor, records: Sequence[dg.RunRecord]) -> Cursor:
    if not records:
        return before
    since = max(before.since, records[-1].update_timestamp - OVERLAP)
    recent = [record for record in records if record.update_timestamp > since]
    if len(recent) > _REMEMBERED:
        since = recent[-_REMEMBERED - 1].update_timestamp
        recent = [record for record in recent if record.update_timestamp > since]
    return before.model_copy(update={"since": since, "seen": tuple(record.storage_id for record in recent)})


def _is_in_state(state: MonitorState, failed: dict[tuple[str, int], str]) -> bool:
    """Say whether what was not delivered stands in a state already, so that reading on from there finds it again."""
    return all(
        key in state.incidents
        and channel < len(state.incidents[key].tracks)
        and not state.incidents[key].tracks[channel].closed
        for key, channel in failed
    )


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"
