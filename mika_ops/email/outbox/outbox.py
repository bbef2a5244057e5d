"""Draining the outbox: lease before sending, record before the next.

Emails are leased in batches, each in one transaction, so that no two workers hold the same email. ``concurrency`` of
them are sent at once. Those that have ended are recorded together, in one transaction (group commit), and only then do
others take their places. A process killed at any point loses nothing: at most the emails that were under way are sent
again, with the same ``Message-ID``, once their lease has lapsed.

A drain stops early when its time is spent, the provider cannot be reached or the run is asked to stop. It then releases
what it had leased and not sent: the attempt does not count. Where the run is asked to stop, emails under way have a
grace period of five seconds; the drain abandons those that the provider has not accepted by then.
"""

import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum, auto
from typing import Any, Final
from uuid import uuid4

from mika_ops.clock import Clock
from mika_ops.deadline import OutOfTime
from mika_ops.documents.repository import DocumentRepository
from mika_ops.documents.sharding import Shard
from mika_ops.documents.sweep import Sweep
from mika_ops.email.outbox.attempts import Attempt, Leased, make_attempt
from mika_ops.email.outbox.circuit_breaker import CircuitBreaker
from mika_ops.email.outbox.graceful_stop import run_until_interrupted
from mika_ops.email.outbox.leaser import LeasedBatch, Leaser, release
from mika_ops.email.outbox.persistence import LeasePersistence
from mika_ops.email.outbox.recorder import Recorded, Recorder
from mika_ops.email.outbox.send_rate import SendRate
from mika_ops.email.outbox.switch_interval import switch_interval
from mika_ops.ports.email import (
    ITEMS_KEPT,
    AbandoningSender,
    DrainedEmail,
    DrainedOutbox,
    EmailComposer,
    EmailSender,
    EmailSkipped,
    EmailUnrenderable,
    SenderThrottled,
    SenderUnavailable,
    SendResult,
)
from mika_ops.redaction import describe_error
from mika_ops.rules import email
from mika_ops.timestamps import shifted

BATCH_PER_WORKER: Final = 2
"""Emails leased at once for each worker, at most: few, for a kill costs each of them an attempt."""

SMALL_BATCH: Final = 8
"""Emails leased at once even where fewer are sent at once: a lease of one costs as much as a lease of eight."""

BATCHING_WINDOW_SECONDS: Final = 0.0005
"""How long an attempt that has ended waits for others under way, so that they share one transaction.

Where a provider is fast, this halves the transactions: each writes pages of all the indexes, however few its emails.
"""

LONGEST_SLEEP_SECONDS: Final = 1.0
"""How long a drain sleeps at most before it checks again whether its time is spent."""

GRACE_SECONDS: Final = 5.0
"""The grace period: how long an interrupted drain waits for the emails under way, before their sender abandons them.

Containers are commonly killed ten seconds after they were asked to stop.
"""


def new_lease_key() -> str:
    """Return a lease key that no other worker has."""
    return uuid4().hex


