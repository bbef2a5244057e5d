"""Telling somebody when maintenance goes wrong, and when it works again.

A plain sensor with a cursor of its own, since Dagster's run-status sensors lose an alert whose delivery fails. It reads
the finished runs of one job and the tags in which they say how their subtasks ended; the events of a run are read only
for the cause that an alert tells.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import dagster as dg
from dagster._utils.schedules import schedule_execution_time_iterator
from pydantic import BaseModel, ConfigDict, ValidationError

from mika_ops import incidents
from mika_ops.clock import utc_now
from mika_ops.health import CHECK_NAMES
from mika_ops.incidents import Message, Observation, SilentAfter, State
from mika_ops.notify import channels
from mika_ops.orchestration.checks import HEALTHY_TAG, UNHEALTHY_TAG
from mika_ops.orchestration.history import DAILY
from mika_ops.orchestration.ops import COMPLETED_TAG, FAIL_RUN_ON, FAILED_TAG, SKIPPED_TAG, outcomes_of, subtasks_in
from mika_ops.ports import Alert, AlertSink
from mika_ops.privacy import error_sentence, redacted
from mika_ops.settings import Settings
from mika_ops.supplied import in_hand

FINISHED: Final = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]

TICK_SECONDS: Final = 120
"""Between two ticks. Each costs 50 ms of CPU and a kilobyte of Dagster's storage, kept for a day."""

HISTORY_TICK_SECONDS: Final = 600
"""Between two ticks of the sensor for a job that runs once a day."""

RUNS_A_TICK: Final = 10_000
"""The most runs that one tick reads; where more wait, nobody is told before all are read."""

DELIVERY_SECONDS: Final = 30.0
"""After so long a tick begins no delivery any more: Dagster ends a tick after a minute, and forgets what it did."""

OVERLAP: Final = timedelta(seconds=30)
"""How far back each tick reads again: a run may be recorded a moment after one that finished later."""

_REMEMBERED: Final = 500
_CAUSES_READ: Final = 20


class AlertsNotDelivered(Exception):
    """Alerts could not be delivered and wait for the next tick. The message says which, and why."""


class Cursor(BaseModel):
    """How far the runs are read: those updated up to ``since``, and those ``seen`` after it; and what is known."""

    model_config = ConfigDict(frozen=True)

    version: Literal[1] = 1
    since: datetime
    seen: tuple[int, ...] = ()
    state: State

    @classmethod
    def read(cls, text: str | None) -> "Cursor | None":
        """Read a cursor; ``None`` where there is none, or one that another version wrote."""
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
        """Deliver an alert. Raises ``WrongHost`` where what the host made does not fit, and what its sink raises."""
        in_hand("Host(alert_sink)", AlertSink, self.sink).send(alert)


@dataclass(frozen=True)
class Watch:
    """One job and who is told of it.

    ``errors``: the checks of whose failing is told; ``silent_after``: ``None`` where no schedule is registered.
    """

    job: str
    sinks: Sequence[AlertSink]
    cooldown: timedelta
    errors: frozenset[str] = frozenset()
    silent_after: SilentAfter | None = None
    dagster_url: str | None = None
    now: Callable[[], datetime] = utc_now
    monotonic: Callable[[], float] = time.monotonic

    def tick(self, instance: dg.DagsterInstance, stored: str | None) -> tuple[str, str]:
        """Read the runs that finished since, and tell what there is to tell; return the new cursor and a sentence.

        Raises ``AlertsNotDelivered`` where nothing could be delivered and the stored cursor knows of it already: the
        next tick then starts from there. Where the cursor has to be kept, the sentence alone tells.
        """
        now, before = self.now(), Cursor.read(stored)
        cursor, observations, all_read = self._read(instance, before, now)
        state = incidents.observed(
            cursor.state,
            observations,
            now=now,
            cooldown=self.cooldown,
            channels=len(self.sinks),
            silent_after=self.silent_after if all_read else None,
        )
        if self.silent_after is None:
            state = incidents.without_silence(state)
        told = f"{_many(len(observations), 'run')} finished"
        if not all_read:
            return cursor.model_copy(update={"state": state}).written(), f"{told}; more are read at the next tick"
        round_ = Delivery(self, instance, state)
        round_.deliver(list(incidents.messages(state, now=now, cooldown=self.cooldown)), now)
        if round_.delivered:
            told = f"{told}, {_many(round_.delivered, 'alert')} delivered"
        if round_.failed:
            told = f"{told}; not delivered, and tried again at the next tick: {round_.why_not()}"
            if not round_.delivered and before is not None and _knows(before.state, round_.failed):
                raise AlertsNotDelivered(told)
        return cursor.model_copy(update={"state": round_.state}).written(), told

    def _read(
        self, instance: dg.DagsterInstance, before: Cursor | None, now: datetime
    ) -> tuple[Cursor, list[Observation], bool]:
        """Return the cursor moved on, what the runs say, oldest first, and whether these are all that wait."""
        wanted = dg.RunsFilter(job_name=self.job, statuses=FINISHED)
        if before is None:
            # Whatever has been, the newest run says how things are.
            newest = instance.get_run_records(wanted, limit=1, order_by="update_timestamp")
            since = newest[0].update_timestamp if newest else datetime.fromtimestamp(0, UTC)
            seen = tuple(record.storage_id for record in newest)
            observations = [self._seen(record) for record in newest]
            heard = observations[0].at if observations else now
            return Cursor(since=since, seen=seen, state=State(heard=heard)), observations, True
        limit = RUNS_A_TICK + len(before.seen) + 1
        records = instance.get_run_records(
            dg.RunsFilter(job_name=self.job, statuses=FINISHED, updated_after=before.since),
            limit=limit,
            order_by="update_timestamp",
            ascending=True,
        )
        known = set(before.seen)
        new = [record for record in records if record.storage_id not in known and not _is_old(record, before.since)]
        return _moved_on(before, records), [self._seen(record) for record in new], len(records) < limit

    def _seen(self, record: dg.RunRecord) -> Observation:
        run = record.dagster_run
        at = record.update_timestamp if record.end_time is None else datetime.fromtimestamp(record.end_time, UTC)
        failing = subtasks_in(run.tags, UNHEALTHY_TAG)
        return Observation(
            run_id=run.run_id,
            at=at,
            failed=run.status is dg.DagsterRunStatus.FAILURE,
            canceled=run.status is dg.DagsterRunStatus.CANCELED,
            failed_subtasks=subtasks_in(run.tags, FAILED_TAG),
            skipped_subtasks=subtasks_in(run.tags, SKIPPED_TAG),
            completed_subtasks=subtasks_in(run.tags, COMPLETED_TAG),
            blamed=FAIL_RUN_ON,
            failing_checks=failing & self.errors,
            passing_checks=subtasks_in(run.tags, HEALTHY_TAG) | failing - self.errors,
        )


