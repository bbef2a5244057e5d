"""Workflows (behaviour, section 9): giving up on the stuck ones, and which payment webhooks to replay."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mika_ops.documents.document import ABSENT, Document, MalformedDocument
from mika_ops.rules import workflow as rules
from mika_ops_testing.builders import AFTER, BEFORE, EARLIER, LATER, NOW, email, workflow


def is_stuck(document: Document) -> bool:
    return rules.STUCK.at(NOW).takes(document)


def is_retryable(document: Document) -> bool:
    return rules.RETRYABLE_WEBHOOKS.at(NOW).takes(document)


def stuck_workflow(id_: str = "workflow_1", **record: Any) -> Document:
    fields = {"status": "running", "attemptCount": 5, "maxAttempts": 5, "leaseExpiresAt": BEFORE}
    return workflow(id_, **{**fields, **record})


def waiting(id_: str = "workflow_1", /, **record: Any) -> Document:
    return workflow(id_, **{"nextAttemptAt": BEFORE, **record})


def abandoned(id_: str = "workflow_1", /, **record: Any) -> Document:
    return workflow(id_, **{"status": "running", "leaseExpiresAt": BEFORE, **record})


def in_order(*documents: Document) -> list[str]:
    selection = rules.RETRYABLE_WEBHOOKS.at(NOW)
    ordered = sorted(documents, key=lambda document: selection.sort_key(document, document["id"]))
    return [document["id"] for document in ordered]


@pytest.mark.parametrize(("expires_at", "stuck"), [(BEFORE, True), (NOW, True), (AFTER, False), (ABSENT, False)])
def test_a_workflow_is_stuck_from_the_end_of_its_lease(expires_at: object, stuck: bool) -> None:
    assert is_stuck(stuck_workflow(leaseExpiresAt=expires_at)) is stuck


@pytest.mark.parametrize(("attempts", "stuck"), [(4, False), (5, True), (6, True)])
def test_a_workflow_is_stuck_with_no_attempt_left(attempts: int, stuck: bool) -> None:
    assert is_stuck(stuck_workflow(attemptCount=attempts)) is stuck


@pytest.mark.parametrize("status", ["queued", "failed", "completed"])
def test_only_a_running_workflow_is_stuck(status: str) -> None:
    assert not is_stuck(stuck_workflow(status=status))


def test_a_workflow_of_any_kind_may_be_stuck() -> None:
    assert is_stuck(stuck_workflow(kind="subscription_renewal"))


def test_an_error_does_not_keep_a_workflow_from_being_stuck() -> None:
    assert is_stuck(stuck_workflow(lastError="declined"))


def test_an_email_is_never_a_stuck_workflow() -> None:
    assert not is_stuck(email(attemptCount=5, leaseExpiresAt=BEFORE, top={"status": "running"}))


def test_stuck_workflows_are_taken_oldest_lease_first() -> None:
    documents = [stuck_workflow("a", leaseExpiresAt=NOW), stuck_workflow("b", leaseExpiresAt=BEFORE)]
    ordered = sorted(documents, key=lambda document: rules.STUCK.at(NOW).sort_key(document, document["id"]))
    assert [document["id"] for document in ordered] == ["b", "a"]


def test_a_reclaimed_workflow_has_failed_and_holds_no_lease() -> None:
    document = rules.reclaimed(stuck_workflow(leaseKey="k", nextAttemptAt=BEFORE), now=NOW)
    for place in (document, document["record"]):
        assert place["status"] == "failed"
        assert not {"leaseKey", "leaseExpiresAt", "nextAttemptAt"} & set(place)


def test_a_reclaimed_workflow_keeps_the_time_of_its_last_try() -> None:
    assert rules.reclaimed(stuck_workflow(leasedAt=EARLIER), now=NOW)["record"]["leasedAt"] == EARLIER


def test_a_reclaimed_workflow_is_stamped_inside_too() -> None:
    document = rules.reclaimed(stuck_workflow(), now=NOW)
    assert (document["updatedAt"], document["record"]["updatedAt"]) == (NOW, NOW)


@pytest.mark.parametrize("error", ["declined", ""])
def test_a_reclaimed_workflow_keeps_its_error(error: str) -> None:
    assert rules.reclaimed(stuck_workflow(lastError=error), now=NOW)["record"]["lastError"] == error


@pytest.mark.parametrize("error", [None, ABSENT])
def test_a_reclaimed_workflow_without_an_error_gets_one(error: object) -> None:
    document = rules.reclaimed(stuck_workflow(lastError=error), now=NOW)
    assert document["record"]["lastError"] == rules.LEASES_EXHAUSTED


@pytest.mark.parametrize("status", ["queued", "failed"])
@pytest.mark.parametrize(("next_attempt_at", "due"), [(BEFORE, True), (NOW, True), (AFTER, False), (ABSENT, False)])
def test_a_waiting_webhook_is_retried_at_its_next_attempt(status: str, next_attempt_at: object, due: bool) -> None:
    assert is_retryable(waiting(status=status, nextAttemptAt=next_attempt_at)) is due


@pytest.mark.parametrize(("expires_at", "due"), [(BEFORE, True), (NOW, True), (AFTER, False), (ABSENT, False)])
def test_a_running_webhook_is_retried_once_its_lease_has_lapsed(expires_at: object, due: bool) -> None:
    assert is_retryable(abandoned(leaseExpiresAt=expires_at)) is due


@pytest.mark.parametrize(("expires_at", "due"), [(BEFORE, True), (NOW, True), (AFTER, False)])
def test_a_waiting_webhook_under_a_live_lease_is_left_alone(expires_at: str, due: bool) -> None:
    assert is_retryable(waiting(leaseExpiresAt=expires_at)) is due


def test_an_abandoned_webhook_waits_for_its_next_attempt_too() -> None:
    assert not is_retryable(abandoned(nextAttemptAt=AFTER))


@pytest.mark.parametrize(("attempts", "due"), [(4, True), (5, False), (6, False)])
def test_a_webhook_is_retried_while_attempts_are_left(attempts: int, due: bool) -> None:
    assert is_retryable(waiting(attemptCount=attempts)) is due
    assert is_retryable(abandoned(attemptCount=attempts)) is due


def test_a_workflow_of_another_kind_is_not_retried() -> None:
    assert not is_retryable(waiting(kind="subscription_renewal"))


def test_a_completed_workflow_is_not_retried() -> None:
    assert not is_retryable(waiting(status="completed", leaseExpiresAt=BEFORE))


def test_a_live_lease_in_the_record_counts_more_than_a_lapsed_one_at_the_top() -> None:
    assert not is_retryable(abandoned(leaseExpiresAt=AFTER, top={"leaseExpiresAt": BEFORE}))


@pytest.mark.parametrize("lease", [ABSENT, None])
def test_a_running_webhook_without_a_lease_in_its_record_is_not_abandoned(lease: object) -> None:
    assert not is_retryable(abandoned(leaseExpiresAt=lease, top={"leaseExpiresAt": BEFORE}))


def test_a_waiting_webhook_needs_no_lease_in_its_record() -> None:
    assert is_retryable(waiting(leaseExpiresAt=ABSENT, top={"leaseExpiresAt": BEFORE}))


def test_webhooks_are_sorted_by_next_attempt_else_lease_else_update() -> None:
    assert in_order(
        waiting("first", nextAttemptAt="2026-01-01T00:00:00.000Z", updatedAt=LATER),
        abandoned("second", leaseExpiresAt="2026-01-02T00:00:00.000Z", updatedAt=LATER),
        workflow("third", updatedAt="2026-01-03T00:00:00.000Z"),
    ) == ["first", "second", "third"]


def test_of_equal_times_a_waiting_webhook_comes_before_an_abandoned_one() -> None:
    assert in_order(abandoned("a"), waiting("b"), waiting("c")) == ["b", "c", "a"]


@pytest.mark.parametrize(("subject_id", "webhook"), [("webhook_1", "webhook_1"), ("", None), (None, None), (5, None)])
def test_the_webhook_to_replay_is_the_workflows_subject(subject_id: object, webhook: str | None) -> None:
    assert rules.webhook_of(workflow(subjectId=subject_id)) == webhook


def test_a_workflow_may_name_no_webhook() -> None:
    assert rules.webhook_of(workflow(subjectId=ABSENT)) is None


@pytest.mark.parametrize(("attempts", "exhausted"), [(4, False), (5, True), (6, True)])
def test_is_exhausted_at_the_maximum(attempts: int, exhausted: bool) -> None:
    assert rules.is_exhausted(workflow(attemptCount=attempts, maxAttempts=5)) is exhausted


@pytest.mark.parametrize("count", ["5", None, ABSENT, True])
def test_a_workflow_without_a_readable_attempt_count_is_malformed(count: object) -> None:
    for taken, document in (
        (is_stuck, stuck_workflow(attemptCount=count)),
        (is_retryable, waiting(attemptCount=count)),
    ):
        with pytest.raises(MalformedDocument, match="attemptCount"):
            taken(document)


@given(
    status=st.sampled_from(["queued", "failed", "running", "completed"]),
    attempts=st.integers(3, 7),
    expires_at=st.sampled_from([EARLIER, BEFORE, NOW, AFTER, ABSENT]),
    next_attempt_at=st.sampled_from([BEFORE, NOW, AFTER, ABSENT]),
)
def test_no_workflow_is_both_stuck_and_retryable(
    status: str, attempts: int, expires_at: object, next_attempt_at: object
) -> None:
    document = workflow(status=status, attemptCount=attempts, leaseExpiresAt=expires_at, nextAttemptAt=next_attempt_at)
    assert not (is_stuck(document) and is_retryable(document))


@given(expires_at=st.sampled_from([EARLIER, BEFORE, NOW]), attempts=st.integers(5, 10**6))
def test_a_reclaimed_workflow_is_never_taken_again(expires_at: str, attempts: int) -> None:
    document = rules.reclaimed(stuck_workflow(leaseExpiresAt=expires_at, attemptCount=attempts), now=NOW)
    assert not rules.STUCK.at(LATER).takes(document)
    assert not rules.RETRYABLE_WEBHOOKS.at(LATER).takes(document)
