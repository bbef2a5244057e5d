"""Dead letters: listing the emails that failed for good or were skipped, and putting them back into the outbox.

Putting back is two steps. ``planned`` looks, so that a person can be told how many it would be and which not;
``Requeueing`` then changes them, each judged once more under its lock, as a worker may have been faster.
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
CHANGED_ELSEWHERE = "somebody else is changing it; try again"


@dataclass(frozen=True)
class DeadLetter:
    """What may be shown of an email. ``domain`` is the part of the recipient's address after the ``@``."""

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
        """Read what may be shown. Raises ``MalformedDocument`` where the document has no record."""
        record = record_of(document)
        address = mailbox(record.get("toEmail"))
        requeues = metadata_of(record).get("requeues")
        return cls(
            id=id_,
            kind=_sentence(document.get("kind")),
            status=_sentence(document.get("status")),
            attempts=_number(record.get("attemptCount")),
            max_attempts=_number(record.get("maxAttempts")),
            error=_sentence(record.get("lastError")),
            created_at=_time(document.get("createdAt")) or _time(record.get("createdAt")),
            requeues=len(requeues) if isinstance(requeues, list) else 0,
            domain=None if address is None else address.domain,
        )

    def age(self, now: Timestamp) -> timedelta | None:
        """Return how long ago the email was made, where that is known."""
        return None if self.created_at is None else to_datetime(now) - to_datetime(self.created_at)


def dead_letters(ops: DocumentRepository, selection: Selection, *, limit: int | None) -> Iterator[DeadLetter]:
    """Yield what may be shown of the emails that a selection takes, at most ``limit``, in its order."""
    for ids in Sweep(ops, selection, "dead_letters", limit).batches():
        documents = ops.read(ids)
        for id_ in ids:
            # One that is gone by now, or was broken since, is no dead letter any more.
            if isinstance(documents.get(id_, {}).get("record"), dict):
                yield DeadLetter.of(id_, documents[id_])


@dataclass(frozen=True)
class Plan:
    """What requeueing would do.

    ``ids`` may be put back, in the order asked for. ``refused`` says why others may not, by id; ``useless`` says why
    sending some of ``ids`` would help nobody.
    """

    ids: Sequence[str]
    refused: Mapping[str, str]
    useless: Mapping[str, str]


def planned(ops: DocumentRepository, batches: Iterable[Sequence[str]], *, now: Timestamp) -> Plan:
    """Look which of these emails may be put back at ``now``. Changes nothing."""
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
    return Plan(ids, refused, useless)


def in_batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield ids as many at a time as one transaction changes."""
    return (ids[start : start + BATCH] for start in range(0, len(ids), BATCH))


def all_dead(ops: DocumentRepository, kinds: tuple[str, ...], *, now: Timestamp) -> Iterator[Sequence[str]]:
    """Yield the ids of all emails that failed for good, in batches, oldest first."""
    return Sweep(ops, email.dead_letters(now, kinds), "requeue").batches()


@dataclass
class Requeueing:
    """Emails on their way back into the outbox. Its counts grow batch by batch, so that they hold after an error too.

    ``by`` is who asked for it; ``refused`` says why some were left alone, by id.
    """

    ops: DocumentRepository
    clock: Clock
    by: str
    requeued: int = field(default=0, init=False)
    refused: dict[str, str] = field(default_factory=dict, init=False)

    def put_back(self, ids: Sequence[str]) -> None:
        """Put emails back, each batch in one transaction."""

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


def _sentence(value: Any) -> str | None:
    return redact(value) or None if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _time(value: Any) -> Timestamp | None:
    try:
        to_datetime(value)
    except (TypeError, ValueError):
        return None
    return str(value)
