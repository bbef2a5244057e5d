"""Emails that are sent at once, by one drain or by several: each once, and recorded together."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from mika_ops.clock import Clock
from mika_ops.deadline import never_out_of_time
from mika_ops.documents.repository import Changes, Rule
from mika_ops.email.outbox.record_size import RecordSize
from mika_ops.ports.email import DrainedOutbox, Envelope
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents
from mika_ops.store.opening import open_database
from mika_ops_testing.builders import EARLIER, documents_of, email, put
from mika_ops_testing.fakes import Provider, outbox_of
from mika_ops_testing.waiting import wait_until
from mika_ops_tests.email.outbox.draining import wait_at


def test_the_next_batch_is_leased_while_an_email_is_sent(database: Database, clock: Clock) -> None:
    put(database, "ops", *(email(f"email_{number:03}") for number in range(70)))
    started = 0

    def leased() -> int:
        return sum(document["record"]["attemptCount"] for document in documents_of(database, "ops").values())

    def check(_envelope: Envelope) -> None:
        nonlocal started
        started += 1
        behind_it = started + 2 * outbox.batch_size
        wait_until(lambda: leased() >= min(70, behind_it + 1), what="two batches and more wait", seconds=10)

    outbox = outbox_of(database, Provider(check))
    assert outbox.drain(clock, limit=None, out_of_time=never_out_of_time).sent == 70


@pytest.mark.parametrize(("kind", "drains"), [("sqlite", 2), ("postgres", 2), ("postgres", 4)], indirect=["kind"])
def test_drains_at_once_send_every_email_exactly_once(url: str, drains: int, clock: Clock) -> None:
    with open_database(url) as database:
        put(database, "ops", *(email(f"email_{number:03}", nextAttemptAt=EARLIER) for number in range(300)))
    provider = Provider()
    start = threading.Barrier(drains)
    drained: list[DrainedOutbox] = []

    def work() -> None:
        with open_database(url) as own:
            outbox = replace(outbox_of(own, provider), concurrency=4)
            start.wait()
            drained.append(outbox.drain(clock, limit=None, out_of_time=never_out_of_time))

    workers = [threading.Thread(target=work) for _ in range(drains)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [each.error for each in drained] == [None] * drains
    assert sorted(provider.ids) == [f"email_{number:03}" for number in range(300)]
    assert sum(each.sent for each in drained) == 300


def test_emails_are_sent_as_many_at_once_as_the_outbox_has_workers(database: Database, clock: Clock) -> None:
    put(database, "ops", *(email(f"email_{number}") for number in range(8)))
    all_here = threading.Barrier(4, timeout=30)
    provider = Provider(lambda _envelope: wait_at(all_here))
    drained = replace(outbox_of(database, provider), concurrency=4).drain(
        clock, limit=None, out_of_time=never_out_of_time
    )
    assert drained.sent == 8


def test_a_worker_sends_its_next_email_only_once_its_last_is_recorded(database: Database, clock: Clock) -> None:
    put(database, "ops", *(email(f"email_{number:02}") for number in range(40)))
    unrecorded: list[int] = []
    lock = threading.Lock()
    sent: list[str] = []

    def check(envelope: Envelope) -> None:
        with lock:
            stored = documents_of(database, "ops")
            unrecorded.append(sum(stored[id_]["status"] != "sent" for id_ in sent))
            sent.append(envelope.email_id)

    replace(outbox_of(database, Provider(check)), concurrency=3).drain(clock, limit=None, out_of_time=never_out_of_time)
    assert max(unrecorded) < 3


def test_a_record_holds_no_more_than_a_part_of_what_has_ended(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(database, "ops", *(email(f"email_{number}") for number in range(8)))
    monkeypatch.setattr(RecordSize, "size", 2)
    records: list[int] = []
    monkeypatch.setattr(RecordSize, "recorded", lambda _size, count, _seconds: records.append(count))
    all_here = threading.Barrier(4, timeout=30)
    provider = Provider(lambda _envelope: wait_at(all_here))

    drained = replace(outbox_of(database, provider), concurrency=4).drain(
        clock, limit=None, out_of_time=never_out_of_time
    )

    assert drained.sent == 8
    assert max(records) <= 2, "of four that ended together"
    assert sum(records) == 8


def test_how_long_sending_and_recording_take_is_learnt_by_the_outboxs_timer(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(database, "ops", email())
    learnt: list[tuple[str, float]] = []
    monkeypatch.setattr(RecordSize, "sent", lambda _size, seconds: learnt.append(("sent", seconds)))
    monkeypatch.setattr(
        RecordSize, "recorded", lambda _size, count, seconds: learnt.append((f"{count} recorded", seconds))
    )
    now = [0.0]

    def takes_a_minute(_envelope: Envelope) -> None:
        now[0] += 60.0

    class Slow(Documents):
        def change(self, ids: Sequence[str], rule: Rule[Any], **more: Any) -> Changes[Any]:
            now[0] += 1.0 if ids else 0.0
            return super().change(ids, rule, **more)

    outbox = replace(outbox_of(database, Provider(takes_a_minute)), ops=Slow(database, "ops"), timer=lambda: now[0])
    outbox.drain(clock, limit=None, out_of_time=never_out_of_time)

    assert learnt[:2] == [("sent", 60.0), ("1 recorded", 1.0)]
