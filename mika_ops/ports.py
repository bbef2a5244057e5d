"""The pieces that a host may bring: any object with these methods fits.

The adapters of this package (the database, SMTP, the admin API) fit them too. Methods are called from one thread at a
time, apart from those of document repositories and email senders, which the outbox calls from several at once. They may
raise anything: the subtask that called then ends *failed* with the error's sentence, and the others go on. Times are
texts (``mika_ops.timestamps``). No method may put an address, a link or a token into an error's message.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Literal, Protocol, TypeAlias, TypeVar, runtime_checkable

from mika_ops.backlog import Backlog
from mika_ops.clock import Clock
from mika_ops.outcome import SweptResult
from mika_ops.rules.document import Document
from mika_ops.rules.selection import Selection
from mika_ops.shards import Shard
from mika_ops.timestamps import Timestamp

Note = TypeVar("Note")

ITEMS_KEPT: Final = 500
"""How many items a result lists at most: its counts have no limit, its memory has."""

Spent = Callable[[], bool]
"""Says whether the time for this work is used up; asked between batches."""


def never_spent() -> bool:
    """Say that there is time: the default where no budget is set."""
    return False


@dataclass(frozen=True)
class Candidate:
    """A document that a selection takes: its id, the text it is sorted by, and whether its record can be read."""

    id: str
    sorted_by: str
    malformed: bool = False


@dataclass(frozen=True)
class Change(Generic[Note]):
    """What a rule made of a document: the new document, or ``None`` to leave it, and a note for who asked.

    Either way it is reported as changed.
    """

    document: Document | None
    note: Note


Rule = Callable[[str, Document], Change[Note] | None]
"""A pure function of a document's id and the document; ``None`` leaves it alone.

It never changes the document in place, and may be called again when a transaction is retried.
"""


@dataclass(frozen=True)
class Changes(Generic[Note]):
    """What became of a batch of documents, by id.

    ``changed`` holds what the rule returned, in the order of the ids asked for. ``left`` are those the rule left
    alone, as they had moved on, those that were locked by somebody else, and those that do not exist; ``malformed``
    says what is wrong with those it could not read.
    """

    changed: Mapping[str, Change[Note]] = field(default_factory=dict)
    left: Sequence[str] = ()
    malformed: Mapping[str, str] = field(default_factory=dict)


class RepositoryUnavailable(Exception):
    """The shop's storage failed for a reason that lies not in what was asked: it is locked, gone, full or read-only.

    What was under way stays as it is, for the next run.
    """


@runtime_checkable
class DocumentRepository(Protocol):
    """One collection of Mika's documents (``ops``, ``account``, ``ledger`` or ``session``)."""

    def candidates(self, selection: Selection, *, after: Candidate | None, limit: int) -> Sequence[Candidate]:
        """Return up to ``limit`` documents that the selection takes, in its order, those after ``after`` only.

        Equivalent to filtering by ``selection.takes`` and sorting by ``selection.sort_key``, which is the candidate's
        ``(sorted_by, id)``. A document for which ``takes`` raises ``MalformedDocument`` is a candidate too, in its
        place and within the limit, marked ``malformed``. Changes nothing.
        """
        ...

    def read(self, ids: Sequence[str]) -> Mapping[str, Document]:
        """Return the documents with these ids, in any order; one that does not exist or is no JSON object is left out.

        Whoever asked does not change them in place.
        """
        ...

    def change(
        self, ids: Sequence[str], rule: Rule[Note], *, wait: bool = False, seen: Mapping[str, Document] | None = None
    ) -> Changes[Note]:
        """Apply a rule to these documents and write what it returns, in one transaction; no update of others is lost.

        Nobody else may change a document between its reading and its writing. One that somebody else is changing just
        now is left for the next run, or, with ``wait``, waited for; this then raises where the wait is too long. A
        document that the rule calls malformed, by raising ``MalformedDocument``, or that the database refuses, is
        reported as malformed and left alone; the others are written all the same. Whatever else the rule raises is
        raised on, with nothing written. Where one lock is held for a whole change, nobody is ever found in the middle
        of one, and ``wait`` makes no difference.

        ``seen`` holds each of these documents as the caller last wrote it: where none has changed since, reading them
        again may be spared. What is reported is the same with it and without, so it may be ignored.
        """
        ...


@runtime_checkable
class BacklogReader(Protocol):
    """Reads how much waits for each subtask."""

    def read(self, selections: Mapping[str, Selection], *, now: Timestamp) -> Backlog:
        """Count what is due at ``now``: the documents that each selection takes, and the rows of Mika's tables.

        The selections are named by subtask, and so is the answer; those of what failed for good have names of their
        own. What is kept in tables is counted under ``acp_sessions``, ``stock_reservations`` and ``ephemeral_records``.
        Whatever cannot be counted may be left out.
        """
        ...


AlertKind: TypeAlias = Literal["opened", "reminder", "recovered", "test"]
"""Why an alert is sent: something is wrong, still is, is over; or somebody tries whether alerts arrive."""


@dataclass(frozen=True)
class Alert:
    """Something that a person should know of a job. It holds ids and counts, no personal data.

    ``sentence`` says all of it. ``run_id``: the newest run that showed it, empty where no run did; ``incident`` is the
    same from its opening to its end, and one of each is open at a time; ``subtask``: which one, where it is about one;
    ``times``: the runs that showed it since ``first_seen``; ``url``: the run in Dagster's UI, where its address is set.
    """

    job: str
    run_id: str
    sentence: str
    kind: AlertKind = "opened"
    title: str = ""
    incident: str = ""
    subtask: str | None = None
    first_seen: Timestamp | None = None
    times: int = 1
    url: str | None = None


