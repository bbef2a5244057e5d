"""Workflows: giving up on those that exhausted their leases, and finding the payment webhooks to replay.

Source: behaviour, section 9.
"""

from typing import Final

from mika_ops.documents.document import ABSENT, Document, record_of, with_record
from mika_ops.documents.selection import (
    AtMost,
    Below,
    Has,
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
    "Check the workflow's steps and start it again."
)

_ATTEMPTS_LEFT: Final = Below(record_number("attemptCount"), record_number("maxAttempts"))


_RUNNING: Final = OneOf(top("status"), ("running",))
_WORKFLOW: Final = OneOf(top("type"), ("workflow",))

PERMANENTLY_FAILED: Final = Selection(
    collection="ops",
    top=all_of(_WORKFLOW, OneOf(top("status"), ("failed",))),
    record=any_of(Not(_ATTEMPTS_LEFT), Not(Has(record("nextAttemptAt")))),
    order_by=(top("createdAt"),),
)
"""The failed workflows that are not retried, oldest first: no attempt is left, or none is planned."""

STUCK: Final = Selection(
    collection="ops",
    top=all_of(_WORKFLOW, _RUNNING),
    record=all_of(AtMost(record("leaseExpiresAt")), Not(_ATTEMPTS_LEFT)),
    order_by=(top("leaseExpiresAt"),),
)
"""The running workflows whose last lease has lapsed with no attempt left, oldest lease first."""

RETRYABLE_WEBHOOKS: Final = Selection(
    collection="ops",
    top=all_of(
        _WORKFLOW,
        OneOf(top("kind"), ("payment_webhook_fulfillment",)),
        OneOf(top("status"), ("queued", "failed", "running")),
        any_of(
            all_of(OneOf(top("status"), ("queued", "failed")), AtMost(top("nextAttemptAt"))),
            all_of(_RUNNING, AtMost(top("leaseExpiresAt"))),
        ),
    ),
    record=all_of(
        AtMost(record("leaseExpiresAt"), if_absent=True),
        # A running one was abandoned only if the lease in its record has lapsed, whatever the copy at the top says.
        any_of(Not(_RUNNING), Has(record("leaseExpiresAt"))),
        AtMost(record("nextAttemptAt"), if_absent=True),
        _ATTEMPTS_LEFT,
    ),
    order_by=(record("nextAttemptAt"), record("leaseExpiresAt"), record("updatedAt")),
    # Of equals, one that waits for its turn comes before one whose worker was lost.
    first_if=Not(_RUNNING),
)
"""The payment webhook workflows that are due for a replay, longest waiting first."""


def webhook_of(document: Document) -> str | None:
    """Return the id of the webhook that a retry replays, or ``None`` where the workflow names none."""
    subject_id = record_of(document).get("subjectId")
    return subject_id if isinstance(subject_id, str) and subject_id else None


def attempts_made(document: Document) -> str:
    """Return the number of attempts that the workflow has had, as text: it is part of an idempotency key."""
    return str(record_of(document).get("attemptCount"))


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
