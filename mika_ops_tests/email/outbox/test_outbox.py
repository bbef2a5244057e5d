"""Draining the outbox: lease before sending, record before the next, never twice."""

import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mika_ops.clock import Clock
from mika_ops.deadline import never_out_of_time
from mika_ops.documents.repository import Change, Changes, Rule
from mika_ops.email.outbox.record_size import RecordSize
from mika_ops.ports.email import DrainedOutbox, Envelope, SenderThrottled
from mika_ops.rules.personal_data import redacted_email
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents
from mika_ops.store.opening import open_database
from mika_ops.timestamps import to_datetime
from mika_ops_testing.builders import BEFORE, EARLIER, NOW, documents_of, email, get, order, put, put_raw
from mika_ops_testing.fakes import Provider, outbox_of
from mika_ops_testing.waiting import wait_until


def drain(database: Database, provider: Provider, clock: Clock, limit: int | None = None) -> DrainedOutbox:
    return outbox_of(database, provider).drain(clock, limit=limit, out_of_time=never_out_of_time)


def test_an_email_is_leased_while_it_is_sent(database: Database, clock: Clock) -> None:
    put(database, "ops", email())
    seen: list[dict[str, object]] = []
    drain(database, Provider(lambda _envelope: seen.append(get(database, "ops", "email_1")["record"])), clock)
    (record,) = seen
    assert record["attemptCount"] == 1
    assert record["leaseExpiresAt"] == "2026-03-01T12:05:00.000Z"
    assert record["leasedAt"] == NOW


def test_an_email_is_recorded_before_the_next_is_sent(database: Database, clock: Clock) -> None:
    put(database, "ops", email("email_1"), email("email_2"))
    before_second: list[object] = []

    def look(envelope: Envelope) -> None:
        if envelope.email_id == "email_2":
            before_second.append(get(database, "ops", "email_1")["status"])

    drain(database, Provider(look), clock)
    assert before_second == ["sent"]


def test_a_failing_email_does_not_stop_the_others(database: Database, clock: Clock) -> None:
    put(database, "ops", *(email(f"email_{number}") for number in range(5)))

    def refuse(envelope: Envelope) -> None:
        if envelope.email_id == "email_2":
            raise OSError("451 try again")

    provider = Provider(refuse)
    drained = drain(database, provider, clock)
    assert provider.ids == ["email_0", "email_1", "email_3", "email_4"]
    assert (drained.sent, drained.failed) == (4, 1)


def test_an_email_that_failed_in_this_drain_is_not_tried_again_in_it(database: Database, clock: Clock) -> None:
    put(database, "ops", email())
    tries: list[str] = []

    def refuse(envelope: Envelope) -> None:
        tries.append(envelope.email_id)
        raise OSError("451 try again")

    drain(database, Provider(refuse), clock)
    assert tries == ["email_1"]


def test_a_drain_goes_on_over_many_batches_until_nothing_is_due(database: Database, clock: Clock) -> None:
    put(database, "ops", *(email(f"email_{number:03}") for number in range(70)))
    provider = Provider()
    drained = drain(database, provider, clock)
    assert provider.ids == [f"email_{number:03}" for number in range(70)]
    assert (drained.scanned, drained.leased, drained.sent, drained.has_more) == (70, 70, 70, False)


def test_the_next_batch_is_leased_while_an_email_is_sent(database: Database, clock: Clock) -> None:
    put(database, "ops", *(email(f"email_{number:03}") for number in range(70)))
    started = 0

    def leased() -> int:
        return sum(document["record"]["attemptCount"] for document in documents_of(database, "ops").values())

    def look(_envelope: Envelope) -> None:
        nonlocal started
        started += 1
        behind_it = started + 2 * outbox.batch_size
        wait_until(lambda: leased() >= min(70, behind_it + 1), what="two batches and more wait", seconds=10)

    outbox = outbox_of(database, Provider(look))
    assert outbox.drain(clock, limit=None, out_of_time=never_out_of_time).sent == 70


def test_a_drain_leaves_the_interpreter_as_it_found_it(database: Database, clock: Clock) -> None:
    put(database, "ops", email())
    usual = sys.getswitchinterval()
    during: list[float] = []
    drain(database, Provider(lambda _envelope: during.append(sys.getswitchinterval())), clock)
    assert during != [usual]
    assert sys.getswitchinterval() == usual


def test_a_lease_is_stamped_with_the_real_time_not_with_the_start_of_the_run(database: Database) -> None:
    put(database, "ops", email())
    late = Clock(NOW, lambda: to_datetime(NOW) + timedelta(minutes=7))
    seen: list[str] = []
    drain(database, Provider(lambda _: seen.append(get(database, "ops", "email_1")["record"]["leasedAt"])), late)
    assert seen == ["2026-03-01T12:07:00.000Z"]


