"""Emails in the outbox: when one is due, and what leasing, sending, failing and giving up do to its document.

An email that failed permanently or was skipped is a dead letter: it needs manual action, and a person may requeue it.

Source: behaviour, sections 3 and 4.
"""

from datetime import timedelta
from typing import Final

from mika_ops.documents.document import ABSENT, Document, metadata_of, record_of, with_record
from mika_ops.documents.selection import (
    AtMost,
    Below,
    Blank,
    Condition,
    Has,
    Not,
    OneOf,
    Selection,
    all_of,
    record,
    record_number,
    top,
)
from mika_ops.timestamps import Timestamp, shifted, to_datetime

MIRRORED: Final = ("status", "nextAttemptAt", "orderId", "tokenId", "kind")

DEFAULT_LEASE: Final = timedelta(minutes=5)
FIRST_RETRY_DELAY: Final = timedelta(minutes=1)
LONGEST_RETRY_DELAY: Final = timedelta(minutes=15)

LEASES_EXHAUSTED: Final = (
    "Every attempt was leased and none was finished: the sender stopped in the middle each time. "
    "Queue the email again once the sender works."
)

REDACTED_ADDRESS_END: Final = "@redacted.invalid"
"""How the address ends of an email that an account delete redacted."""

_NO_LEASE: Final = {"leaseKey": ABSENT, "leasedAt": ABSENT, "leaseExpiresAt": ABSENT}


_EMAIL: Final = OneOf(top("type"), ("email",))
_ATTEMPTS_LEFT: Final = Below(record_number("attemptCount"), record_number("maxAttempts"))
_NOT_LEASED: Final = AtMost(record("leaseExpiresAt"), if_absent=True)
_NOT_REDACTED: Final = Not(Has(record("metadata", "redactedAt")))

DUE: Final = Selection(
    collection="ops",
    top=all_of(_EMAIL, OneOf(top("status"), ("queued", "failed"))),
    record=all_of(_NOT_LEASED, AtMost(record("nextAttemptAt"), if_absent=True), _ATTEMPTS_LEFT),
    order_by=(top("nextAttemptAt"),),
    finished=Not(_ATTEMPTS_LEFT),
)
"""The emails that may be sent: oldest ``nextAttemptAt`` first, those without one before all others."""

WAITING: Final = Selection(
    collection="ops", top=DUE.top, record=_ATTEMPTS_LEFT, order_by=DUE.order_by, finished=DUE.finished
)
"""The emails with attempts left, whenever they are due, in the order of ``DUE``."""

STUCK: Final = Selection(
    collection="ops",
    top=all_of(_EMAIL, OneOf(top("status"), ("queued",))),
    record=all_of(AtMost(record("leaseExpiresAt")), Not(_ATTEMPTS_LEFT), Blank(record("lastError"))),
    order_by=(top("nextAttemptAt"),),
)
"""The emails whose last lease has lapsed, with no attempt left and without an error."""


def dead_letters(kinds: tuple[str, ...] = ()) -> Selection:
    """Select the emails that failed permanently, oldest first: no attempt is left, and no worker holds the last one.

    ``kinds``: those of these kinds only, or of any where none is named. Redacted ones are left out: what an account
    delete took out of the shop is nobody's to send again.
    """
    return Selection(
        collection="ops",
        top=_emails("failed", kinds),
        record=all_of(_NOT_LEASED, Not(_ATTEMPTS_LEFT), _NOT_REDACTED),
        order_by=(top("createdAt"), record("createdAt")),
    )


def skipped_letters(kinds: tuple[str, ...] = ()) -> Selection:
    """Select the emails that were not to be sent, oldest first; ``kinds`` and redacted ones as for dead letters."""
    return Selection(
        collection="ops",
        top=_emails("skipped", kinds),
        record=_NOT_REDACTED,
        order_by=(top("createdAt"), record("createdAt")),
    )