@runtime_checkable
class AlertSink(Protocol):
    """Delivers alerts to people."""

    def send(self, alert: Alert) -> None:
        """Deliver an alert. Where it raises, the alert is delivered again at the next tick, which shows the error."""
        ...


@dataclass(frozen=True)
class ReleasedReservations:
    """How many reservations were looked at and released, on how many items.

    ``orphans`` are the ids of those without an item, which are counted as looked at.
    """

    scanned: int = 0
    released: int = 0
    stock_items: int = 0
    orphans: tuple[str, ...] = ()
    has_more: bool = False


@dataclass(frozen=True)
class CustomerReservations:
    """How many of a customer's reservations were released; with ``orphans``, none was."""

    released: int = 0
    orphans: tuple[str, ...] = ()


@runtime_checkable
class ReservationRelease(Protocol):
    """Releases expired stock reservations."""

    def release_expired(self, *, due: Timestamp, now: Timestamp, spent: Spent) -> ReleasedReservations:
        """Release every active reservation with ``expires_at <= due``, stamped ``now``, in bounded transactions.

        A reservation whose stock item does not exist is left untouched and named in ``orphans``.
        """
        ...


@runtime_checkable
class StockRepository(Protocol):
    """The shop's stock reservations, by customer."""

    def release_customers(self, customer_ids: Sequence[str], *, now: Timestamp) -> Mapping[str, CustomerReservations]:
        """Release all active reservations of these customers, stamped ``now``.

        A customer with a reservation whose item does not exist keeps all of theirs, and is told so by ``orphans``. One
        without reservations may be left out.
        """
        ...


@runtime_checkable
class EphemeralPurge(Protocol):
    """Purges expired ephemeral rows."""

    def purge_expired(self, *, due: Timestamp, spent: Spent) -> int:
        """Delete rows with ``expires_at <= due``, in bounded batches, until none is left; return how many."""
        ...


@runtime_checkable
class EphemeralRepository(EphemeralPurge, Protocol):
    """The shop's ephemeral rows: tokens, rate limits, locks, nonces, cache markers.

    Its ``purge_expired`` is called only where the host has no ``ephemeral_purge``.
    """

    def delete_tokens(self, subjects: Sequence[str]) -> Mapping[str, int]:
        """Delete the tokens and cache markers of these subjects; return how many, by subject (zeros may be left out).

        A subject is what stands in the row: ``customer:ID``, ``user:ID``, ``email:HASH``, or a bare id or hash.
        """
        ...


@dataclass(frozen=True)
class CleanedSessions:
    """How many sessions needed work, and what was done to them; those that could not be read are named."""

    scanned: int = 0
    expired: int = 0
    purged: int = 0
    has_more: bool = False
    malformed_ids: tuple[str, ...] = ()


@runtime_checkable
class AcpSessionCleanup(Protocol):
    """Cleans up ACP checkout sessions: a session store's method, or a host's function in an object."""

    def clean_up(self, clock: Clock, *, limit: int | None, purge_after_hours: float, spent: Spent) -> CleanedSessions:
        """Purge and expire the sessions that are due, least recently updated first, at most ``limit`` of them.

        ``mika_ops.rules.acp_session`` says which are due at ``clock.scheduled_at`` (``is_purgeable``, then
        ``is_expired``) and what becomes of one that expires (``expired``), stamped ``clock.stamp()``.
        """
        ...


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


class DrainedOutbox(SweptResult):
    """What a drain did. ``items`` are the ends of its first emails, at most ``ITEMS_KEPT``.

    ``stopped_reason`` says why it stopped before nothing was due any more; ``released`` counts the emails that it had
    leased by then and gave back unsent. ``error`` says what went wrong, where anything did.
    """

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

    def drain(self, clock: Clock, *, limit: int | None, spent: Spent) -> DrainedOutbox:
        """Send what is due, at most ``limit`` emails, until nothing is due or the time is spent."""
        ...


@runtime_checkable
class ShardableOutbox(EmailOutbox, Protocol):
    """An ``EmailOutbox`` that several workers can drain at once, each a shard; one without is drained by one alone."""

    def for_shard(self, shard: Shard) -> EmailOutbox:
        """Return the outbox that drains this shard, and then helps the others."""
        ...


@dataclass(frozen=True)
class ReplayedWebhook:
    """The admin API's answer to a replay; ``error`` is its sentence where it was refused or failed."""

    ok: bool
    error: str | None = None


@runtime_checkable
class AdminApi(Protocol):
    """The two calls of Mika's admin API that maintenance makes.

    A call that is repeated under the same ``idempotency_key`` must do nothing more, and be answered as the first was.
    """

    def release_expired_reservations(self, *, now: Timestamp, idempotency_key: str) -> ReleasedReservations:
        """Have the site release its expired reservations. Raises where the site refuses or cannot be reached."""
        ...

    def replay_webhook(self, webhook_id: str, *, idempotency_key: str) -> ReplayedWebhook:
        """Have the site replay a payment webhook. Raises where the site cannot be reached."""
        ...