def test_a_batch_is_so_small_that_its_last_email_is_sent_before_its_lease_lapses(database: Database) -> None:
    put(database, "ops", *(email(f"email_{number:02}") for number in range(30)))
    now = [to_datetime(NOW)]
    clock = Clock(NOW, lambda: now[0])

    def take_as_long_as_allowed(envelope: Envelope) -> None:
        now[0] += timedelta(seconds=20)
        record = get(database, "ops", envelope.email_id)["record"]
        assert to_datetime(record["leaseExpiresAt"]) > now[0]

    drained = drain(database, Provider(take_as_long_as_allowed), clock)
    assert (drained.sent, drained.lease_lost) == (30, 0)


def test_no_email_is_sent_after_its_lease_however_slow_the_pace(database: Database) -> None:
    put(database, "ops", *(email(f"email_{number:02}") for number in range(40)))
    passed = [0.0]
    late: list[str] = []
    clock = Clock(NOW, lambda: to_datetime(NOW) + timedelta(seconds=passed[0]))

    def look(envelope: Envelope) -> None:
        lease = get(database, "ops", envelope.email_id)["record"]["leaseExpiresAt"]
        late.extend([envelope.email_id] if lease <= clock.stamp() else [])

    def sleep(seconds: float) -> None:
        passed[0] += seconds

    outbox = replace(
        outbox_of(database, Provider(look)), max_per_second=0.1, concurrency=8, timer=lambda: passed[0], sleep=sleep
    )
    drained = outbox.drain(clock, limit=None, out_of_time=never_out_of_time)
    assert late == []
    assert (drained.sent, drained.lease_lost) == (40, 0)


def test_an_email_whose_lease_would_lapse_while_it_is_sent_is_given_back_instead(database: Database) -> None:
    put(database, "ops", *(email(f"email_{number}") for number in range(4)))
    now = [to_datetime(NOW)]

    def stall(_envelope: Envelope) -> None:
        now[0] += timedelta(minutes=4, seconds=50)

    drained = drain(database, Provider(stall), Clock(NOW, lambda: now[0]))
    # How many were leased anew after the stall depends on the thread that leases ahead; none is sent past its lease.
    assert drained.released >= 1
    assert drained.sent + drained.released == 4
    assert drained.lease_lost == 0
    assert drained.has_more


def test_a_drain_that_waits_for_its_pace_still_ends_with_its_time(database: Database, clock: Clock) -> None:
    put(database, "ops", email("email_1"), email("email_2"))
    passed = [0.0]

    def sleep(seconds: float) -> None:
        passed[0] += seconds

    provider = Provider()
    outbox = replace(outbox_of(database, provider), max_per_second=0.01, timer=lambda: passed[0], sleep=sleep)
    drained = outbox.drain(clock, limit=None, out_of_time=lambda: passed[0] > 5)
    assert (drained.sent, drained.released) == (1, 1)
    assert passed[0] < 7


def test_an_email_sent_after_its_lease_was_lost_is_recorded_as_sent_all_the_same(database: Database) -> None:
    put(database, "ops", email())
    now = [to_datetime(NOW)]

    def dawdle(_envelope: Envelope) -> None:
        now[0] += timedelta(minutes=6)

    drained = drain(database, Provider(dawdle), Clock(NOW, lambda: now[0]))
    assert get(database, "ops", "email_1")["status"] == "sent"
    assert drained.items[0].recovered_lease_lost is True
    assert drained.sent == 1


def test_an_email_that_fails_after_its_lease_was_lost_is_left_to_whoever_has_it_now(database: Database) -> None:
    put(database, "ops", email())
    now = [to_datetime(NOW)]

    def dawdle(_envelope: Envelope) -> None:
        now[0] += timedelta(minutes=6)
        raise OSError("timed out")

    drained = drain(database, Provider(dawdle), Clock(NOW, lambda: now[0]))
    assert (drained.lease_lost, drained.failed) == (1, 0)
    assert get(database, "ops", "email_1")["status"] == "queued"


def test_an_email_redacted_while_it_was_sent_is_never_sent_again(database: Database, clock: Clock) -> None:
    put(database, "ops", email())

    def redact(_envelope: Envelope) -> None:
        Documents(database, "ops").change(
            ["email_1"], lambda _id, document: Change(redacted_email(document, now=NOW), None)
        )

    drain(database, Provider(redact), clock)
    document = get(database, "ops", "email_1")
    assert document["status"] == "sent"
    assert document["record"]["toEmail"] == "redacted-email_1@redacted.invalid"


def test_malformed_emails_are_counted_named_and_left_alone(database: Database, clock: Clock) -> None:
    put(database, "ops", email("email_1"), email("email_2", attemptCount="many"), email("email_3"))
    put_raw(database, "ops", ("email_4", '{"id":"email_4","type":"email","status":"queued"}'))
    provider = Provider()
    drained = drain(database, provider, clock)
    assert provider.ids == ["email_1", "email_3"]
    assert (drained.scanned, drained.malformed) == (2, 2)
    assert set(drained.malformed_ids) == {"email_2", "email_4"}
    assert get(database, "ops", "email_4") == {"id": "email_4", "type": "email", "status": "queued"}


def test_an_unknown_kind_is_skipped_like_one_without_a_template(database: Database, clock: Clock) -> None:
    put(database, "ops", email(kind="carrier_pigeon"))
    drained = drain(database, Provider(), clock)
    assert drained.skipped == 1
    assert get(database, "ops", "email_1")["status"] == "skipped"


