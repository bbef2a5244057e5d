"""Emails in the outbox (behaviour, sections 3 and 4): when one is due or stuck, and what each end does to it."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mika_ops.documents.document import ABSENT, Document, MalformedDocument
from mika_ops.rules import email as rules
from mika_ops_testing.builders import AFTER, BEFORE, EARLIER, LATER, NOW, email, order, webhook, workflow
from mika_ops_tests.documents.arbitrary import json_objects

IN_FIVE_MINUTES = "2026-03-01T12:05:00.000Z"
LEASE_FIELDS = ("leaseKey", "leasedAt", "leaseExpiresAt")


def is_due(document: Document) -> bool:
    return rules.DUE.at(NOW).takes(document)


def is_stuck(document: Document) -> bool:
    return rules.STUCK.at(NOW).takes(document)


def stuck_email(**record: Any) -> Document:
    return email(**{"attemptCount": 5, "maxAttempts": 5, "leaseExpiresAt": BEFORE, **record})


def leased(document: Document) -> Document:
    return rules.leased(document, key="worker-1", now=NOW, lease=timedelta(minutes=5))


def failed(document: Document) -> Document:
    return rules.failed(document, error="refused", now=NOW, retry_after=timedelta(minutes=1))


def test_a_new_email_is_due() -> None:
    assert is_due(email())


@pytest.mark.parametrize("status", ["queued", "failed"])
def test_a_waiting_email_is_due(status: str) -> None:
    assert is_due(email(status=status))


@pytest.mark.parametrize("status", ["sent", "skipped", "unheard_of"])
def test_a_finished_email_is_not_due(status: str) -> None:
    assert not is_due(email(status=status))


@pytest.mark.parametrize("other", [webhook(), workflow(), order()])
def test_another_document_is_never_due(other: Document) -> None:
    assert not is_due({**other, "status": "queued"})


def test_the_status_is_read_at_the_top() -> None:
    assert is_due(email(status="sent", top={"status": "queued"}))
    assert not is_due(email(status="queued", top={"status": "sent"}))


@pytest.mark.parametrize(("expires_at", "due"), [(BEFORE, True), (NOW, True), (AFTER, False)])
def test_a_lease_keeps_an_email_until_it_expires(expires_at: str, due: bool) -> None:
    assert is_due(email(leaseExpiresAt=expires_at)) is due


@pytest.mark.parametrize(("next_attempt_at", "due"), [(BEFORE, True), (NOW, True), (AFTER, False)])
def test_an_email_waits_for_its_next_attempt(next_attempt_at: str, due: bool) -> None:
    assert is_due(email(nextAttemptAt=next_attempt_at)) is due


def test_the_next_attempt_is_read_in_the_record() -> None:
    assert not is_due(email(nextAttemptAt=AFTER, top={"nextAttemptAt": BEFORE}))


@pytest.mark.parametrize(("attempts", "due"), [(4, True), (5, False), (6, False)])
def test_an_email_is_due_while_attempts_are_left(attempts: int, due: bool) -> None:
    assert is_due(email(attemptCount=attempts, maxAttempts=5)) is due


def test_an_email_without_a_record_is_malformed() -> None:
    with pytest.raises(MalformedDocument):
        is_due(email(top={"record": ABSENT}))


def test_emails_are_taken_oldest_next_attempt_first_and_those_without_before_all() -> None:
    documents = [email("c", nextAttemptAt=NOW), email("b", nextAttemptAt=BEFORE), email("z"), email("a")]
    ordered = sorted(documents, key=lambda document: rules.DUE.at(NOW).sort_key(document, document["id"]))
    assert [document["id"] for document in ordered] == ["a", "z", "b", "c"]


def test_leasing_counts_the_attempt() -> None:
    assert leased(email(attemptCount=2))["record"]["attemptCount"] == 3


def test_leasing_sets_the_lease_and_the_next_attempt_to_its_end() -> None:
    record = leased(email())["record"]
    assert {name: record[name] for name in (*LEASE_FIELDS, "nextAttemptAt")} == {
        "leaseKey": "worker-1",
        "leasedAt": NOW,
        "leaseExpiresAt": IN_FIVE_MINUTES,
        "nextAttemptAt": IN_FIVE_MINUTES,
    }


def test_leasing_forgets_the_last_error() -> None:
    assert "lastError" not in leased(email(lastError="refused"))["record"]


def test_leasing_leaves_the_status() -> None:
    assert leased(email(status="failed"))["status"] == "failed"


def test_leasing_copies_the_next_attempt_up() -> None:
    assert leased(email())["nextAttemptAt"] == IN_FIVE_MINUTES


def test_an_order_id_that_stands_only_at_the_top_is_lost_by_leasing() -> None:
    assert "orderId" not in leased(email(kind="order_confirmation", top={"orderId": "order_1"}))


def test_a_leased_email_is_not_due_until_the_lease_expires() -> None:
    document = leased(email())
    assert not is_due(document)
    assert not rules.DUE.at("2026-03-01T12:04:59.999Z").takes(document)
    assert rules.DUE.at(IN_FIVE_MINUTES).takes(document)


@pytest.mark.parametrize(("now", "held"), [(BEFORE, True), (NOW, False), (AFTER, False)])
def test_a_lease_is_held_until_it_expires(now: str, held: bool) -> None:
    document = email(leaseKey="worker-1", leaseExpiresAt=NOW)
    assert rules.holds_lease(document, key="worker-1", now=now) is held


def test_a_lease_of_another_worker_is_not_held() -> None:
    assert not rules.holds_lease(leased(email()), key="worker-2", now=NOW)


@pytest.mark.parametrize("expires_at", [None, 5, ABSENT])
def test_a_lease_without_an_end_is_not_held(expires_at: object) -> None:
    assert not rules.holds_lease(email(leaseKey="worker-1", leaseExpiresAt=expires_at), key="worker-1", now=NOW)


def sent(document: Document, provider_message_id: str | None = "pm-1") -> Document:
    return rules.sent(document, now=NOW, provider_message_id=provider_message_id)


def test_an_email_is_sent_once_that_is_recorded() -> None:
    assert rules.is_sent(sent(email()))
    assert not rules.is_sent(leased(email()))


def test_sending_forgets_the_last_error() -> None:
    assert "lastError" not in sent(email(lastError="refused"))["record"]


def test_a_sent_email_says_when_and_by_which_id() -> None:
    record = sent(leased(email()))["record"]
    assert (record["status"], record["sentAt"], record["providerMessageId"]) == ("sent", NOW, "pm-1")


def test_a_sent_email_waits_for_nothing() -> None:
    document = sent(leased(email(lastError="refused")))
    assert not {*LEASE_FIELDS, "nextAttemptAt", "lastError"} & set(document["record"])
    assert document["status"] == "sent"
    assert "nextAttemptAt" not in document


def test_a_sender_without_a_message_id_removes_an_older_one() -> None:
    assert "providerMessageId" not in sent(email(providerMessageId="pm-old"), None)["record"]


@pytest.mark.parametrize("metadata", [{"link": "secret"}, {"url": "secret"}, {"link": "secret", "url": "secret"}])
def test_a_magic_links_address_leaves_with_the_email(metadata: Document) -> None:
    redacted = sent(email(metadata={**metadata, "purpose": "sign_in"}))["record"]["metadata"]
    assert redacted == {"purpose": "sign_in", "linkRedactedAt": NOW}


@pytest.mark.parametrize("link", ["", 5, None])
def test_a_link_of_whatever_type_is_redacted(link: object) -> None:
    assert sent(email(metadata={"link": link}))["record"]["metadata"] == {"linkRedactedAt": NOW}


@pytest.mark.parametrize("metadata", [{"link": "https://shop.example.test/l"}, {"linkRedactedAt": NOW}])
def test_the_token_of_a_magic_link_leaves_the_document_once_it_is_sent(metadata: Document) -> None:
    document = sent(email(tokenId="raw", metadata=metadata))
    assert "tokenId" not in document
    assert "tokenId" not in document["record"]


def test_the_token_of_another_email_stays() -> None:
    assert sent(email(kind="download", tokenId="download"))["record"]["tokenId"] == "download"


def test_a_magic_link_without_an_address_is_not_marked_redacted() -> None:
    assert sent(email(metadata={"purpose": "checkout"}))["record"]["metadata"] == {"purpose": "checkout"}


def test_another_kinds_link_stays() -> None:
    assert sent(email(kind="order_confirmation", metadata={"link": "l"}))["record"]["metadata"] == {"link": "l"}


def test_an_email_without_metadata_gets_none() -> None:
    assert "metadata" not in sent(email(metadata=ABSENT))["record"]


def test_a_skipped_email_says_why_and_waits_for_nothing() -> None:
    document = rules.skipped(leased(email()), reason="no link", now=NOW)
    assert (document["status"], document["record"]["lastError"]) == ("skipped", "no link")
    assert not {*LEASE_FIELDS, "nextAttemptAt"} & set(document["record"])
    assert not is_due(document)


def test_a_failed_email_says_why_and_is_tried_again_after_the_delay() -> None:
    document = failed(leased(email()))
    assert (document["status"], document["record"]["lastError"]) == ("failed", "refused")
    assert document["nextAttemptAt"] == document["record"]["nextAttemptAt"] == "2026-03-01T12:01:00.000Z"
    assert rules.DUE.at("2026-03-01T12:01:00.000Z").takes(document)


def test_an_email_that_failed_its_last_attempt_is_never_tried_again() -> None:
    document = failed(leased(email(attemptCount=4, maxAttempts=5)))
    assert "nextAttemptAt" not in document
    assert "nextAttemptAt" not in document["record"]
    assert not rules.DUE.at(LATER).takes(document)


def test_the_attempt_before_the_last_is_followed_by_another() -> None:
    assert "nextAttemptAt" in failed(leased(email(attemptCount=3, maxAttempts=5)))


@given(record=json_objects, attempts=st.integers(0, 9), lease=st.timedeltas(timedelta(seconds=1), timedelta(days=1)))
def test_no_end_leaves_anything_of_a_lease(record: Document, attempts: int, lease: timedelta) -> None:
    document = rules.leased(
        email(**{**record, "attemptCount": attempts, "maxAttempts": 5}), key="k", now=NOW, lease=lease
    )
    for ended in (failed(document), sent(document), rules.skipped(document, reason="why", now=NOW)):
        assert not set(LEASE_FIELDS) & set(ended["record"])
        assert ended["record"].get("nextAttemptAt") == ended.get("nextAttemptAt")


@pytest.mark.parametrize(
    ("attempt", "minutes"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 15), (6, 15), (11, 15), (12, 15), (5_000, 15)]
)
def test_the_delay_doubles_from_a_minute_to_a_quarter_of_an_hour(attempt: int, minutes: int) -> None:
    assert rules.retry_delay(attempt) == timedelta(minutes=minutes)


@given(st.integers(-10, 10**6))
def test_the_delay_grows_within_its_bounds_for_any_attempt(attempt: int) -> None:
    delay = rules.retry_delay(attempt)
    assert timedelta(minutes=1) <= delay <= timedelta(minutes=15)
    assert delay <= rules.retry_delay(attempt + 1)


def test_an_email_is_stuck_whose_last_lease_lapsed() -> None:
    assert is_stuck(stuck_email())


@pytest.mark.parametrize(("expires_at", "stuck"), [(BEFORE, True), (NOW, True), (AFTER, False), (ABSENT, False)])
def test_an_email_is_stuck_from_the_end_of_its_lease(expires_at: object, stuck: bool) -> None:
    assert is_stuck(stuck_email(leaseExpiresAt=expires_at)) is stuck


@pytest.mark.parametrize(("attempts", "stuck"), [(4, False), (5, True), (6, True)])
def test_an_email_is_stuck_with_no_attempt_left(attempts: int, stuck: bool) -> None:
    assert is_stuck(stuck_email(attemptCount=attempts)) is stuck


@pytest.mark.parametrize("status", ["failed", "sent", "skipped"])
def test_only_a_queued_email_is_stuck(status: str) -> None:
    assert not is_stuck(stuck_email(status=status))


@pytest.mark.parametrize(("error", "stuck"), [("refused", False), ("", True), (None, True), (ABSENT, True)])
def test_an_email_with_an_error_to_show_is_not_stuck(error: object, stuck: bool) -> None:
    assert is_stuck(stuck_email(lastError=error)) is stuck


@given(
    attempts=st.integers(0, 8),
    expires_at=st.sampled_from([EARLIER, BEFORE, NOW, AFTER, ABSENT]),
    next_attempt_at=st.sampled_from([BEFORE, NOW, AFTER, ABSENT]),
)
def test_no_email_is_both_due_and_stuck(attempts: int, expires_at: object, next_attempt_at: object) -> None:
    document = email(attemptCount=attempts, leaseExpiresAt=expires_at, nextAttemptAt=next_attempt_at)
    assert not (is_due(document) and is_stuck(document))


def test_a_reclaimed_email_has_failed_permanently() -> None:
    document = rules.reclaimed(stuck_email(leaseKey="k", leasedAt=BEFORE, nextAttemptAt=BEFORE), now=NOW)
    assert (document["status"], document["record"]["lastError"]) == ("failed", rules.LEASES_EXHAUSTED)
    assert not {*LEASE_FIELDS, "nextAttemptAt"} & set(document["record"])
    assert "nextAttemptAt" not in document
    assert not rules.DUE.at(LATER).takes(document)


def test_a_reclaimed_emails_empty_error_stays_empty() -> None:
    assert rules.reclaimed(stuck_email(lastError=""), now=NOW)["record"]["lastError"] == ""


@pytest.mark.parametrize("error", [None, ABSENT])
def test_a_reclaimed_email_without_an_error_gets_one(error: object) -> None:
    assert rules.reclaimed(stuck_email(lastError=error), now=NOW)["record"]["lastError"] == rules.LEASES_EXHAUSTED


def given_back(before: Document) -> Document:
    return rules.given_back(leased(before), before=before, now=NOW)


@pytest.mark.parametrize(
    "before",
    [
        email(),
        email(attemptCount=3, status="failed", nextAttemptAt=BEFORE, lastError="refused"),
        email(leaseKey="lapsed", leasedAt=EARLIER, leaseExpiresAt=BEFORE, nextAttemptAt=BEFORE),
    ],
    ids=["new", "failed before", "left behind by a lost worker"],
)
def test_an_email_that_is_given_back_is_as_if_it_had_never_been_leased(before: Document) -> None:
    record = {key: value for key, value in before["record"].items() if key not in LEASE_FIELDS}
    document = given_back(before)
    assert document["record"] == record
    assert document.get("nextAttemptAt") == before["record"].get("nextAttemptAt")
    assert is_due(document)


@given(record=json_objects, attempts=st.integers(0, 4))
def test_giving_back_leaves_nothing_of_a_lease_and_all_of_the_attempts(record: Document, attempts: int) -> None:
    document = given_back(email(**{**record, "attemptCount": attempts, "maxAttempts": 5}))
    assert document["record"]["attemptCount"] == attempts
    assert not set(LEASE_FIELDS) & set(document["record"])