@dataclass(frozen=True)
class LeasedOutbox:
    """The outbox in the ``ops`` documents, with orders in ``ledger``. Fits ``mika_ops.ports.EmailOutbox``.

    ``send_timeout``: the longest that ``sender`` takes for one email. Batches are so small that the last email of one
    is sent before its lease lapses, even where every email before it took that long. ``retry_delay`` returns the wait
    after a failed attempt, by the attempt's number. With ``shard``, the drain takes that part first, then steals work
    from the others. ``withholds``: whether people whose delete request is queued get no email.
    ``skips_expired_links``: whether a magic link that has expired is skipped instead of sent.
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
    withholds: bool = True
    skips_expired_links: bool = True
    timer: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def drain(self, clock: Clock, *, limit: int | None, out_of_time: OutOfTime) -> DrainedOutbox:
        """Send what is due. Emails are taken in order and each once, however often it fails."""
        due, shard = email.DUE.at(clock.scheduled_at), self.shard
        sweep = Sweep(self.ops, due, "email_outbox", limit, out_of_time, shard=shard, steals_work=True)
        request = StopRequest()
        persistence = LeasePersistence(clock, self.sleep, lambda: request.aborted)
        leaser = Leaser(
            sweep,
            self.ledger,
            self.composer,
            clock,
            self.lease,
            self.lease_key,
            self.batch_size,
            persistence,
            self.withholds,
            self.skips_expired_links,
        )
        recorder = Recorder(self.ops, clock, self.retry_delay, self.timer, self.concurrency, persistence)
        drain = _Drain(self, leaser, recorder, request)

        def abort() -> None:
            request.abort()
            if isinstance(self.sender, AbandoningSender):
                self.sender.abandon()

        try:
            run_until_interrupted(drain.run, stop=request.stop, abort=abort, grace_seconds=GRACE_SECONDS)
        except Exception as failure:  # noqa: BLE001 - what was sent until now must be reported
            drain.error = describe_error(failure)
        return drain.result()

    def for_shard(self, shard: Shard) -> "LeasedOutbox":
        """Return the outbox that drains this shard, at its share of ``max_per_second``."""
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


class DrainState(Enum):
    """Where a drain is, from its first lease to its last record; ``_Drain`` says what happens in each state."""

    DRAINING = auto()
    FINISHING = auto()
    FINISHED = auto()


@dataclass
class StopRequest:
    """Asks a drain to stop, from another thread.

    A plain flag: ``threading.Event`` would leave its lock locked where the thread that sets it is interrupted.
    """

    requested: bool = False
    aborted: bool = False

    def stop(self) -> None:
        """Have the drain start no further email."""
        self.requested = True

    def abort(self) -> None:
        """Have the drain also give up what it repeats while the storage cannot be reached."""
        self.requested = self.aborted = True


class _Drain:
    """The loop of one drain.

    Its states, in order:

    - ``DRAINING``: it leases ahead, starts emails as fast as the rate allows, and records those that have ended. It
      leaves this state when nothing is due any more, or when something stops it (``stopped_reason``): the time is
      spent, the circuit breaker is open, a result cannot be recorded, or the run is asked to stop.
    - ``FINISHING``: it starts and leases nothing more. It waits for the emails under way, records them, and releases
      those that were leased and not started.
    - ``FINISHED``: it does nothing more, and ``result`` is final.

    An email is *waiting* once leased, *under way* from its start until it is recorded, then counted.

    All fields belong to the thread that calls ``run``. Other threads are given the leaser, the recorder, the sender or
    the stop request, and none of these refers to the drain.
    """

    def __init__(self, outbox: LeasedOutbox, leaser: Leaser, recorder: Recorder, request: StopRequest) -> None:
        self.outbox = outbox
        self.leaser = leaser
        self.recorder = recorder
        self.request = request
        self.state = DrainState.DRAINING
        self.stopped_reason: str | None = None
        self.error: str | None = None
        self.counts: Counter[str] = Counter()
        self.items: list[DrainedEmail] = []
        self.rate = SendRate(outbox.concurrency, outbox.max_per_second, outbox.timer)
        self.breaker = CircuitBreaker()
        self.waiting: deque[Leased] = deque()
        self.under_way: dict[Future[Attempt], None] = {}
        self.leasing: Future[LeasedBatch | None] | None = None
        self.recording: Future[Recorded] | None = None
        self.being_recorded: list[Future[Attempt]] = []
        self.all_leased = False

    def run(self) -> None:
        """Lease, send and record until nothing is due, or the drain has to stop."""
        size = self.outbox.concurrency
        with (
            switch_interval.shortened(),
            ThreadPoolExecutor(size, thread_name_prefix="mika-email") as workers,
            ThreadPoolExecutor(2, thread_name_prefix="mika-outbox") as background,
        ):
            try:
                while self.state is DrainState.DRAINING:
                    self._start(workers)
                    # After the start, not before: while those are sent, no record has to wait for the lease.
                    self._lease_ahead(background)
                    if not self.waiting and not self.under_way and self.leasing is None:
                        return
                    self._wait_for_event(background)
                    self._stop_early()
            finally:
                self.state = DrainState.FINISHING
                self._finish()
                self.state = DrainState.FINISHED

    def result(self) -> DrainedOutbox:
        """Return what the drain has done."""
        counts = self.leaser.sweep.counts()
        counts["has_more"] = counts["has_more"] or self.counts["released"] > 0
        return DrainedOutbox(
            **counts,
            **self.counts,
            items=tuple(self.items),
            stopped_reason="the run was asked to stop" if self.request.requested else self.stopped_reason,
            error=self.error,
        )

    def _stop(self, reason: str) -> None:
        self.stopped_reason = reason
        self.state = DrainState.FINISHING

    def _stop_early(self) -> None:
        if self.request.requested:
            self.state = DrainState.FINISHING
        elif self.waiting and self.stopped_reason is None and self.leaser.sweep.out_of_time():
            self._stop("the time of the run is spent")

    def _start(self, workers: ThreadPoolExecutor) -> None:
        """Start as many emails as may go at once; release those whose lease would lapse while they are sent."""
        lasts_until, late = shifted(self.leaser.clock.stamp(), self.outbox.send_timeout), []
        while self.waiting and self.waiting[0].expires_at <= lasts_until:
            late.append(self.waiting.popleft())
        self._release(late)
        while self.waiting and self.rate.may_start(len(self.under_way)):
            self.rate.started()
            leased = self.waiting.popleft()
            self.under_way[workers.submit(make_attempt, leased, self.outbox.sender, self.outbox.timer)] = None

    def _lease_ahead(self, background: ThreadPoolExecutor) -> None:
        """Have the next batch leased while this one is sent."""
        if self.leasing is None and not self.all_leased and len(self.waiting) <= 2 * self.leaser.batch_size:
            self.leasing = background.submit(self.leaser.next_batch)

    def _wait_for_event(self, background: ThreadPoolExecutor) -> None:
        """Wait until an attempt has ended, a batch is leased or another email may start; collect the results."""
        ended = self._ended_attempts()
        if ended and self.recording is None:
            size = self.recorder.size
            if len(ended) < size:
                wait(self.under_way, timeout=BATCHING_WINDOW_SECONDS)
                ended = self._ended_attempts()
            self.recording = background.submit(self.recorder.record, self._to_record(ended[:size]))
            return
        pause = min(self.rate.seconds_to_wait(), LONGEST_SLEEP_SECONDS) if self.waiting else 0.0
        running = [future for future in self._running if future not in ended]
        if running:
            wait(running, timeout=pause if pause > 0 else None, return_when=FIRST_COMPLETED)
        elif pause > 0:
            self.outbox.sleep(pause)
        self._collect_lease()
        self._collect_recorded()

    def _ended_attempts(self) -> list[Future[Attempt]]:
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
        self.counts["withheld"] += batch.withheld
        self.waiting.extend(batch.leased)

    def _to_record(self, ended: list[Future[Attempt]]) -> list[Attempt]:
        """Return the attempts to record next, once their results have set the rate and the circuit breaker."""
        attempts = [future.result() for future in ended]
        for each in attempts:
            self._apply_feedback(each)
        self.being_recorded = ended
        return attempts

    def _apply_feedback(self, ended: Attempt) -> None:
        """Adapt the rate to how the attempt ended, and stop where the circuit breaker opens."""
        result = ended.result
        if isinstance(result, SenderUnavailable):
            self.breaker.unreachable(describe_error(result))
            if self.breaker.is_open and self.stopped_reason is None:
                self.error = self.breaker.reason
                self._stop(self.breaker.reason)
        elif not isinstance(result, EmailSkipped | EmailUnrenderable):
            # It has reached the provider.
            self.breaker.reached()
            if isinstance(result, SenderThrottled):
                self.rate.throttled(ended.started)
            elif isinstance(result, SendResult):
                self.rate.taken()

    def _collect_recorded(self) -> None:
        """Count what was recorded; only now are those emails no longer under way."""
        if self.recording is None or not self.recording.done():
            return
        recording, self.recording = self.recording, None
        self._count(recording.result())

    def _count(self, recorded: Recorded) -> None:
        for future in self.being_recorded:
            del self.under_way[future]
        self.being_recorded = []
        for item in recorded.emails:
            self.counts[item.status] += 1
            if len(self.items) < ITEMS_KEPT:
                self.items.append(item)
        self.counts["released"] += recorded.released
        if recorded.error is not None:
            self.error = recorded.error
            self._stop(recorded.error)

    def _release(self, unsent: list[Leased]) -> None:
        self.counts["released"] += release(unsent, self.outbox.ops, self.leaser.clock, self.leaser.persistence)

    def _finish(self) -> None:
        """Wait for what is under way, record it, and release the rest, whatever goes wrong with any of it."""
        wait(self._running)
        try:
            self._collect_lease()
        finally:
            try:
                self._collect_recorded()
            finally:
                try:
                    self._count(self.recorder.record(self._to_record(list(self.under_way))))
                finally:
                    self._release(list(self.waiting))
                    self.waiting.clear()
        if self.error is None and self.breaker.last_error is not None and not self.counts["sent"]:
            self.error = self.breaker.last_error
