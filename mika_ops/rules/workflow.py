"""Workflows: giving up on those that exhausted their leases, and finding the payment webhooks to replay.

Source: behaviour, section 9.
"""

from typing import Final

from mika_ops.documents.document import ABSENT, Document, record_of, with_record
from mika_ops.documents.selection import (
    AtMost,
    Below,
    Has,
    NoneOf,
    Not,
    OneOf,
    Selection,
    all_of,
    any_of,
    record,
    record_number,
    top,
)
from mika_ops.timestamps import Timestamp

MIRRORED: Final = (
    "kind",
    "status",
    "subjectType",
    "subjectId",
    "idempotencyKey",
    "nextAttemptAt",
    "leaseExpiresAt",
)

LEASES_EXHAUSTED: Final = (
    "Every attempt was leased and none was finished: the worker stopped in the middle each time. "
    "Look at the workflow's steps and start it again."
)

_ATTEMPTS_LEFT: Final = Below(record_number("attemptCount"), record_number("maxAttempts"))


def failed_for_good() -> Selection:
    """Select the failed workflows, oldest first, that nothing tries again: no attempt is left, or none is planned."""
    return Selection(
        collection="ops",
        top=all_of(OneOf(top("type"), ("workflow",)), OneOf(top("status"), ("failed",))),
        record=any_of(Not(_ATTEMPTS_LEFT), Not(Has(record("nextAttemptAt")))),
        order_by=(top("createdAt"),),
    )


def stuck(now: Timestamp) -> Selection:
    """Select the running workflows whose last lease lapsed at ``now`` with no attempt left, oldest lease first."""
    return Selection(
        collection="ops",
        top=all_of(OneOf(top("type"), ("workflow",)), OneOf(top("status"), ("running",))),
        record=all_of(AtMost(record("leaseExpiresAt"), now), Not(_ATTEMPTS_LEFT)),
        order_by=(top("leaseExpiresAt"),),
    )


def retryable_webhooks(now: Timestamp) -> Selection:
    """Select the payment webhook workflows that are due for a replay at ``now``, longest waiting first."""
    waiting = all_of(OneOf(top("status"), ("queued", "failed")), AtMost(top("nextAttemptAt"), now))
    abandoned = all_of(OneOf(top("status"), ("running",)), AtMost(top("leaseExpiresAt"), now))
    return Selection(
        collection="ops",
        top=all_of(
            OneOf(top("type"), ("workflow",)),
            OneOf(top("kind"), ("payment_webhook_fulfillment",)),
            OneOf(top("status"), ("queued", "failed", "running")),
            any_of(waiting, abandoned),
        ),
        record=all_of(
            AtMost(record("leaseExpiresAt"), now, if_absent=True),
            AtMost(record("nextAttemptAt"), now, if_absent=True),
            _ATTEMPTS_LEFT,
        ),
        order_by=(record("nextAttemptAt"), record("leaseExpiresAt"), record("updatedAt")),
        # Of equals, one that waits for its turn comes before one whose worker was lost.
        preferred=NoneOf(top("status"), ("running",)),
    )


def webhook_of(document: Document) -> str | None:
    """Return the id of the webhook that a retry replays, or ``None`` where the workflow names none."""
    subject_id = record_of(document).get("subjectId")
    return subject_id if isinstance(subject_id, str) and subject_id else None


def is_exhausted(document: Document) -> bool:
    """Say whether the workflow has no attempt left."""
    record_ = record_of(document)
    return bool(record_["attemptCount"] >= record_["maxAttempts"])


def reclaimed(document: Document, *, now: Timestamp) -> Document:
    """Give up on a stuck workflow; ``leasedAt`` stays as the time of its last try, and an error that is there stays."""
    error = record_of(document).get("lastError")
    return with_record(
        document,
        {
            "status": "failed",
            "lastError": LEASES_EXHAUSTED if error is None else error,
            "leaseKey": ABSENT,
            "leaseExpiresAt": ABSENT,
            "nextAttemptAt": ABSENT,
            "updatedAt": now,
        },
        mirrored=MIRRORED,
        now=now,
    )
