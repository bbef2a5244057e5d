"""Sweeping: taking the documents of a selection in order and in batches, each once, however many there are.

It reads pages of ids by keyset pagination. A sharded sweep that claims what it takes may steal work from other shards.
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypedDict

from mika_ops.deadline import OutOfTime, never_out_of_time
from mika_ops.documents.document import Document
from mika_ops.documents.repository import Candidate, Change, DocumentRepository
from mika_ops.documents.selection import Selection
from mika_ops.documents.sharding import Shard
from mika_ops.timestamps import Timestamp

logger: Final = logging.getLogger(__name__)

PAGE: Final = 20_000
"""Ids looked up by one query: many, since the database sorts all that is due for each."""

BATCH: Final = 250
"""Documents changed by one transaction: few enough that the storefront's writes never wait for long."""

IDS_NAMED: Final = 20
"""How many ids or lines a result, a log line or a message holds at most; counts include all."""
SECONDS_BETWEEN_REPORTS: Final = 5.0


class SweptCounts(TypedDict):
    """The fields of ``mika_ops.subtasks.outcome.SweptResult``."""

    scanned: int
    malformed: int
    has_more: bool
    malformed_ids: tuple[str, ...]
    oldest: Timestamp | None


@dataclass
class Sweep:
    """One pass over a selection. Its counts grow while ``batches`` is read.

    ``scanned`` counts the candidates taken, malformed ones apart; ``has_more`` says, at the end, that others were left
    for want of room or time. Memory is that of one page, whatever the backlog.

    With ``shard``, only its documents are taken. With ``steals_work``, what other shards have not taken yet follows.
    Only a sweep that claims what it takes may do so.
    """

    repository: DocumentRepository
    selection: Selection
    name: str
    limit: int | None = None
    out_of_time: OutOfTime = never_out_of_time
    timer: Callable[[], float] = time.monotonic
    shard: Shard | None = None
    steals_work: bool = False
    scanned: int = field(default=0, init=False)
    changed: int = field(default=0, init=False)
    malformed: int = field(default=0, init=False)
    malformed_ids: tuple[str, ...] = field(default=(), init=False)
    has_more: bool = field(default=False, init=False)
    oldest: Timestamp | None = field(default=None, init=False)

    def batches(self, size: int = BATCH) -> Iterator[list[str]]:
        """Yield the ids of the candidates, in the selection's order, ``size`` at a time."""
        started = reported = self.timer()
        for page in self._pages():
            readable = [candidate.id for candidate in page if not candidate.malformed]
            self.report_malformed([candidate.id for candidate in page if candidate.malformed])
            for start in range(0, len(readable), size):
                ids = readable[start : start + min(size, self._room())]
                if not ids or self.out_of_time():
                    self.has_more = True
                    return
                self.scanned += len(ids)
                yield ids
                if start + len(ids) < min(start + size, len(readable)):
                    self.has_more = True
                    return
                if self.timer() - reported >= SECONDS_BETWEEN_REPORTS:
                    reported = self.timer()
                    logger.info("%s: %d done, %.0f/s", self.name, self.scanned, self.scanned / (reported - started))

    def change(self, rule: Callable[[Document], Document | None]) -> None:
        """Take every batch and change its documents by the rule; what the rule returns ``None`` for is left alone."""

        def noted(_id: str, document: Document) -> Change[None] | None:
            changed = rule(document) if self.selection.takes(document) else None
            if changed is None:
                return None
            self.note_age(document)
            return Change(changed, None)

        for ids in self.batches():
            changes = self.repository.change(ids, noted)
            self.changed += len(changes.changed)
            self.report_malformed(list(changes.malformed))

    def counts(self) -> SweptCounts:
        """Return what every sweep counts."""
        return {
            "scanned": self.scanned,
            "malformed": self.malformed,
            "has_more": self.has_more,
            "malformed_ids": self.malformed_ids,
            "oldest": self.oldest,
        }

    def note_age(self, document: Document) -> None:
        """Remember since when a document has waited that is processed, if no other has waited for longer."""
        since = self.selection.waiting_since(document)
        if since is not None and (self.oldest is None or since < self.oldest):
            self.oldest = since

    def report_malformed(self, ids: list[str]) -> None:
        """Count documents that no rule can read, and name them in the log."""
        if not ids:
            return
        self.malformed += len(ids)
        self.malformed_ids = (*self.malformed_ids, *ids)[:IDS_NAMED]
        shown = ", ".join(ids[:IDS_NAMED]) + (", …" if len(ids) > IDS_NAMED else "")
        logger.warning(
            "%s: left %d malformed documents of %s alone; fix or remove them: %s",
            self.name,
            len(ids),
            self.selection.collection,
            shown,
        )

    def _room(self) -> int:
        return PAGE if self.limit is None else self.limit - self.scanned

    def _pages(self) -> Iterator[list[Candidate]]:
        shard = self.shard
        if shard is None:
            yield from self._pages_of_all()
            return
        for page in self._pages_of_all():
            yield [candidate for candidate in page if shard.takes(candidate.id)]
        if self.steals_work:
            for page in self._pages_of_all():
                # Malformed documents are reported by the shard that they are in.
                yield [candidate for candidate in page if not shard.takes(candidate.id) and not candidate.malformed]

    def _pages_of_all(self) -> Iterator[list[Candidate]]:
        after: Candidate | None = None
        while True:
            wanted = min(PAGE, self._room() + BATCH)
            page = list(self.repository.candidates(self.selection, after=after, limit=wanted))
            if page:
                yield page
            if len(page) < wanted:
                return
            after = page[-1]
