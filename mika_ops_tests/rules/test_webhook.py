"""Raw webhook payloads (behaviour, section 5): kept for the retention, then taken out."""

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mika_ops.documents.document import ABSENT, Document, MalformedDocument
from mika_ops.rules import webhook as rules
from mika_ops.timestamps import EARLIEST
from mika_ops_testing.builders import AFTER, BEFORE, NOW, email, webhook


def is_purgeable(document: Document) -> bool:
    return rules.PURGEABLE.at(NOW).takes(document)


@pytest.mark.parametrize(("received_at", "purgeable"), [(BEFORE, True), (NOW, True), (AFTER, False), (ABSENT, False)])
def test_a_payload_is_kept_until_the_cutoff(received_at: object, purgeable: bool) -> None:
    assert is_purgeable(webhook(receivedAt=received_at)) is purgeable


def test_the_time_of_receipt_is_read_in_the_record() -> None:
    assert not is_purgeable(webhook(receivedAt=AFTER, top={"receivedAt": BEFORE}))


@pytest.mark.parametrize("payload", [{"id": "evt"}, "{}", "", 0, False, []])
def test_a_payload_of_whatever_type_is_purged(payload: object) -> None:
    assert is_purgeable(webhook(rawPayloadJson=payload))


@pytest.mark.parametrize("payload", [None, ABSENT])
def test_a_webhook_without_a_payload_is_left_alone(payload: object) -> None:
    assert not is_purgeable(webhook(rawPayloadJson=payload))


def test_a_payload_is_purged_once() -> None:
    assert not is_purgeable(webhook(rawPayloadPurgedAt=BEFORE))


@pytest.mark.parametrize("status", ["received", "failed", "queued"])
def test_a_payload_that_is_still_needed_is_kept(status: str) -> None:
    assert not is_purgeable(webhook(status=status))


def test_a_payload_with_a_normalized_copy_is_not_needed() -> None:
    assert is_purgeable(webhook(status="failed", normalizedPayloadJson={"id": "evt"}))


def test_a_null_copy_is_no_copy() -> None:
    assert not is_purgeable(webhook(status="failed", normalizedPayloadJson=None))


def test_the_status_is_read_at_the_top() -> None:
    assert not is_purgeable(webhook(status="processed", top={"status": "failed"}))


def test_another_document_is_never_purgeable() -> None:
    assert not is_purgeable(email(receivedAt=BEFORE, rawPayloadJson="{}", top={"status": "processed"}))


def test_a_time_of_receipt_that_is_no_text_is_malformed() -> None:
    with pytest.raises(MalformedDocument):
        is_purgeable(webhook(receivedAt=1_700_000_000))


def test_webhooks_are_taken_oldest_first() -> None:
    documents = [webhook("c", receivedAt=NOW), webhook("b", receivedAt=BEFORE), webhook("a", receivedAt=NOW)]
    ordered = sorted(documents, key=lambda document: rules.PURGEABLE.at(NOW).sort_key(document, document["id"]))
    assert [document["id"] for document in ordered] == ["b", "a", "c"]


def test_purging_takes_the_payload_out_and_says_when() -> None:
    record = rules.purged(webhook(), now=NOW)["record"]
    assert "rawPayloadJson" not in record
    assert record["rawPayloadPurgedAt"] == NOW


def test_everything_else_of_the_webhook_stays() -> None:
    document = webhook(normalizedPayloadJson={"id": "evt"}, attemptCount=3)
    before, after = document["record"], rules.purged(document, now=NOW)["record"]
    assert {**after, "rawPayloadJson": before["rawPayloadJson"]} == {**before, "rawPayloadPurgedAt": NOW}
    assert rules.purged(document, now=NOW)["providerEventId"] == document["providerEventId"]


def test_a_purged_webhook_is_not_purgeable() -> None:
    assert not is_purgeable(rules.purged(webhook(), now=NOW))


@pytest.mark.parametrize(
    ("days", "cutoff"),
    [(14, "2026-02-15T12:00:00.000Z"), (0.5, "2026-03-01T00:00:00.000Z"), (0, NOW), (-3, NOW), (nan, NOW), (inf, NOW)],
)
def test_the_cutoff_is_so_many_days_ago(days: float, cutoff: str) -> None:
    assert rules.retention_cutoff(NOW, days) == cutoff


@pytest.mark.parametrize("days", [1_000_000, 1e9, 1e300])
def test_a_retention_longer_than_the_calendar_reaches_its_beginning(days: float) -> None:
    assert rules.retention_cutoff(NOW, days) == EARLIEST


@given(st.floats())
def test_the_cutoff_is_never_later_than_now(days: float) -> None:
    assert EARLIEST <= rules.retention_cutoff(NOW, days) <= NOW
