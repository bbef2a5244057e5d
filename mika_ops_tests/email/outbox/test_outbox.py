"""Draining the outbox: lease before sending, record before the next, never twice."""

from dataclasses import replace
from typing import Final

import pytest

from mika_ops.clock import Clock
from mika_ops.deadline import never_out_of_time
from mika_ops.documents.document import Document
from mika_ops.documents.repository import Change
from mika_ops.ports.email import Envelope, SenderThrottled
from mika_ops.rules.personal_data import redacted_email
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents
from mika_ops_testing.builders import AFTER, BEFORE, NOW, delete_request, email, get, order, put, put_raw
from mika_ops_testing.fakes import Provider, outbox_of
from mika_ops_tests.email.outbox.draining import drain


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

    def check(envelope: Envelope) -> None:
        if envelope.email_id == "email_2":
            before_second.append(get(database, "ops", "email_1")["status"])

    drain(database, Provider(check), clock)
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


def test_an_email_that_failed_in_this_drain_is_not_retried_in_it(database: Database, clock: Clock) -> None:
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


def test_the_error_kept_with_an_email_shows_no_address_and_no_link(database: Database, clock: Clock) -> None:
    put(database, "ops", email())

    def refuse(envelope: Envelope) -> None:
        raise OSError(f"550 {envelope.to} unknown, see https://mail.test/{envelope.email_id}")

    drained = drain(database, Provider(refuse), clock)
    error = get(database, "ops", "email_1")["record"]["lastError"]
    assert error == drained.items[0].error
    assert "email_1@example.test" not in error
    assert "mail.test" not in error


def test_orders_are_read_once_for_a_batch(database: Database, clock: Clock) -> None:
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


class TestExpiredLinks:
    """A backlog may be months old: a sign-in link that has expired helps nobody (deviations, number 18)."""

    @pytest.mark.parametrize(("expires_at", "sent"), [(BEFORE, False), (NOW, False), (AFTER, True), (None, True)])
    def test_a_magic_link_that_has_expired_is_skipped(
        self, expires_at: str | None, sent: bool, database: Database, clock: Clock
    ) -> None:
        put(database, "ops", email(metadata={"link": "https://shop.example.test/l", "expiresAt": expires_at}))
        provider = Provider()

        drained = drain(database, provider, clock)

        assert (drained.sent, drained.skipped) == ((1, 0) if sent else (0, 1))
        assert bool(provider.ids) is sent
        if not sent:
            assert get(database, "ops", "email_1")["status"] == "skipped"
            assert "expired" in get(database, "ops", "email_1")["record"]["lastError"]

    def test_any_other_email_is_sent_however_old_its_link_is(self, database: Database, clock: Clock) -> None:
        put(database, "ledger", order())
        put(database, "ops", email(kind="order_confirmation", orderId="order_1", metadata={"expiresAt": BEFORE}))
        assert drain(database, Provider(), clock).sent == 1

    def test_the_rule_can_be_off(self, database: Database, clock: Clock) -> None:
        put(database, "ops", email(metadata={"link": "https://shop.example.test/l", "expiresAt": BEFORE}))
        assert (
            replace(outbox_of(database, Provider()), skips_expired_links=False)
            .drain(clock, limit=None, out_of_time=never_out_of_time)
            .sent
            == 1
        )


class TestPeopleWhoAskedToBeDeleted:
    """Nobody gets an email while their delete request is queued: the request redacts the emails that wait."""

    REQUEST: Final = delete_request(customerId="alice", userId="user_alice", emailHash="hash_alice")

    @pytest.mark.parametrize(
        "named",
        [{"customerId": "alice"}, {"metadata": {"userId": "user_alice"}}, {"metadata": {"emailHash": "hash_alice"}}],
    )
    def test_an_email_to_them_stays_as_it_is(self, named: Document, database: Database, clock: Clock) -> None:
        put(database, "ops", self.REQUEST, email("hers", **named), email("other"))
        before, provider = get(database, "ops", "hers"), Provider()

        drained = drain(database, provider, clock)

        assert provider.ids == ["other"]
        assert (drained.sent, drained.withheld, drained.leased) == (1, 1, 1)
        assert get(database, "ops", "hers") == before

    def test_an_email_about_their_order_does_not_lose_an_attempt(self, database: Database, clock: Clock) -> None:
        put(database, "ledger", order("hers", customerId="alice"))
        put(database, "ops", self.REQUEST, email(kind="order_confirmation", orderId="hers"))

        drained = drain(database, Provider(), clock)

        assert (drained.sent, drained.withheld) == (0, 1)
        record = get(database, "ops", "email_1")["record"]
        assert (record["attemptCount"], record.get("leaseKey")) == (0, None)

    @pytest.mark.parametrize("status", ["completed", "failed"])
    def test_a_request_that_has_ended_withholds_nothing(self, status: str, database: Database, clock: Clock) -> None:
        put(database, "ops", delete_request(customerId="alice", status=status), email(customerId="alice"))
        assert drain(database, Provider(), clock).sent == 1

    def test_a_request_that_cannot_be_read_withholds_nothing(self, database: Database, clock: Clock) -> None:
        put(database, "ops", {**self.REQUEST, "record": "broken"}, email(customerId="alice"))
        assert drain(database, Provider(), clock).sent == 1
