"""What a drain of the outbox knows of each email on its way: leased, delivered, ended, recorded."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeAlias

from mika_ops.documents.document import Document, record_of
from mika_ops.documents.repository import Change
from mika_ops.ports.email import DrainedEmail, EmailSkipped, Envelope, SendResult
from mika_ops.redaction import describe_error
from mika_ops.rules import email
from mika_ops.timestamps import Timestamp

LONGEST_MESSAGE_ID: Final = 500

End: TypeAlias = SendResult | EmailSkipped | Exception
"""How sending an email ended: taken, not to be sent, or failed."""


@dataclass(frozen=True)
class Leased:
    """An email that this worker holds: as it was before, as it is, and ready to send, or why it cannot be."""

    id: str
    before: Document
    document: Document
    composed: Envelope | Exception | None = None

    @property
    def key(self) -> str:
        return str(record_of(self.document)["leaseKey"])

    @property
    def expires_at(self) -> Timestamp:
        return str(record_of(self.document)["leaseExpiresAt"])


@dataclass(frozen=True)
class Delivery:
    """How sending one email ended; ``started`` by the outbox's timer, and how long it took."""

    end: End
    started: float
    seconds: float


@dataclass(frozen=True)
class Ended:
    """What is to be recorded of one email; ``retry_after``: the wait, where it failed."""

    leased: Leased
    end: End
    retry_after: timedelta


@dataclass(frozen=True)
class Record:
    """What one transaction is to write: how emails ended, by id; and those that found no provider, to be given back."""

    deliveries: Sequence[Future[Delivery]]
    ends: Mapping[str, Ended]
    unsent: Sequence[Leased]


@dataclass(frozen=True)
class Recorded:
    """What was written, by id, ``None`` where somebody else had the email by then; and what could not be, and why."""

    record: Record
    changed: Mapping[str, Change[bool] | None]
    released: int
    error: str | None
    seconds: float


@dataclass(frozen=True)
class Batch:
    """A batch that was leased, and how many of it somebody else was faster with."""

    leased: Sequence[Leased]
    missed: int


def drained_email(id_: str, end: End, change: Change[bool] | None) -> DrainedEmail:
    """Return what is told of an email's end; without a change, somebody else had it by then."""
    if isinstance(end, SendResult):
        recovered = None if change is not None and change.note else True
        return DrainedEmail(id_, "sent", end.provider_message_id, recovered_lease_lost=recovered)
    sentence = describe_error(end)
    if change is None or change.document is None:
        return DrainedEmail(id_, "lease_lost", error=sentence)
    if isinstance(end, EmailSkipped):
        return DrainedEmail(id_, "skipped", error=sentence)
    return DrainedEmail(
        id_,
        "failed",
        error=sentence,
        next_attempt_at=record_of(change.document).get("nextAttemptAt"),
        terminal=email.is_exhausted(change.document),
    )


def taken(result: object) -> SendResult:
    """Return a sender's result with an id that can be kept: whatever it returned, the email was taken."""
    message_id = getattr(result, "provider_message_id", None)
    text = None if message_id is None else str(message_id)
    return SendResult(text if text and text.isprintable() and len(text) <= LONGEST_MESSAGE_ID else None)
