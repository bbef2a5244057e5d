"""The port of a collection of documents, and what passes through it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar, runtime_checkable

from mika_ops.documents.document import Document
from mika_ops.documents.selection import Selection

Note = TypeVar("Note")


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


class RepositoryUnreachable(RepositoryUnavailable):
    """The storage cannot be reached at the moment, as while it restarts; a retry may succeed.

    Whether the last change was written is not known.
    """


@runtime_checkable
class DocumentRepository(Protocol):
    """One collection of Mika's documents (``ops``, ``account``, ``ledger`` or ``session``)."""

    def candidates(self, selection: Selection, *, after: Candidate | None, limit: int) -> Sequence[Candidate]:
        """Return up to ``limit`` documents that the selection takes, in its order, those after ``after`` only.

        Keyset pagination: the caller passes the last candidate of a page to read the next one.

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