def _emails(status: str, kinds: tuple[str, ...]) -> Condition:
    of_kinds = (OneOf(top("kind"), kinds),) if kinds else ()
    return all_of(_EMAIL, *of_kinds, OneOf(top("status"), (status,)))


def leased(document: Document, *, key: str, now: Timestamp, lease: timedelta) -> Document:
    """Lease an email to the worker that holds ``key``; the attempt is counted now, whatever becomes of it."""
    expires_at = shifted(now, lease)
    return with_record(
        document,
        {
            "attemptCount": record_of(document)["attemptCount"] + 1,
            "nextAttemptAt": expires_at,
            "leaseKey": key,
            "leasedAt": now,
            "leaseExpiresAt": expires_at,
            "lastError": ABSENT,
        },
        mirrored=MIRRORED,
        now=now,
    )


def given_back(document: Document, *, before: Document, now: Timestamp) -> Document:
    """Undo a lease under which nothing was tried: the attempt does not count. ``before``: as it was before leasing."""
    record_before = record_of(before)
    kept = {field: record_before.get(field, ABSENT) for field in ("attemptCount", "nextAttemptAt", "lastError")}
    return with_record(document, {**kept, **_NO_LEASE}, mirrored=MIRRORED, now=now)


def holds_lease(document: Document, *, key: str, now: Timestamp) -> bool:
    """Say whether the worker with ``key`` still holds the email's lease at ``now``."""
    record_ = record_of(document)
    expires_at = record_.get("leaseExpiresAt")
    return record_.get("leaseKey") == key and isinstance(expires_at, str) and expires_at > now


def is_sent(document: Document) -> bool:
    """Say whether the email is recorded as sent."""
    return document.get("status") == "sent"


def sent(document: Document, *, now: Timestamp, provider_message_id: str | None) -> Document:
    """Record that the provider accepted the email. A magic link's address and token leave the document with it."""
    record_ = record_of(document)
    metadata = metadata_of(record_)
    patch: dict[str, object] = {
        "status": "sent",
        "sentAt": now,
        "providerMessageId": ABSENT if provider_message_id is None else provider_message_id,
        "nextAttemptAt": ABSENT,
        "lastError": ABSENT,
        **_NO_LEASE,
    }
    if document.get("kind") == "magic_link":
        # Mika stores the raw sign-in token as the token's id: whoever reads it can sign in.
        patch["tokenId"] = ABSENT
        if "link" in metadata or "url" in metadata:
            kept = {key: value for key, value in metadata.items() if key not in ("link", "url")}
            patch["metadata"] = {**kept, "linkRedactedAt": now}
    return with_record(document, patch, mirrored=MIRRORED, now=now)


def skipped(document: Document, *, reason: str, now: Timestamp) -> Document:
    """Record that the email will not be sent, and why."""
    return with_record(
        document,
        {"status": "skipped", "lastError": reason, "nextAttemptAt": ABSENT, **_NO_LEASE},
        mirrored=MIRRORED,
        now=now,
    )


def failed(document: Document, *, error: str, now: Timestamp, retry_after: timedelta) -> Document:
    """Record a failed attempt: retried after ``retry_after`` while attempts are left, else permanent."""
    return with_record(
        document,
        {
            "status": "failed",
            "lastError": error,
            "nextAttemptAt": ABSENT if is_exhausted(document) else shifted(now, retry_after),
            **_NO_LEASE,
        },
        mirrored=MIRRORED,
        now=now,
    )


def reclaimed(document: Document, *, now: Timestamp) -> Document:
    """Give up on an email that exhausted its leases; an empty ``lastError`` that is there stays as it is."""
    error = record_of(document).get("lastError")
    return with_record(
        document,
        {
            "status": "failed",
            "lastError": LEASES_EXHAUSTED if error is None else error,
            "nextAttemptAt": ABSENT,
            **_NO_LEASE,
        },
        mirrored=MIRRORED,
        now=now,
    )


