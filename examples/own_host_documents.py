"""A collection of Mika's documents in a dict: all that a ``DocumentRepository`` must do."""

import threading
from collections.abc import Mapping, Sequence

from mika_ops.documents.document import Document, MalformedDocument
from mika_ops.documents.selection import Selection
from mika_ops.ports import Candidate, Change, Changes, Note, Rule


class Documents:
    """One collection of documents. Fits ``DocumentRepository``.

    A lock is held during a change, so that ``wait`` has no effect. ``seen`` avoids reads, which cost nothing here.
    """

    def __init__(self, *documents: Document) -> None:
        self._documents = {str(document["id"]): document for document in documents}
        self._lock = threading.Lock()

    def candidates(self, selection: Selection, *, after: Candidate | None, limit: int) -> Sequence[Candidate]:
        with self._lock:
            documents = list(self._documents.items())
        found = [candidate for id_, document in documents if (candidate := _candidate(selection, id_, document))]
        found.sort(key=_place)
        return [candidate for candidate in found if after is None or _place(candidate) > _place(after)][:limit]

    def read(self, ids: Sequence[str]) -> Mapping[str, Document]:
        with self._lock:
            return {id_: self._documents[id_] for id_ in ids if id_ in self._documents}

    def change(
        self,
        ids: Sequence[str],
        rule: Rule[Note],
        *,
        wait: bool = False,
        seen: Mapping[str, Document] | None = None,
    ) -> Changes[Note]:
        changed: dict[str, Change[Note]] = {}
        left: list[str] = []
        malformed: dict[str, str] = {}
        with self._lock:
            for id_ in ids:
                document = self._documents.get(id_)
                try:
                    change = None if document is None else rule(id_, document)
                except MalformedDocument as error:
                    malformed[id_] = str(error)
                    continue
                if change is None:
                    left.append(id_)
                else:
                    changed[id_] = change
            # Written only now: where the rule raised anything else, nothing has changed, as in a transaction.
            self._documents |= {id_: new.document for id_, new in changed.items() if new.document is not None}
        return Changes(changed, left, malformed)


def _candidate(selection: Selection, id_: str, document: Document) -> Candidate | None:
    sorted_by, _ = selection.sort_key(document, id_)
    try:
        return Candidate(id_, sorted_by) if selection.takes(document) else None
    except MalformedDocument:
        return Candidate(id_, sorted_by, malformed=True)


def _place(candidate: Candidate) -> tuple[str, str]:
    return candidate.sorted_by, candidate.id
