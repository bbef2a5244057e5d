"""Dead letters: lists the emails that permanently failed or were skipped, and puts them back into the outbox.

Requeueing has two steps. ``plan_requeue`` reads, so that an operator sees which emails would be requeued and which not.
``Requeueing`` then changes them; it checks each one again under its lock, since a worker may have changed it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Self

from mika_ops.clock import Clock
from mika_ops.documents.document import Document, MalformedDocument, metadata_of, record_of
from mika_ops.documents.repository import Change, DocumentRepository
from mika_ops.documents.selection import Selection
from mika_ops.documents.sweep import BATCH, Sweep
from mika_ops.email.address import mailbox
from mika_ops.redaction import redact
from mika_ops.rules import email
from mika_ops.timestamps import Timestamp, to_datetime

NO_SUCH_EMAIL = "there is no such email"
CHANGED_ELSEWHERE = "another process is changing it; retry"


@dataclass(frozen=True)
class DeadLetter:
    """The fields of an email that may be shown. ``domain`` is the part of the recipient's address after the ``@``."""

    id: str
    kind: str | None
    status: str | None
    attempts: float | None
    max_attempts: float | None
    error: str | None
    created_at: Timestamp | None
    requeues: int
    domain: str | None

    @classmethod
    def of(cls, id_: str, document: Document) -> Self:
        """Read what may be shown. Raises ``MalformedDocument`` if the document has no record."""
        record = record_of(document)
        address = mailbox(record.get("toEmail"))
        requeues = metadata_of(record).get("requeues")
        return cls(
            id=id_,
            kind=_redacted_text(document.get("kind")),
            status=_redacted_text(document.get("status")),
            attempts=_number(record.get("attemptCount")),
            max_attempts=_number(record.get("maxAttempts")),
            error=_redacted_text(record.get("lastError")),
            created_at=_time(document.get("createdAt")) or _time(record.get("createdAt")),
            requeues=len(requeues) if isinstance(requeues, list) else 0,
            domain=None if address is None else address.domain,
        )

    def age(self, now: Timestamp) -> timedelta | None:
        """Return how long ago the email was created, if that is known."""
        return None if self.created_at is None else to_datetime(now) - to_datetime(self.created_at)


def dead_letters(ops: DocumentRepository, selection: Selection, *, limit: int | None) -> Iterator[DeadLetter]:
    """Yield the dead letters that match a selection, at most ``limit``, in its order."""
    for ids in Sweep(ops, selection, "dead_letters", limit).batches():
        documents = ops.read(ids)
        for id_ in ids:
            # An email that was deleted or became malformed since is no dead letter any more.
            if isinstance(documents.get(id_, {}).get("record"), dict):
                yield DeadLetter.of(id_, documents[id_])


@dataclass(frozen=True)
class RequeuePlan:
    """What requeueing would do.

    ``ids`` may be requeued, in the requested order. ``refused`` holds the reason why others may not, by id; ``useless``
    the reason why sending some of ``ids`` has no use, by id.
    """

    ids: Sequence[str]
    refused: Mapping[str, str]
    useless: Mapping[str, str]


def plan_requeue(ops: DocumentRepository, batches: Iterable[Sequence[str]], *, now: Timestamp) -> RequeuePlan:
    """Return which of these emails may be requeued at ``now``. Changes nothing."""
    ids: list[str] = []
    refused: dict[str, str] = {}
    useless: dict[str, str] = {}
    for batch in batches:
        documents = ops.read(batch)
        for id_ in batch:
            why_not = _why_not(documents.get(id_), now)
            if why_not is not None:
                refused[id_] = why_not
                continue
            ids.append(id_)
            why_useless = email.why_useless(documents[id_], now=now)
            if why_useless is not None:
                useless[id_] = why_useless
    return RequeuePlan(ids, refused, useless)


def in_batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the ids in batches, one for each transaction."""
    return (ids[start : start + BATCH] for start in range(0, len(ids), BATCH))


def permanently_failed(ops: DocumentRepository, kinds: tuple[str, ...], *, now: Timestamp) -> Iterator[Sequence[str]]:
    """Yield the ids of all permanently failed emails, in batches, oldest first."""
    return Sweep(ops, email.dead_letters(kinds).at(now), "requeue").batches()


@dataclass
class Requeueing:
    """Requeues emails. Its counts grow with every batch, so that they are correct after an error too.

    ``by`` is the name of the operator; ``refused`` holds the reason why some were not changed, by id.
    """

    ops: DocumentRepository
    clock: Clock
    by: str
    requeued: int = field(default=0, init=False)
    refused: dict[str, str] = field(default_factory=dict, init=False)

    def put_back(self, ids: Sequence[str]) -> None:
        """Requeue emails, each batch in one transaction."""

        def rule(_id: str, document: Document) -> Change[str | None]:
            now = self.clock.stamp()
            why_not = email.why_not_requeued(document, now=now)
            return Change(None if why_not else email.requeued(document, by=self.by, now=now), why_not)

        for batch in in_batches(ids):
            changes = self.ops.change(batch, rule)
            for id_, change in changes.changed.items():
                if change.note is None:
                    self.requeued += 1
                else:
                    self.refused[id_] = change.note
            self.refused.update(dict.fromkeys(changes.left, CHANGED_ELSEWHERE))
            self.refused.update({id_: _unreadable(why) for id_, why in changes.malformed.items()})


def _why_not(document: Document | None, now: Timestamp) -> str | None:
    if document is None:
        return NO_SUCH_EMAIL
    try:
        return email.why_not_requeued(document, now=now)
    except MalformedDocument as error:
        return _unreadable(str(error))


def _unreadable(why: str) -> str:
    return f"its document cannot be read: {why}"


def _redacted_text(value: Any) -> str | None:
    return redact(value) or None if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _time(value: Any) -> Timestamp | None:
    try:
        to_datetime(value)
    except (TypeError, ValueError):
        return None
    return str(value)
