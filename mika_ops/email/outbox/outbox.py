"""Draining the outbox: lease before sending, record before the next.

Emails are leased in batches, each in one transaction, so that no two workers hold the same email. ``concurrency`` of
them are sent at once; those that have ended are recorded together, in one transaction, and only then do others take
their places. A process killed at any point loses nothing, and at most the emails that were under way are sent again,
once their lease has lapsed: with the same ``Message-ID``.

A drain that stops early, as its time is spent, the provider cannot be reached or the run is ended, gives back what it
had leased and not sent: the attempt does not count. Where the run is ended, emails under way have five seconds; what
the provider has not taken by then is abandoned.
"""

import logging
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

from mika_ops.clock import Clock
from mika_ops.deadline import OutOfTime
from mika_ops.documents.document import Document, record_of
from mika_ops.documents.repository import Change, DocumentRepository
from mika_ops.documents.sharding import Shard
from mika_ops.documents.sweep import Sweep
from mika_ops.email.outbox.graceful_stop import run_until_interrupted
from mika_ops.email.outbox.record_size import RecordSize
from mika_ops.email.outbox.records import Batch, Delivery, End, Ended, Leased, Record, Recorded, drained_email, taken
from mika_ops.email.outbox.send_rate import SendRate
from mika_ops.ports.email import (
    ITEMS_KEPT,
    AbandoningSender,
    DrainedEmail,
    DrainedOutbox,
    EmailComposer,
    EmailSender,
    EmailSkipped,
    EmailUnrenderable,
    Envelope,
    SenderThrottled,
    SenderUnavailable,
    SendResult,
)
from mika_ops.redaction import describe_error
from mika_ops.rules import email
from mika_ops.timestamps import shifted

BATCH_PER_WORKER: Final = 2
"""Emails leased at once for each worker, at the most: few, for a kill costs each of them an attempt."""

SMALL_BATCH: Final = 8
"""Emails leased at once also where fewer are sent at once: a lease costs as much as a record, however few it is for."""

UNREACHABLE_LIMIT: Final = 3
"""So many emails in a row that found no provider end the drain."""

BATCHING_WINDOW_SECONDS: Final = 0.0005
"""How long an email that has ended waits for the others under way, to be recorded together with those that end too.

Where a provider is fast, half as many transactions do: each writes pages of all the indexes, however few its emails.
"""

LONGEST_SLEEP_SECONDS: Final = 1.0
"""How long a drain waits before it asks again whether its time is spent."""

STOP_AFTER_SECONDS: Final = 5.0
"""How long a drain that is interrupted waits for the emails under way, before it has their sender abandon them.

Containers are commonly killed ten seconds after they were asked to stop.
"""

SWITCH_INTERVAL_SECONDS: Final = 0.0005
"""How long one of a drain's threads may keep Python's interpreter while another waits for it.

By default that is ten times as long: the database has answered by then, and its thread still waits.
"""

logger: Final = logging.getLogger(__name__)


def new_lease_key() -> str:
    """Return a key that no other worker has."""
    return uuid4().hex


@dataclass(frozen=True)
class LeasedOutbox:
    """The outbox in the ``ops`` documents, with orders in ``ledger``. Fits ``mika_ops.ports.EmailOutbox``.

    ``send_timeout``: the longest that ``sender`` takes for one email. Batches are so small that the last email of one
    is sent before its lease lapses, even where every one before it took that long. ``retry_delay`` gives the wait
    after a failed attempt, by the attempt's number. With ``shard``, that part is drained first, then what the others
    have left.
    """

    ops: DocumentRepository
    ledger: DocumentRepository
    sender: EmailSender
    composer: EmailComposer
    lease: timedelta = email.DEFAULT_LEASE
    send_timeout: timedelta = timedelta(seconds=20)
    concurrency: int = 1
    max_per_second: float | None = None
    shard: Shard | None = None
    retry_delay: Callable[[int], timedelta] = email.retry_delay
    lease_key: Callable[[], str] = new_lease_key
    timer: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def drain(self, clock: Clock, *, limit: int | None, out_of_time: OutOfTime) -> DrainedOutbox:
        """Send what is due. Emails are taken in order and each once, however often it fails."""
        drain = _Drain(self, clock, limit, out_of_time)
        try:
            run_until_interrupted(drain.run, stop=drain.stop, hurry=drain.hurry, grace_seconds=STOP_AFTER_SECONDS)
        except Exception as failure:  # noqa: BLE001 - what was sent until now must be reported
            drain.error = describe_error(failure)
        return drain.result()

    def for_shard(self, shard: Shard) -> "LeasedOutbox":
        """Return the outbox that drains this shard, at its part of the rate that the provider takes."""
        rate = None if self.max_per_second is None else self.max_per_second / shard.count
        return replace(self, shard=shard, max_per_second=rate)

    @property
    def batch_size(self) -> int:
        """How many emails are leased at once.

        The next batch is leased while two still wait, so an email may wait for three batches to be sent.
        """
        turns_in_a_lease = max(1.0, (self.lease / self.send_timeout - 1) / 3)
        size = min(max(self.concurrency * BATCH_PER_WORKER, SMALL_BATCH), self.concurrency * int(turns_in_a_lease))
        if self.max_per_second is not None:
            started_in_a_lease = self.max_per_second * (self.lease - self.send_timeout).total_seconds() / 3
            size = min(size, int(started_in_a_lease))
        return max(1, size)


