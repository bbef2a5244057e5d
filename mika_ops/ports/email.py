"""The ports of the email outbox: composing, sending and draining."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, runtime_checkable

from mika_ops.clock import Clock
from mika_ops.deadline import OutOfTime
from mika_ops.documents.document import Document
from mika_ops.documents.sharding import Shard
from mika_ops.timestamps import Timestamp

ITEMS_KEPT: Final = 500
"""How many items a result lists at most: its counts have no limit, its memory has."""


@dataclass(frozen=True, repr=False)
class Envelope:
    """One email, ready to send. Its ``repr`` shows the id and the kind only: the rest is personal.

    ``idempotency_key`` is the site's, the same in every attempt; where there is none, the ``email_id`` may serve.
    """

    email_id: str
    kind: str
    to: str
    subject: str
    text: str
    html: str
    idempotency_key: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Envelope(email_id={self.email_id!r}, kind={self.kind!r})"


@dataclass(frozen=True)
class SendResult:
    """What the provider said when it took an email: its own id for it, where it gave one."""

    provider_message_id: str | None = None


class SenderUnavailable(Exception):
    """The provider cannot be reached or lets nobody in: nothing was sent, and the attempt does not count."""


class SenderThrottled(Exception):
    """The provider did not take the email and asks to slow down. The attempt counts."""


class EmailSkipped(Exception):
    """The email is not to be sent. The message is the reason."""


class EmailUnrenderable(Exception):
    """No email can be made of the document. The message says what is wrong: never an address, a link or a name."""


@runtime_checkable
class EmailComposer(Protocol):
    """Makes emails of the outbox's documents."""

    def order_id_of(self, document: Document) -> str | None:
        """Return the id of the order that the email is about, or ``None`` where it needs none or names none."""
        ...

    def render(self, document: Document, order: Document | None) -> Envelope:
        """Make an email of the document; ``order`` is the one that ``order_id_of`` names, or ``None`` if not found.

        Raises ``EmailSkipped`` where it is not to be sent, ``EmailUnrenderable`` where it cannot be made.
        """
        ...


@runtime_checkable
class EmailSender(Protocol):
    """Hands emails to a mail provider, from as many threads at once as the outbox has ``concurrency``."""

    def send(self, envelope: Envelope) -> SendResult:
        """Send an email. Raises anything where the provider did not take it; the email is then tried again later.

        ``SenderUnavailable`` and ``SenderThrottled`` tell the drain more: the first gives the attempt back, and several
        in a row end the drain; the second slows it down.
        """
        ...


@runtime_checkable
class AbandoningSender(EmailSender, Protocol):
    """An ``EmailSender`` that can be told not to wait for its provider any more, as the run has to end.

    Without ``abandon``, a run that is asked to stop takes as long as the emails under way.
    """

    def abandon(self) -> None:
        """Have each ``send`` that is under way, or is called from now on, raise at once."""
        ...


@dataclass(frozen=True)
class DrainedEmail:
    """What became of one email of the outbox."""

    email_id: str
    status: str
    provider_message_id: str | None = None
    error: str | None = None
    next_attempt_at: Timestamp | None = None
    terminal: bool | None = None
    recovered_lease_lost: bool | None = None


@dataclass(frozen=True)
class DrainedOutbox:
    """What a drain did.

    ``scanned``: due emails taken; ``malformed``: those that could not be read, the first of them in ``malformed_ids``;
    ``has_more``: others were left for lack of room or time. ``items`` are the ends of its first emails, at most
    ``ITEMS_KEPT``. ``stopped_reason`` says why it stopped before nothing was due; ``released`` counts the emails that
    it had leased by then and released unsent. ``error`` says what went wrong, if anything did.
    """

    scanned: int = 0
    malformed: int = 0
    has_more: bool = False
    malformed_ids: tuple[str, ...] = ()
    leased: int = 0
    sent: int = 0
    failed: int = 0
    skipped: int = 0
    lease_missed: int = 0
    lease_lost: int = 0
    released: int = 0
    items: tuple[DrainedEmail, ...] = ()
    stopped_reason: str | None = None
    error: str | None = None


@runtime_checkable
class EmailOutbox(Protocol):
    """Drains the email outbox."""

    def drain(self, clock: Clock, *, limit: int | None, out_of_time: OutOfTime) -> DrainedOutbox:
        """Send what is due, at most ``limit`` emails, until nothing is due or the time is spent."""
        ...


@runtime_checkable
class ShardableOutbox(EmailOutbox, Protocol):
    """An ``EmailOutbox`` that several workers can drain at once, each a shard; one without is drained by one alone."""

    def for_shard(self, shard: Shard) -> EmailOutbox:
        """Return the outbox that drains this shard, and then helps the others."""
        ...