def why_not_requeued(document: Document, *, now: Timestamp) -> str | None:
    """Say why a person must not put an email back into the outbox at ``now``, or ``None`` where they may.

    They may where it failed permanently or was skipped. Raises ``MalformedDocument`` where its record cannot be read.
    """
    if document.get("type") != "email":
        return "it is no email"
    record_ = record_of(document)
    attempts_left = _ATTEMPTS_LEFT.holds(document)
    is_held = not _NOT_LEASED.holds(document, now)
    if _is_redacted(record_):
        return "it was redacted, as the account that it was for is deleted"
    match document.get("status"):
        case "sent":
            return "it was sent"
        case "queued" | "failed" | "skipped" if is_held:
            return "a worker holds it and may be sending it; wait for its lease to lapse"
        case "queued" if STUCK.at(now).takes(document):
            return "its last attempt was cut short; the subtask stuck_emails marks it failed, then it can be requeued"
        case "queued":
            return "it is queued already"
        case "failed" if attempts_left:
            return "it has attempts left and is retried without you"
        case "failed" | "skipped" if record_["maxAttempts"] <= 0:
            return "it allows no attempt: record.maxAttempts is not above 0"
        case "failed" | "skipped":
            return None
        case _:
            return "its status is neither failed nor skipped"


def link_in(metadata: Document) -> str | None:
    """Return the metadata's ``link``, or its ``url`` where that is no text; ``None`` where it is empty or missing."""
    link = metadata.get("link")
    if not isinstance(link, str):
        link = metadata.get("url")
    return link if isinstance(link, str) and link else None


def why_useless(document: Document, *, now: Timestamp) -> str | None:
    """Say why sending an email would help nobody any more at ``now``, or ``None`` where it may help.

    That is so for a magic link without its link, or whose link has expired: it would be skipped.
    """
    record_ = record_of(document)
    if record_.get("kind") != "magic_link":
        return None
    if link_in(metadata_of(record_)) is None:
        return "its link is gone, so that it would be skipped"
    return "its link has expired, so that it would be skipped" if link_has_expired(document, now=now) else None


def link_has_expired(document: Document, *, now: Timestamp) -> bool:
    """Return whether the email is a magic link that has expired at ``now``. One without a valid time never expires."""
    record_ = document.get("record")
    if document.get("kind") != "magic_link" or not isinstance(record_, dict):
        return False
    expires_at = metadata_of(record_).get("expiresAt")
    try:
        return isinstance(expires_at, str) and to_datetime(expires_at) <= to_datetime(now)
    except (ValueError, OverflowError):
        return False


def requeued(document: Document, *, by: str, now: Timestamp) -> Document:
    """Put an email back into the outbox as if it were new; ``by`` is who asked for it, and is kept with the time.

    For emails of which ``why_not_requeued`` says nothing.
    """
    metadata = metadata_of(record_of(document))
    requeues = metadata.get("requeues")
    earlier = requeues if isinstance(requeues, list) else []
    return with_record(
        document,
        {
            "status": "queued",
            "attemptCount": 0,
            "nextAttemptAt": ABSENT,
            "lastError": ABSENT,
            **_NO_LEASE,
            "metadata": {**metadata, "requeues": [*earlier, {"at": now, "by": by}]},
        },
        mirrored=MIRRORED,
        now=now,
    )


def _is_redacted(record_: Document) -> bool:
    address = record_.get("toEmail")
    return metadata_of(record_).get("redactedAt") is not None or (
        isinstance(address, str) and address.strip().lower().endswith(REDACTED_ADDRESS_END)
    )


def is_exhausted(document: Document) -> bool:
    """Say whether the email has no attempt left."""
    record_ = record_of(document)
    return bool(record_["attemptCount"] >= record_["maxAttempts"])


def retry_delay(attempt_count: int) -> timedelta:
    """Return the wait after the given attempt (1 for the first): a minute, doubled each time, up to 15 minutes."""
    doublings = max(0, min(attempt_count - 1, 10))
    return min(FIRST_RETRY_DELAY * (1 << doublings), LONGEST_RETRY_DELAY)
