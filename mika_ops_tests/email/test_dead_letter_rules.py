"""Dead letters: which emails need manual action, which of them may be requeued, and what requeueing does."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mika_ops.documents.document import ABSENT, Document, MalformedDocument
from mika_ops.rules import email as rules
from mika_ops.rules.account_delete import Identity
from mika_ops.rules.personal_data import owns_email, redacted_email
from mika_ops_testing.builders import AFTER, BEFORE, EARLIER, LATER, NOW, email, order, webhook, workflow
from mika_ops_tests.documents.arbitrary import json_objects, json_values, texts

LEASE: Document = {"leaseKey": "worker-1", "leasedAt": BEFORE, "leaseExpiresAt": AFTER}
ENDS = ("status", "attemptCount", "nextAttemptAt", "lastError", *LEASE, "metadata")
"""The fields of a record that requeueing changes."""


def failed_email(id_: str = "email_1", /, *, top: Document | None = None, **record: Any) -> Document:
    """Return an email that permanently failed."""
    failure = {"status": "failed", "attemptCount": 5, "maxAttempts": 5, "lastError": "refused"}
    return email(id_, top=top, **{**failure, **record})


def is_dead(document: Document) -> bool:
    return rules.dead_letters().at(NOW).takes(document)


def why_not(document: Document) -> str | None:
    return rules.why_not_requeued(document, now=NOW)


def useless(document: Document) -> str | None:
    return rules.why_useless(document, now=NOW)


def requeued(document: Document, by: str = "grace") -> Document:
    return rules.requeued(document, by=by, now=NOW)


anyhow = st.builds(
    lambda fields, top: email(**{**fields, "kind": "magic_link"}, top=top),
    st.fixed_dictionaries(
        {"attemptCount": st.integers(0, 6), "maxAttempts": st.integers(-1, 6), "metadata": json_values},
        optional={
            "nextAttemptAt": st.sampled_from([EARLIER, NOW, LATER]),
            "leaseExpiresAt": st.sampled_from([EARLIER, BEFORE, NOW, AFTER, LATER]),
            "lastError": texts,
            "toEmail": st.sampled_from(["ada@example.test", "redacted-1@redacted.invalid"]),
        },
    ),
    st.fixed_dictionaries({"status": st.sampled_from(["queued", "failed", "sent", "skipped", "unheard_of"])}),
)
"""Emails in every state, including states that maintenance never leaves."""


def test_an_email_that_failed_its_last_attempt_is_a_dead_letter() -> None:
    assert is_dead(failed_email())


@pytest.mark.parametrize(("attempts", "dead"), [(4, False), (5, True), (6, True)])
def test_an_email_is_dead_once_no_attempt_is_left(attempts: int, dead: bool) -> None:
    assert is_dead(failed_email(attemptCount=attempts)) is dead


@pytest.mark.parametrize("status", ["queued", "sent", "skipped", "unheard_of"])
def test_only_a_failed_email_is_dead(status: str) -> None:
    assert not is_dead(failed_email(status=status))


@pytest.mark.parametrize(("expires_at", "dead"), [(BEFORE, True), (NOW, True), (AFTER, False)])
def test_an_email_whose_last_attempt_is_under_way_is_not_dead_until_its_lease_lapses(
    expires_at: str, dead: bool
) -> None:
    assert is_dead(failed_email(leaseExpiresAt=expires_at, lastError=ABSENT)) is dead


@pytest.mark.parametrize("other", [webhook(), workflow(), order()])
def test_another_document_is_no_dead_letter(other: Document) -> None:
    assert not is_dead({**other, "status": "failed"})
    assert not rules.skipped_letters().takes({**other, "status": "skipped"})


def test_dead_letters_are_distinguished_by_kind() -> None:
    of_links = rules.dead_letters(("magic_link", "download")).at(NOW)
    assert of_links.takes(failed_email(kind="magic_link"))
    assert of_links.takes(failed_email(kind="download"))
    assert not of_links.takes(failed_email(kind="order_confirmation"))
    assert not rules.skipped_letters(("download",)).takes(email(status="skipped", kind="magic_link"))


def test_the_oldest_comes_first() -> None:
    letters = [
        failed_email("b", top={"createdAt": NOW}),
        failed_email("c", top={"createdAt": BEFORE}),
        failed_email("a", createdAt=LATER, top={"createdAt": ABSENT}),
    ]
    for selection in (rules.dead_letters().at(NOW), rules.skipped_letters()):
        ordered = sorted(letters, key=lambda document: selection.sort_key(document, document["id"]))
        assert [document["id"] for document in ordered] == ["c", "b", "a"]


def test_both_are_kept_among_the_shops_operations() -> None:
    assert rules.dead_letters().collection == rules.skipped_letters().collection == "ops"


def test_a_skipped_email_is_listed_apart_however_often_it_was_tried() -> None:
    for attempts in (1, 5):
        skipped = email(status="skipped", attemptCount=attempts)
        assert rules.skipped_letters().takes(skipped)
        assert not is_dead(skipped)


def test_what_an_account_delete_redacted_is_not_listed() -> None:
    redacted = redacted_email(failed_email(customerId="ada"), now=BEFORE)
    assert owns_email(Identity("ada"), failed_email(customerId="ada"))
    assert not rules.skipped_letters().takes(redacted)
    assert not is_dead({**redacted, "status": "failed"})


@pytest.mark.parametrize("count", [ABSENT, None, "5", True])
def test_an_email_whose_attempts_cannot_be_counted_is_malformed(count: object) -> None:
    with pytest.raises(MalformedDocument):
        is_dead(failed_email(attemptCount=count))
    with pytest.raises(MalformedDocument):
        why_not(failed_email(maxAttempts=count))


@pytest.mark.parametrize(
    "document",
    [failed_email(), email(status="skipped"), email(status="skipped", attemptCount=5), failed_email(maxAttempts=1)],
)
def test_an_email_that_failed_permanently_or_was_skipped_may_be_requeued(document: Document) -> None:
    assert why_not(document) is None


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (webhook(), "it is no email"),
        (email(status="sent"), "it was sent"),
        (email(), "it is queued already"),
        (failed_email(attemptCount=4), "it has attempts left and is retried without you"),
        (failed_email(**LEASE), "a worker holds it and may be sending it; wait for its lease to lapse"),
        (email(**LEASE), "a worker holds it and may be sending it; wait for its lease to lapse"),
        (email(status="skipped", **LEASE), "a worker holds it and may be sending it; wait for its lease to lapse"),
        (failed_email(maxAttempts=0), "it allows no attempt: record.maxAttempts is not above 0"),
        (email(status="unheard_of"), "its status is neither failed nor skipped"),
    ],
)
def test_an_email_that_must_not_be_requeued_says_why(document: Document, why: str) -> None:
    assert why_not(document) == why


def test_an_email_that_is_stuck_is_left_to_maintenance_first() -> None:
    stuck = email(attemptCount=5, leaseExpiresAt=BEFORE)
    assert rules.STUCK.at(NOW).takes(stuck)
    assert why_not(stuck) == (
        "its last attempt was cut short; the subtask stuck_emails marks it failed, then it can be requeued"
    )
    assert why_not(rules.reclaimed(stuck, now=NOW)) is None


@pytest.mark.parametrize("status", ["failed", "skipped", "queued", "sent"])
@pytest.mark.parametrize(
    "traces",
    [
        {"metadata": {"redactedAt": BEFORE}},
        {"toEmail": "redacted-email_1@redacted.invalid"},
        {"toEmail": "Redacted-Email_1@REDACTED.INVALID "},
    ],
)
def test_an_email_that_was_redacted_is_never_requeued(status: str, traces: Document) -> None:
    assert (
        why_not(failed_email(status=status, **traces)) == "it was redacted, as the account that it was for is deleted"
    )


def test_the_reason_names_nobody() -> None:
    assert "ada" not in (why_not(email(status="sent", toEmail="ada@example.test")) or "")


@given(anyhow)
def test_every_dead_letter_may_be_requeued_unless_it_is_redacted_or_allows_no_attempt(document: Document) -> None:
    if is_dead(document) and document["record"]["maxAttempts"] > 0:
        assert why_not(document) is None or document["record"]["toEmail"].endswith("redacted.invalid")


@given(anyhow)
def test_what_may_be_requeued_is_neither_due_nor_held_nor_sent(document: Document) -> None:
    if why_not(document) is None:
        assert document["status"] in ("failed", "skipped")
        assert not rules.DUE.at(NOW).takes(document)
        assert document["record"].get("leaseExpiresAt", EARLIER) <= NOW


@given(anyhow)
def test_what_is_requeued_is_due_at_once_and_cannot_be_requeued_twice(document: Document) -> None:
    if why_not(document) is None:
        again = requeued(document)
        assert rules.DUE.at(NOW).takes(again)
        assert why_not(again) == "it is queued already"


def test_a_requeued_email_is_as_new() -> None:
    document = requeued(failed_email(nextAttemptAt=BEFORE, **{**LEASE, "leaseExpiresAt": BEFORE}))
    assert (document["status"], document["record"]["status"], document["record"]["attemptCount"]) == (
        "queued",
        "queued",
        0,
    )
    assert not {*LEASE, "nextAttemptAt", "lastError"} & set(document["record"])
    assert "nextAttemptAt" not in document
    assert document["updatedAt"] == NOW


def test_a_requeued_email_says_who_put_it_back_and_when() -> None:
    assert requeued(failed_email(), by="grace")["record"]["metadata"]["requeues"] == [{"at": NOW, "by": "grace"}]


def test_each_requeueing_is_kept_beside_the_earlier_ones() -> None:
    earlier = {"at": EARLIER, "by": "ada"}
    document = requeued(failed_email(metadata={"link": "l", "requeues": [earlier]}))
    assert document["record"]["metadata"] == {"link": "l", "requeues": [earlier, {"at": NOW, "by": "grace"}]}


@pytest.mark.parametrize("requeues", [None, 5, "often", {"at": EARLIER}])
def test_requeues_that_are_no_list_are_replaced(requeues: object) -> None:
    document = requeued(failed_email(metadata={"purpose": "sign_in", "requeues": requeues}))
    assert document["record"]["metadata"] == {"purpose": "sign_in", "requeues": [{"at": NOW, "by": "grace"}]}


@given(record=json_objects, metadata=json_objects, by=texts)
def test_requeueing_keeps_everything_else_and_changes_nothing_in_place(
    record: Document, metadata: Document, by: str
) -> None:
    before = failed_email(**{**record, "metadata": {"purpose": "checkout", **metadata}})
    kept = repr(before)
    after = requeued(before, by)
    assert repr(before) == kept
    assert {key: value for key, value in after["record"].items() if key not in ENDS} == {
        key: value for key, value in before["record"].items() if key not in ENDS
    }
    assert {**after["record"]["metadata"], "requeues": None} == {**before["record"]["metadata"], "requeues": None}


@pytest.mark.parametrize(
    "metadata", [{"link": "https://shop.test/1"}, {"link": 5, "url": "https://shop.test/1"}, {"link": "l", "url": ""}]
)
def test_a_magic_link_that_still_has_its_link_may_help(metadata: Document) -> None:
    assert useless(failed_email(metadata=metadata)) is None


@pytest.mark.parametrize("metadata", [{}, {"link": ""}, {"link": "", "url": "l"}, {"url": 5}, ABSENT, "lost"])
def test_a_magic_link_whose_link_is_gone_helps_nobody(metadata: object) -> None:
    assert useless(failed_email(metadata=metadata)) == "its link is gone, so that it would be skipped"


@pytest.mark.parametrize(
    ("expires_at", "helps"),
    [
        (BEFORE, False),
        (NOW, False),
        (AFTER, True),
        ("2026-03-01T13:30:00+02:00", False),
        ("2026-03-01T11:30:00-02:00", True),
        ("soon", True),
        ("", True),
        (5, True),
        (None, True),
    ],
)
def test_a_magic_link_that_has_expired_helps_nobody(expires_at: object, helps: bool) -> None:
    why = useless(failed_email(metadata={"link": "l", "expiresAt": expires_at}))
    assert why == (None if helps else "its link has expired, so that it would be skipped")


def test_an_email_of_another_kind_needs_no_link() -> None:
    assert useless(failed_email(kind="order_confirmation", metadata={"expiresAt": BEFORE})) is None
