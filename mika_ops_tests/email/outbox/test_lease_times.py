"""Leases and time: what a drain leases is sent, released or recorded before its lease lapses."""

from dataclasses import replace
from datetime import timedelta

from mika_ops.clock import Clock
from mika_ops.deadline import never_out_of_time
from mika_ops.ports.email import Envelope
from mika_ops.store.database import Database
from mika_ops.timestamps import to_datetime
from mika_ops_testing.builders import BEFORE, NOW, documents_of, email, get, put
from mika_ops_testing.fakes import Provider, outbox_of
from mika_ops_tests.email.outbox.draining import drain


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


def test_no_email_is_sent_after_its_lease_however_low_the_rate(database: Database) -> None:
    put(database, "ops", *(email(f"email_{number:02}") for number in range(40)))
    passed = [0.0]
    late: list[str] = []
    clock = Clock(NOW, lambda: to_datetime(NOW) + timedelta(seconds=passed[0]))

    def check(envelope: Envelope) -> None:
        lease = get(database, "ops", envelope.email_id)["record"]["leaseExpiresAt"]
        late.extend([envelope.email_id] if lease <= clock.stamp() else [])

    def sleep(seconds: float) -> None:
        passed[0] += seconds

    outbox = replace(
        outbox_of(database, Provider(check)), max_per_second=0.1, concurrency=8, timer=lambda: passed[0], sleep=sleep
    )
    drained = outbox.drain(clock, limit=None, out_of_time=never_out_of_time)
    assert late == []
    assert (drained.sent, drained.lease_lost) == (40, 0)


def test_an_email_whose_lease_would_lapse_while_it_is_sent_is_released_instead(database: Database) -> None:
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


def test_a_drain_that_waits_for_its_rate_still_ends_with_its_time(database: Database, clock: Clock) -> None:
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


def test_an_email_whose_worker_was_killed_is_sent_by_the_next_drain_once_its_lease_lapsed(
    database: Database, clock: Clock
) -> None:
    put(database, "ops", email(attemptCount=1, leaseKey="killed", leaseExpiresAt=BEFORE, nextAttemptAt=BEFORE))
    provider = Provider()
    drain(database, provider, clock)
    assert provider.ids == ["email_1"]
    assert get(database, "ops", "email_1")["record"]["attemptCount"] == 2


def test_time_that_runs_out_releases_what_was_leased_and_not_sent(database: Database, clock: Clock) -> None:
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