@dataclass
class Delivery:
    """The deliveries of one tick: what was told, and what could not be."""

    watch: Watch
    instance: dg.DagsterInstance
    state: State
    delivered: int = 0
    failed: dict[tuple[str, int], str] = field(default_factory=dict)
    _causes: dict[tuple[str | None, str], str | None] = field(default_factory=dict)

    def deliver(self, messages: Sequence[Message], now: datetime) -> None:
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
        """Say which incidents could not be told, and why: each reason once."""
        keys = ", ".join(dict.fromkeys(key for key, _ in self.failed))
        return f"{keys} ({'; '.join(dict.fromkeys(self.failed.values()))})"

    def _tell(self, message: Message, now: datetime, until: float) -> bool:
        """Deliver a message; one whose opening could not be told waits as well."""
        place = message.key, message.channel
        if place in self.failed:
            return False
        if self.watch.monotonic() >= until:
            self.failed[place] = "no time was left"
            return False
        alert = incidents.alert_of(
            message, job=self.watch.job, cause=self._cause(message), url=self._link(message.run_id)
        )
        try:
            self.watch.sinks[message.channel].send(alert)
        except Exception as error:  # noqa: BLE001 - a host's sink may raise anything, and the others are to be told
            self.failed[place] = error_sentence(error)
            return False
        self.state = incidents.told(self.state, message, now=now)
        self.delivered += 1
        return True

    def _link(self, run_id: str | None) -> str | None:
        base = self.watch.dagster_url
        return f"{base.rstrip('/')}/runs/{run_id}" if base is not None and run_id else None

    def _cause(self, message: Message) -> str | None:
        asked = message.run_id, message.key
        if message.kind == "recovered" or not message.run_id:
            return None
        if asked not in self._causes:
            try:
                self._causes[asked] = _cause_of(self.instance, message.run_id, message.key)
            except Exception:  # noqa: BLE001 - an alert without its cause is better than none
                self._causes[asked] = None
        return self._causes[asked]


def alert_sensor(
    settings: Settings,
    job: dg.JobDefinition,
    sink: AlertSink | None = None,
    *,
    shop: str | None = None,
    now: Callable[[], datetime] = utc_now,
) -> dg.SensorDefinition:
    """Return the sensor that alerts when this job, and no other, goes wrong, and when it works again.

    ``sink`` delivers the alerts; without one, the addresses of ``MIKA_ALERT_URLS`` do, or else the log. ``shop``: its
    name, where there are several. Raises ``SettingsError`` for an address that is none.
    """
    watch = _watch(settings, job, sink, shop=shop, now=now, silent_after=silent_after(settings))
    return _sensor(
        replace(watch, errors=frozenset(settings.check_errors)),
        logs=sink is None and not settings.alert_urls,
        when=(
            f"a run of {job.name} or one of its subtasks fails, a subtask that used to run is skipped, a check fails "
            f"that is an error ({', '.join(settings.check_errors) or 'none is'}), or no run finishes any more"
        ),
        seconds=TICK_SECONDS,
    )


