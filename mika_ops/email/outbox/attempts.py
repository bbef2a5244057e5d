"""One attempt to send an email: what was leased for it, how it is made, and how it ended."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from mika_ops.documents.document import Document, record_of
from mika_ops.ports.email import EmailSender, EmailSkipped, Envelope, SendResult
from mika_ops.timestamps import Timestamp

LONGEST_MESSAGE_ID: Final = 500

AttemptResult: TypeAlias = SendResult | EmailSkipped | Exception
"""How an attempt ended: accepted by the provider, skipped, or failed."""


@dataclass(frozen=True)
class Leased:
    """An email that this worker has leased.

    ``before`` and ``document`` are its document before and after the lease. ``composed`` is the email, ready to send,
    or why it could not be composed.
    """

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
class Attempt:
    """An attempt that has ended; ``started`` is a time of the outbox's timer, ``seconds`` how long it took."""

    leased: Leased
    result: AttemptResult
    started: float
    seconds: float


def make_attempt(leased: Leased, sender: EmailSender, timer: Callable[[], float]) -> Attempt:
    """Send one email. Whatever the sender raises is the result of the attempt."""
    started = timer()
    result: AttemptResult
    if isinstance(leased.composed, Envelope):
        try:
            result = accepted(sender.send(leased.composed))
        except Exception as failure:  # noqa: BLE001 - whatever a sender raises, the email is retried later
            result = failure
    else:
        result = leased.composed or TypeError("it was never composed")
    return Attempt(leased, result, started, timer() - started)


def accepted(result: object) -> SendResult:
    """Return a sender's result with an id that can be stored: whatever it returned, the email was accepted."""
    message_id = getattr(result, "provider_message_id", None)
    text = None if message_id is None else str(message_id)
    return SendResult(text if text and text.isprintable() and len(text) <= LONGEST_MESSAGE_ID else None)
