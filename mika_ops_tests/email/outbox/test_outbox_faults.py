"""What goes wrong around the outbox costs no email: the database, the provider, a host's own components."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from mika_ops.clock import Clock
from mika_ops.deadline import never_out_of_time
from mika_ops.ports.email import Envelope, SenderUnavailable, SendResult
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents
from mika_ops.store.errors import DatabaseError
from mika_ops_testing.builders import BEFORE, documents_of, email, get, put
from mika_ops_testing.fakes import Provider, outbox_of
from mika_ops_tests.email.outbox.draining import drain, wait_at


def failing(
    monkeypatch: pytest.MonkeyPatch,
    fails: Callable[[list[str]], bool],
) -> None:
    """Let the database refuse to record emails, once leased, whenever ``fails`` says so of their ids."""
    change = Documents.change

    def maybe(self: Documents, ids: list[str], *args: object, wait: bool = False, **kwargs: object) -> object:
        # A record waits for its documents; a lease, which runs beside it, takes only what is free.
        if wait and fails(ids):
            raise DatabaseError("the shop's database: the disk is full")
        return change(self, ids, *args, wait=wait, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Documents, "change", maybe)


def test_a_database_error_in_the_middle_keeps_the_report_of_what_was_sent(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(database, "ops", *(email(f"email_{number}") for number in range(4)))
    provider = Provider()
    failing(monkeypatch, lambda _ids: len(provider.taken) >= 3)
    drained = drain(database, provider, clock)
    assert drained.sent == 2
    assert drained.error is not None
    assert "disk is full" in drained.error


def test_one_email_that_cannot_be_recorded_does_not_undo_the_record_of_those_sent_beside_it(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(database, "ops", *(email(f"email_{number}") for number in range(4)))
    together = threading.Barrier(4, timeout=30)
    provider = Provider(lambda _envelope: wait_at(together))
    failing(monkeypatch, lambda ids: "email_2" in ids)
    drained = replace(outbox_of(database, provider), concurrency=4).drain(
        clock, limit=None, out_of_time=never_out_of_time
    )
    statuses = {id_: document["status"] for id_, document in documents_of(database, "ops").items()}
    assert statuses == {"email_0": "sent", "email_1": "sent", "email_2": "queued", "email_3": "sent"}
    assert drained.sent == 3
    assert drained.error is not None
    assert "email_2" in drained.error
    assert "disk is full" in drained.error


def test_a_record_that_failed_once_is_written_after_all(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(database, "ops", *(email(f"email_{number}") for number in range(4)))
    records = iter(range(1000))
    failing(monkeypatch, lambda _ids: next(records) == 0)
    drained = drain(database, Provider(), clock)
    assert (drained.sent, drained.error) == (4, None)
    assert {document["status"] for document in documents_of(database, "ops").values()} == {"sent"}


@pytest.mark.parametrize(
    "broken", [lambda attempt: [timedelta(0)][attempt], lambda _attempt: 60], ids=["raises", "returns a number"]
)
def test_a_retry_delay_that_is_none_does_not_undo_the_record_of_what_was_sent(
    broken: Callable[[int], timedelta], database: Database, clock: Clock
) -> None:
    put(database, "ops", email("email_1"), email("email_2", toEmail="refused@example.test"))

    def refuse(envelope: Envelope) -> None:
        if envelope.email_id == "email_2":
            raise OSError("451 not now")

    outbox = replace(outbox_of(database, Provider(refuse)), retry_delay=broken)
    drained = outbox.drain(clock, limit=None, out_of_time=never_out_of_time)
    assert (drained.sent, drained.failed, drained.error) == (1, 1, None)
    assert get(database, "ops", "email_2")["nextAttemptAt"] == "2026-03-01T12:01:00.000Z"


@pytest.mark.parametrize("result", [None, SendResult(12345), SendResult("a\nb"), object()])  # type: ignore[arg-type]
def test_whatever_a_sender_returns_the_email_was_sent(result: object, database: Database, clock: Clock) -> None:
    class Careless:
        def send(self, _envelope: Envelope) -> object:
            return result

    put(database, "ops", email())
    drained = outbox_of(database, Careless()).drain(clock, limit=None, out_of_time=never_out_of_time)  # type: ignore[arg-type]
    assert (drained.sent, drained.error) == (1, None)
    assert get(database, "ops", "email_1")["status"] == "sent"


def test_a_single_email_that_finds_no_provider_is_reported(database: Database, clock: Clock) -> None:
    put(database, "ops", email())

    def refuse(_envelope: Envelope) -> None:
        raise SenderUnavailable("the mail server answered 535 to AUTH: check MIKA_SMTP_PASSWORD")

    drained = drain(database, Provider(refuse), clock)
    assert drained.error == "the mail server answered 535 to AUTH: check MIKA_SMTP_PASSWORD"
    assert get(database, "ops", "email_1")["record"]["attemptCount"] == 0


def test_emails_whose_orders_cannot_be_read_are_released(database: Database, clock: Clock) -> None:
    put(database, "ops", email(kind="order_confirmation", orderId="order_1"))

    class Unreadable:
        def read(self, _ids: list[str]) -> object:
            raise DatabaseError("the shop's database: the connection was lost")

    outbox = replace(outbox_of(database, Provider()), ledger=Unreadable())  # type: ignore[arg-type]
    drained = outbox.drain(clock, limit=None, out_of_time=never_out_of_time)
    assert drained.error == "the shop's database: the connection was lost"
    record = get(database, "ops", "email_1")["record"]
    assert record["attemptCount"] == 0
    assert "leaseKey" not in record


def test_a_provider_out_of_reach_ends_the_drain_and_costs_no_attempt(database: Database, clock: Clock) -> None:
    before = [
        email(f"email_{number:02}", attemptCount=2, nextAttemptAt=BEFORE, lastError="old") for number in range(40)
    ]
    put(database, "ops", *before)

    def refuse(_envelope: Envelope) -> None:
        raise SenderUnavailable("the mail server mail.test:25 could not be reached: connection refused")

    drained = drain(database, Provider(refuse), clock)
    assert drained.stopped_reason is not None
    assert "could not be reached" in drained.stopped_reason
    assert drained.error == drained.stopped_reason
    assert drained.released == drained.leased > 0
    assert drained.has_more
    after = documents_of(database, "ops")
    for document in before:
        assert after[document["id"]]["record"] == document["record"]


def test_one_email_that_finds_no_provider_does_not_end_the_drain(database: Database, clock: Clock) -> None:
    put(database, "ops", *(email(f"email_{number}") for number in range(5)))
    refusals = iter([True, True, False, True, False, False])

    def sometimes(_envelope: Envelope) -> None:
        if next(refusals):
            raise SenderUnavailable("the mail server could not be reached")

    drained = drain(database, Provider(sometimes), clock)
    assert (drained.sent, drained.released, drained.stopped_reason) == (2, 3, None)
