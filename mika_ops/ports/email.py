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
"""How many items a result lists at most, to bound its memory; its counts include all items."""


@dataclass(frozen=True, repr=False)
class Envelope:
    """One email, ready to send. Its ``repr`` shows only the id and the kind: the rest is personal data.

    ``idempotency_key`` comes from the site and is the same in every attempt; without one, use ``email_id``.
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
    """The provider's answer to an accepted email: the provider's id for it, if it returned one."""

    provider_message_id: str | None = None


class SenderUnavailable(Exception):
    """The provider cannot be reached or refuses the login: nothing was sent, and the attempt does not count."""


class SenderThrottled(Exception):
    """The provider refused the email and asks for a lower rate. The attempt counts."""


class EmailSkipped(Exception):
    """The email must not be sent. The message is the reason."""


class EmailUnrenderable(Exception):
    """The document cannot be rendered as an email.

    The message names the problem; it never holds an address, a link or a name.
    """


@runtime_checkable
class EmailComposer(Protocol):
    """Renders the documents of the outbox as emails."""

    def order_id_of(self, document: Document) -> str | None:
        """Return the id of the order that the email is about, or ``None`` if it needs or names no order."""
        ...

    def render(self, document: Document, order: Document | None) -> Envelope:
        """Render the document as an email; ``order`` is the one that ``order_id_of`` names, or ``None`` if not found.

        Raises ``EmailSkipped`` if it must not be sent, ``EmailUnrenderable`` if it cannot be rendered.
        """
        ...


@runtime_checkable
class EmailSender(Protocol):
    """Hands emails to a mail provider, from as many threads at once as the outbox has ``concurrency``."""

    def send(self, envelope: Envelope) -> SendResult:
        """Send an email. Raises any exception if the provider did not accept it; the email is then retried later.

        Two exceptions have an effect on the drain. ``SenderUnavailable``: the attempt does not count, and several in a
        row end the drain (circuit breaker). ``SenderThrottled``: the drain sends more slowly.
        """
        ...


@runtime_checkable
class AbandoningSender(EmailSender, Protocol):
    """An ``EmailSender`` that can stop waiting for its provider when the run must end.

    Without ``abandon``, a graceful shutdown takes as long as the emails that are being sent.
    """

    def abandon(self) -> None:
        """Make each ``send`` raise at once: those in progress and all later ones."""
        ...


@dataclass(frozen=True)
class DrainedEmail:
    """The result of one email of the outbox."""

    email_id: str
    status: str
    provider_message_id: str | None = None
    error: str | None = None
    next_attempt_at: Timestamp | None = None
    terminal: bool | None = None
    recovered_lease_lost: bool | None = None


@dataclass(frozen=True)
class DrainedOutbox:
    """The result of a drain.

    ``scanned``: due emails taken; ``malformed``: those that could not be read, the first of them in ``malformed_ids``;
    ``has_more``: the limit or the time ran out while emails were due; ``oldest``: since when the oldest waited that was
    leased. ``items``: the results of the first emails, at
    most ``ITEMS_KEPT``. ``stopped_reason``: why the drain stopped early; ``released``: the leased emails that it then
    released unsent. ``withheld``: emails left alone, since they are to people whose account-delete request is queued.
    ``error``: what failed, if anything did.
    """

    scanned: int = 0
    malformed: int = 0
    has_more: bool = False
    malformed_ids: tuple[str, ...] = ()
    oldest: Timestamp | None = None
    leased: int = 0
    sent: int = 0
    failed: int = 0
    skipped: int = 0
    lease_missed: int = 0
    lease_lost: int = 0
    released: int = 0
    withheld: int = 0
    items: tuple[DrainedEmail, ...] = ()
    stopped_reason: str | None = None
    error: str | None = None


@runtime_checkable
class EmailOutbox(Protocol):
    """Drains the email outbox."""

    def drain(self, clock: Clock, *, limit: int | None, out_of_time: OutOfTime) -> DrainedOutbox:
        """Send the due emails, at most ``limit`` of them, until none is due or the time is used up."""
        ...


@runtime_checkable
class ShardableOutbox(EmailOutbox, Protocol):
    """An ``EmailOutbox`` that several workers can drain at once, one shard each.

    An outbox without ``for_shard`` is drained by one worker.
    """

    def for_shard(self, shard: Shard) -> EmailOutbox:
        """Return an outbox that drains this shard first and then takes work from the others (work stealing)."""
        ...