@contextmanager
def _short_switch_interval() -> Iterator[None]:
    """Have Python switch between threads often."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


@dataclass
class _Drain:
    """One drain of the outbox, from its first lease to its last record."""

    outbox: LeasedOutbox
    clock: Clock
    limit: int | None
    out_of_time: OutOfTime
    error: str | None = None
    counts: Counter[str] = field(default_factory=Counter)
    items: list[DrainedEmail] = field(default_factory=list)
    waiting: deque[Leased] = field(default_factory=deque)
    under_way: dict[Future[Delivery], Leased] = field(default_factory=dict)
    leasing: Future[Batch | None] | None = None
    recording: Future[Recorded] | None = None
    all_leased: bool = False
    unreachable_in_a_row: int = 0
    unreachable: str | None = None
    stopped_reason: str | None = None

    def __post_init__(self) -> None:
        self.sweep = Sweep(
            self.outbox.ops,
            email.due(self.clock.scheduled_at),
            "email_outbox",
            self.limit,
            self.out_of_time,
            shard=self.outbox.shard,
            helps=True,
        )
        self.batches = self.sweep.batches(self.outbox.batch_size)
        self.pace = SendRate(self.outbox.concurrency, self.outbox.max_per_second, self.outbox.timer)
        self.parts = RecordSize(self.outbox.concurrency)

    def run(self) -> None:
        """Lease, send and record until nothing is due, or the drain has to stop."""
        size = self.outbox.concurrency
        with (
            _short_switch_interval(),
            ThreadPoolExecutor(size, thread_name_prefix="mika-email") as workers,
            ThreadPoolExecutor(2, thread_name_prefix="mika-outbox") as background,
        ):
            try:
                while self.stopped_reason is None:
                    self._start(workers)
                    # After the start, not before: while those are sent, no record has to wait for the lease.
                    self._lease_ahead(background)
                    if not self.waiting and not self.under_way and self.leasing is None:
                        return
                    self._wait_for_event(background)
                    self._stop_when_spent()
            finally:
                self._finish()

    def stop(self) -> None:
        """Start no further email. Called by another thread."""
        self.stopped_reason = "the run was asked to stop"

    def hurry(self) -> None:
        """Wait for the provider no longer, where the sender can be told. Called by another thread."""
        self.stop()
        if isinstance(self.outbox.sender, AbandoningSender):
            self.outbox.sender.abandon()

    def result(self) -> DrainedOutbox:
        """Return what the drain has done until now."""
        counts = self.sweep.counts()
        counts["has_more"] = counts["has_more"] or self.counts["released"] > 0
        return DrainedOutbox(
            **counts,
            **self.counts,
            items=tuple(self.items),
            stopped_reason=self.stopped_reason,
            error=self.error,
        )

    def _stop_when_spent(self) -> None:
        if self.waiting and self.stopped_reason is None and self.out_of_time():
            self.stopped_reason = "the time of the run is spent"

    def _lease_ahead(self, background: ThreadPoolExecutor) -> None:
        """Have the next batch leased while this one is sent."""
        if self.leasing is None and not self.all_leased and len(self.waiting) <= 2 * self.outbox.batch_size:
            self.leasing = background.submit(self._lease)

    def _lease(self) -> Batch | None:
        """Lease the next batch; in a thread of its own, so without touching the drain. ``None``: there is none."""
        ids = next(self.batches, None)
        if ids is None:
            return None
        outbox, now = self.outbox, self.clock.stamp

        def rule(_id: str, document: Document) -> Change[Document] | None:
            if not self.sweep.selection.takes(document):
                return None
            return Change(email.leased(document, key=outbox.lease_key(), now=now(), lease=outbox.lease), document)

        changes = outbox.ops.change(ids, rule)
        self.sweep.report_malformed(list(changes.malformed))
        leased = [Leased(id_, change.note, change.document or {}) for id_, change in changes.changed.items()]
        try:
            return Batch(self._composed(leased), missed=len(changes.left))
        except BaseException:
            # Nobody would send them before their lease lapses.
            self._give_back(leased)
            raise

    def _composed(self, leased: Sequence[Leased]) -> list[Leased]:
        """Return the emails ready to send: made here, while others are sent, of the orders that they are about."""
        composer = self.outbox.composer
        order_ids = {each.id: composer.order_id_of(each.document) for each in leased}
        orders = self.outbox.ledger.read([order_id for order_id in dict.fromkeys(order_ids.values()) if order_id])

        def composed(document: Document, order: Document | None) -> Envelope | Exception:
            try:
                return composer.render(document, order)
            except Exception as failure:  # noqa: BLE001 - an email that cannot be made fails like one that cannot be sent
                return failure

        return [
            replace(each, composed=composed(each.document, orders.get(order_ids[each.id] or ""))) for each in leased
        ]

    def _start(self, workers: ThreadPoolExecutor) -> None:
        """Start as many emails as may go at once; one whose lease would not last until it is sent is given back."""
        lasts_until, late = shifted(self.clock.stamp(), self.outbox.send_timeout), []
        while self.waiting and self.waiting[0].expires_at <= lasts_until:
            late.append(self.waiting.popleft())
        self.counts["released"] += self._give_back(late)
        while self.waiting and self.pace.may_start(len(self.under_way)):
            self.pace.started()
            leased = self.waiting.popleft()
            self.under_way[workers.submit(self._deliver, leased)] = leased

    def _deliver(self, leased: Leased) -> Delivery:
        """Send one email; in a thread of its own, so without touching the drain."""
        outbox, started = self.outbox, self.outbox.timer()
        end: End
        if isinstance(leased.composed, Envelope):
            try:
                end = taken(outbox.sender.send(leased.composed))
            except Exception as failure:  # noqa: BLE001 - whatever a sender raises, the email is tried again later
                end = failure
        else:
            end = leased.composed or TypeError("it was never composed")
        return Delivery(end, started, outbox.timer() - started)

    def _wait_for_event(self, background: ThreadPoolExecutor) -> None:
        """Wait until an email has ended, a batch is leased or another email may start; take in what there is."""
        ended = self._ended_deliveries()
        if ended and self.recording is None:
            size = self.parts.size
            if len(ended) < size:
                wait(self.under_way, timeout=BATCHING_WINDOW_SECONDS)
                ended = self._ended_deliveries()
            self.recording = background.submit(self._write, self._to_record(ended[:size]))
            return
        pause = min(self.pace.seconds_to_wait(), LONGEST_SLEEP_SECONDS) if self.waiting else 0.0
        running = [future for future in self._running if future not in ended]
        if running:
            wait(running, timeout=pause if pause > 0 else None, return_when=FIRST_COMPLETED)
        elif pause > 0:
            self.outbox.sleep(pause)
        self._collect_lease()
        self._take_recorded()

    def _ended_deliveries(self) -> list[Future[Delivery]]:
        return [future for future in self.under_way if future.done()]

    @property
    def _running(self) -> list[Future[Any]]:
        return [*self.under_way, *(future for future in (self.leasing, self.recording) if future is not None)]

    def _collect_lease(self) -> None:
        if self.leasing is None or not self.leasing.done():
            return
        leasing, self.leasing = self.leasing, None
        batch = leasing.result()
        if batch is None:
            self.all_leased = True
            return
        self.counts["leased"] += len(batch.leased)
        self.counts["lease_missed"] += batch.missed
        self.waiting.extend(batch.leased)

    def _take_recorded(self) -> None:
        """Take in what was recorded; only then are its emails no longer under way."""
        if self.recording is None or not self.recording.done():
            return
        recording, self.recording = self.recording, None
        self._note_recorded(recording.result())

    def _finish(self) -> None:
        """Wait for what is under way, record it, and give back the rest, whatever goes wrong with any of it."""
        wait(self._running)
        try:
            self._collect_lease()
        finally:
            try:
                self._take_recorded()
            finally:
                try:
                    self._note_recorded(self._write(self._to_record(list(self.under_way))))
                finally:
                    self.counts["released"] += self._give_back(list(self.waiting))
                    self.waiting.clear()
        if self.error is None and self.unreachable is not None and not self.counts["sent"]:
            self.error = self.unreachable

    def _to_record(self, deliveries: Sequence[Future[Delivery]]) -> Record:
        """Say what is to be recorded of emails that have ended, and learn from them how fast to go on."""
        ends, unsent = {}, []
        for future in deliveries:
            leased, delivery = self.under_way[future], future.result()
            self._apply_feedback(delivery)
            self.parts.sent(delivery.seconds)
            if isinstance(delivery.end, SenderUnavailable):
                unsent.append(leased)
            else:
                failed = isinstance(delivery.end, Exception) and not isinstance(delivery.end, EmailSkipped)
                delay = self._delay_after(leased) if failed else timedelta(0)
                ends[leased.id] = Ended(leased, delivery.end, delay)
        return Record(deliveries, ends, unsent)

    def _note_recorded(self, recorded: Recorded) -> None:
        self.parts.recorded(len(recorded.record.deliveries), recorded.seconds)
        for future in recorded.record.deliveries:
            del self.under_way[future]
        for id_, end in recorded.record.ends.items():
            if id_ in recorded.changed:
                self._count(drained_email(id_, end.end, recorded.changed[id_]))
        self.counts["released"] += recorded.released
        if recorded.error is not None:
            self.error = self.stopped_reason = recorded.error

    def _write(self, record: Record) -> Recorded:
        """Write how emails ended; in a thread of its own, so without touching the drain.

        Where the transaction fails, each email is written by itself, so that one does not undo the record of the
        others. One that cannot be written at all ends the drain.
        """
        ends, change, started = record.ends, self.outbox.ops.change, self.outbox.timer()
        changed: dict[str, Change[bool] | None] = {}
        error = None

        def rule(id_: str, document: Document) -> Change[bool] | None:
            return self._ended(document, ends[id_])

        try:
            seen = {id_: end.leased.document for id_, end in ends.items()}
            written = change(list(ends), rule, wait=True, seen=seen).changed if ends else {}
            changed = {id_: written.get(id_) for id_ in ends}
        except Exception:  # noqa: BLE001 - told below, by email
            for id_ in ends:
                try:
                    changed[id_] = change([id_], rule, wait=True).changed.get(id_)
                except Exception as failure:  # noqa: BLE001 - the others must be recorded
                    error = (
                        f"what became of email {id_} could not be recorded, so it may be sent again: "
                        f"{describe_error(failure)}"
                    )
        released = self._give_back(record.unsent)
        return Recorded(record, changed, released, error, self.outbox.timer() - started)

    def _delay_after(self, leased: Leased) -> timedelta:
        """Ask the host for the wait after this attempt, and do without where it cannot say."""
        attempt = record_of(leased.document)["attemptCount"]
        try:
            delay = self.outbox.retry_delay(attempt)
            if isinstance(delay, timedelta):
                return delay
            failure: Exception = TypeError(f"it returned {type(delay).__name__}, not timedelta")
        except Exception as raised:  # noqa: BLE001 - a host's function must not undo the record of what was sent
            failure = raised
        logger.warning("retry_delay gave no delay after attempt %s: %s", attempt, describe_error(failure))
        return email.retry_delay(attempt)

    def _ended(self, document: Document, ended: Ended) -> Change[bool] | None:
        """Return the document with its end; noted is whether the lease was still held."""
        now, end = self.clock.stamp(), ended.end
        held = email.holds_lease(document, key=ended.leased.key, now=now)
        if isinstance(end, SendResult):
            # It was sent, so it must never be sent again, whoever holds it now.
            if not held and email.is_sent(document):
                return None
            return Change(email.sent(document, now=now, provider_message_id=end.provider_message_id), held)
        if not held:
            return None
        sentence = describe_error(end)
        if isinstance(end, EmailSkipped):
            return Change(email.skipped(document, reason=sentence, now=now), held)
        return Change(email.failed(document, error=sentence, now=now, retry_after=ended.retry_after), held)

    def _give_back(self, unsent: Sequence[Leased]) -> int:
        """Give back emails that were leased and not sent: as they were, attempt and all. Return how many."""
        if not unsent:
            return 0
        by_id = {leased.id: leased for leased in unsent}

        def rule(id_: str, document: Document) -> Change[None] | None:
            leased, now = by_id[id_], self.clock.stamp()
            if not email.holds_lease(document, key=leased.key, now=now):
                return None
            return Change(email.given_back(document, before=leased.before, now=now), None)

        return len(self.outbox.ops.change(list(by_id), rule, wait=True).changed)

    def _apply_feedback(self, delivery: Delivery) -> None:
        """Learn from an end how fast to go on, or whether to."""
        end = delivery.end
        if isinstance(end, SenderUnavailable):
            self.unreachable = describe_error(end)
            self.unreachable_in_a_row += 1
            if self.unreachable_in_a_row >= UNREACHABLE_LIMIT and self.stopped_reason is None:
                self.error = self.stopped_reason = (
                    f"{self.unreachable}; the drain stopped after {UNREACHABLE_LIMIT} emails in a row found it so"
                )
        elif not isinstance(end, EmailSkipped | EmailUnrenderable):
            # It has reached the provider.
            self.unreachable_in_a_row = 0
            if isinstance(end, SenderThrottled):
                self.pace.throttled(delivery.started)
            elif isinstance(end, SendResult):
                self.pace.taken()

    def _count(self, item: DrainedEmail) -> None:
        self.counts[item.status] += 1
        if len(self.items) < ITEMS_KEPT:
            self.items.append(item)
