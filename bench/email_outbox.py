"""Draining the outbox: against a slow provider sent to one at a time, and against the writes alone."""

import statistics
import time
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import bindparam, text

from bench.shops import Shops, due_emails, fill
from mika_ops.clock import Clock, utc_now
from mika_ops.deadline import never_out_of_time
from mika_ops.email.content.renderer import Brand, EmailRenderer
from mika_ops.email.outbox.outbox import LeasedOutbox
from mika_ops.ports.email import Envelope, SendResult
from mika_ops.rules import email
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents, written_out
from mika_ops.store.schema.site import plugin_storage

WRITES_AT_ONCE = 250


class SlowProvider:
    """Takes every email after ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def send(self, envelope: Envelope) -> SendResult:
        """Take an email."""
        if self.seconds:
            time.sleep(self.seconds)
        return SendResult(f"pm-{envelope.email_id}")


def drain_seconds(shops: Shops, count: int, *, provider_seconds: float, concurrency: int) -> float:
    """Return how long a drain of so many emails takes."""
    with shops.new() as database:
        fill(database, "ops", due_emails(count))
        outbox = LeasedOutbox(
            Documents(database, "ops"),
            Documents(database, "ledger"),
            SlowProvider(provider_seconds),
            EmailRenderer(Brand()),
            concurrency=concurrency,
        )
        outbox.drain(
            Clock.at(utc_now()), limit=0, out_of_time=never_out_of_time
        )  # warms the connection and the templates
        started = time.perf_counter()
        drained = outbox.drain(Clock.at(utc_now()), limit=None, out_of_time=never_out_of_time)
        seconds = time.perf_counter() - started
    if drained.sent != count:
        raise RuntimeError(f"{drained.sent} of {count} emails were sent: {drained.error}")
    return seconds


def two_writes_seconds(shops: Shops, count: int) -> float:
    """Return how long it takes to write each email twice, leased and sent, in bulk and nothing else."""
    with shops.new() as database:
        documents = list(due_emails(count))
        fill(database, "ops", iter(documents))
        now = "2026-03-01T12:00:00.000Z"
        leased = [email.leased(one, key="key", now=now, lease=timedelta(minutes=5)) for one in documents]
        sent = [email.sent(one, now=now, provider_message_id=f"pm-{one['id']}") for one in leased]
        rounds = [[(str(one["id"]), written_out(one)) for one in stage] for stage in (leased, sent)]
        started = time.perf_counter()
        for start in range(0, count, WRITES_AT_ONCE):
            for stage in rounds:
                _write(database, stage[start : start + WRITES_AT_ONCE])
        return time.perf_counter() - started


def _write(database: Database, rows: list[tuple[str, str]]) -> None:
    if database.dialect == "postgresql":
        statement = text(
            "UPDATE _plugin_storage AS s SET data = v.data FROM unnest(CAST(:ids AS text[]), CAST(:data AS text[])) "
            "AS v(id, data) WHERE s.plugin_id = 'mika' AND s.collection = 'ops' AND s.id = v.id"
        )
        with database.engine.begin() as connection:
            connection.execute(statement, {"ids": [id_ for id_, _ in rows], "data": [data for _, data in rows]})
        return
    column = plugin_storage.c
    update = (
        plugin_storage.update()
        .where(column.plugin_id == "mika", column.collection == "ops", column.id == bindparam("an_id"))
        .values(data=bindparam("a_data"))
    )
    with database.engine.begin() as connection:
        connection.execute(update, [{"an_id": id_, "a_data": data} for id_, data in rows])


LATENCY = 0.02
"""Seconds that a provider takes for an email."""


@dataclass(frozen=True)
class Drains:
    """Seconds that drains to a provider with latency took, and what is below all of them.

    ``latency``: the provider's alone, with ``concurrency`` emails at once. ``writes``: the two of each email alone.
    """

    at_once: float
    latency: float
    writes: float

    @property
    def floor(self) -> float:
        """What no drain can be faster than: the provider's time, or the database's."""
        return max(self.latency, self.writes)


def drained_at_once(shops: Shops, count: int = 2_000, concurrency: int = 16) -> Drains:
    """Drain so many emails, ``concurrency`` of them at once."""
    return Drains(
        drain_seconds(shops, count, provider_seconds=LATENCY, concurrency=concurrency),
        LATENCY * count / concurrency,
        two_writes_seconds(shops, count),
    )


def at_once_against_one_at_a_time(shops: Shops, count: int = 1_000, concurrency: int = 16) -> tuple[float, float]:
    """Return the seconds of a drain with ``concurrency`` and of one without, to a provider with latency."""
    return (
        drain_seconds(shops, count, provider_seconds=LATENCY, concurrency=concurrency),
        drain_seconds(shops, count, provider_seconds=LATENCY, concurrency=1),
    )


def instant_against_two_writes(
    shops: Shops, count: int = 2_000, concurrency: int = 16, repetitions: int = 3
) -> tuple[float, float]:
    """Return the seconds of a drain to an instant provider, and of the two writes that each email costs at least."""
    ours, floor = [], []
    for _ in range(repetitions):
        ours.append(drain_seconds(shops, count, provider_seconds=0, concurrency=concurrency))
        floor.append(two_writes_seconds(shops, count))
    return statistics.median(ours), statistics.median(floor)