def history_alert_sensor(
    settings: Settings,
    job: dg.JobDefinition,
    sink: AlertSink | None = None,
    *,
    shop: str | None = None,
    now: Callable[[], datetime] = utc_now,
) -> dg.SensorDefinition:
    """Return the sensor that alerts when old runs are not deleted any more; the rest as for ``alert_sensor``.

    A sensor of its own, since each keeps its place in the runs of one job; this one is asked seldom.
    """
    daily = _silent_after(
        DAILY, settings.maintenance_timezone, silence=timedelta(0), run=timedelta(minutes=settings.long_run_minutes)
    )
    return _sensor(
        _watch(settings, job, sink, shop=shop, now=now, silent_after=daily),
        logs=sink is None and not settings.alert_urls,
        when=f"a run of {job.name} fails, or none finishes any more: then the history grows for ever",
        seconds=HISTORY_TICK_SECONDS,
    )


def silent_after(settings: Settings) -> SilentAfter:
    """Return what says until when a run must have finished: the setting, or as long as the schedule itself waits."""
    return _silent_after(
        settings.maintenance_schedule,
        settings.maintenance_timezone,
        silence=timedelta(minutes=settings.alert_silence_minutes),
        idle=timedelta(minutes=settings.heartbeat_minutes if settings.idle_ticks == "skip" else 0),
        run=timedelta(minutes=settings.long_run_minutes),
    )


def _sensor(watch: Watch, *, logs: bool, when: str, seconds: int) -> dg.SensorDefinition:
    @dg.sensor(
        name=f"{watch.job}_alerts",
        description=(
            f"{'Logs an alert, by the logger mika_ops.alerts,' if logs else 'Alerts'} when {when}; again after a "
            "while, and when it is over."
        ),
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        cursor, told = watch.tick(context.instance, context.cursor)
        context.update_cursor(cursor)
        return dg.SkipReason(told)

    return alerts


def _watch(
    settings: Settings,
    job: dg.JobDefinition,
    sink: AlertSink | None,
    *,
    shop: str | None,
    now: Callable[[], datetime],
    silent_after: SilentAfter,
) -> Watch:
    return Watch(
        job=job.name,
        sinks=channels(settings, shop=shop) if sink is None else [SuppliedAlerts(sink)],
        cooldown=timedelta(minutes=settings.alert_cooldown_minutes),
        silent_after=silent_after if settings.maintenance_enabled else None,
        dagster_url=settings.dagster_url,
        now=now,
    )


def _silent_after(
    cron: str, timezone: str, *, silence: timedelta, run: timedelta, idle: timedelta = timedelta(0)
) -> SilentAfter:
    def until(heard: datetime) -> datetime:
        ticks = schedule_execution_time_iterator((heard + idle).timestamp(), cron, timezone)
        return max(heard + silence, next(ticks) + run)

    return until


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


def _knows(state: State, failed: dict[tuple[str, int], str]) -> bool:
    """Say whether what was not delivered stands in a state already, so that reading on from there finds it again."""
    return all(
        key in state.incidents
        and channel < len(state.incidents[key].tracks)
        and not state.incidents[key].tracks[channel].closed
        for key, channel in failed
    )


def _cause_of(instance: dg.DagsterInstance, run_id: str, key: str) -> str | None:
    """Return what a run said of an incident, safe to be told: the reason of a subtask, or of the failed run."""
    if key in CHECK_NAMES:
        return _finding_of(instance, run_id, key)
    if key != incidents.RUN:
        outcome = outcomes_of(instance, run_id).get(key, {})
        cause = outcome.get("error") or outcome.get("reason")
        return redacted(str(cause)) if cause else None
    return "; ".join(redacted(cause) for cause in _causes(instance, run_id) if cause) or None


def _finding_of(instance: dg.DagsterInstance, run_id: str, check: str) -> str | None:
    """Return what a run found by a check, which logs each that fails and is an error."""
    kinds = {dg.DagsterEventType.ASSET_CHECK_EVALUATION}
    for record in instance.get_records_for_run(run_id, of_type=kinds).records:
        event = record.event_log_entry.dagster_event
        if event is not None and event.asset_check_evaluation_data.check_name == check:
            return event.asset_check_evaluation_data.description
    return None


def _causes(instance: dg.DagsterInstance, run_id: str) -> Iterator[str]:
    for kinds in ({dg.DagsterEventType.STEP_FAILURE}, {dg.DagsterEventType.RUN_FAILURE}):
        records = instance.get_records_for_run(run_id, of_type=kinds, limit=_CAUSES_READ).records
        for record in records:
            event = record.event_log_entry.dagster_event
            if event is not None:
                yield _said(event)
        if records:
            return


def _said(event: dg.DagsterEvent) -> str:
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


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"