def test_the_error_kept_with_an_email_tells_no_address_and_no_link(database: Database, clock: Clock) -> None:
    put(database, "ops", email())

    def refuse(envelope: Envelope) -> None:
        raise OSError(f"550 {envelope.to} unknown, see https://mail.test/{envelope.email_id}")

    drained = drain(database, Provider(refuse), clock)
    error = get(database, "ops", "email_1")["record"]["lastError"]
    assert error == drained.items[0].error
    assert "email_1@example.test" not in error
    assert "mail.test" not in error


def test_orders_are_looked_up_once_for_a_batch(database: Database, clock: Clock) -> None:
    put(database, "ledger", order())
    put(
        database,
        "ops",
        *(email(f"email_{number}", kind="order_confirmation", orderId="order_1") for number in range(3)),
    )
    reads: list[list[str]] = []
    ledger = Documents(database, "ledger")

    class Counting:
        candidates, change = ledger.candidates, ledger.change

        def read(self, ids: list[str]) -> object:
            reads.append(list(ids))
            return ledger.read(ids)

    outbox = replace(outbox_of(database, Provider()), ledger=Counting(), concurrency=2)  # type: ignore[arg-type]
    assert outbox.drain(clock, limit=None, out_of_time=never_out_of_time).sent == 3
    assert reads == [["order_1"]]


def test_an_email_whose_worker_was_killed_is_sent_by_the_next_drain_once_its_lease_lapsed(
    database: Database, clock: Clock
) -> None:
    put(database, "ops", email(attemptCount=1, leaseKey="killed", leaseExpiresAt=BEFORE, nextAttemptAt=BEFORE))
    provider = Provider()
    drain(database, provider, clock)
    assert provider.ids == ["email_1"]
    assert get(database, "ops", "email_1")["record"]["attemptCount"] == 2


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
    provider = Provider(lambda _envelope: wait_for(all_here))
    drained = replace(outbox_of(database, provider), concurrency=4).drain(
        clock, limit=None, out_of_time=never_out_of_time
    )
    assert drained.sent == 8


def wait_for(barrier: threading.Barrier) -> None:
    barrier.wait()


def test_a_worker_sends_its_next_email_only_once_its_last_is_recorded(database: Database, clock: Clock) -> None:
    put(database, "ops", *(email(f"email_{number:02}") for number in range(40)))
    unrecorded: list[int] = []
    lock = threading.Lock()
    sent: list[str] = []

    def look(envelope: Envelope) -> None:
        with lock:
            stored = documents_of(database, "ops")
            unrecorded.append(sum(stored[id_]["status"] != "sent" for id_ in sent))
            sent.append(envelope.email_id)

    replace(outbox_of(database, Provider(look)), concurrency=3).drain(clock, limit=None, out_of_time=never_out_of_time)
    assert max(unrecorded) < 3


def test_a_record_holds_no_more_than_a_part_of_what_has_ended(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(database, "ops", *(email(f"email_{number}") for number in range(8)))
    monkeypatch.setattr(RecordSize, "size", 2)
    records: list[int] = []
    monkeypatch.setattr(RecordSize, "recorded", lambda _parts, count, _seconds: records.append(count))
    all_here = threading.Barrier(4, timeout=30)
    provider = Provider(lambda _envelope: wait_for(all_here))

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
    monkeypatch.setattr(RecordSize, "sent", lambda _parts, seconds: learnt.append(("sent", seconds)))
    monkeypatch.setattr(
        RecordSize, "recorded", lambda _parts, count, seconds: learnt.append((f"{count} recorded", seconds))
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


def test_a_throttled_email_counts_as_failed_and_the_drain_goes_on_slower(database: Database, clock: Clock) -> None:
    put(database, "ops", *(email(f"email_{number}") for number in range(4)))
    pauses: list[float] = []

    def throttle(envelope: Envelope) -> None:
        if envelope.email_id == "email_1":
            raise SenderThrottled("the mail server answered 451 to RCPT: slow down")

    time_ = [0.0]

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        time_[0] += seconds

    outbox = replace(outbox_of(database, Provider(throttle)), sleep=sleep, timer=lambda: time_[0])
    drained = outbox.drain(clock, limit=None, out_of_time=never_out_of_time)
    assert (drained.sent, drained.failed) == (3, 1)
    assert pauses == [1.0]


def test_time_that_runs_out_gives_back_what_was_leased_and_not_sent(database: Database, clock: Clock) -> None:
    put(database, "ops", *(email(f"email_{number:02}") for number in range(20)))
    provider = Provider()
    outbox = outbox_of(database, provider)
    drained = outbox.drain(clock, limit=None, out_of_time=lambda: len(provider.taken) >= 3)
    assert drained.sent == 3
    assert drained.released == drained.leased - 3
    assert drained.has_more
    waiting = [document for document in documents_of(database, "ops").values() if document["status"] == "queued"]
    assert len(waiting) == 17
    assert not any(document["record"]["attemptCount"] for document in waiting)
