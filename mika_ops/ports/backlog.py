"""How much waits for each subtask, and for people: read in one look, before a run or after it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol, runtime_checkable

from mika_ops.documents.selection import Selection
from mika_ops.timestamps import Timestamp, to_datetime


@dataclass(frozen=True)
class Due:
    """What waits for one subtask, since when where that is known, and what can only be mended by hand.

    ``oldest`` is when the first of it became due, or was made where its document does not say.
    """

    count: int = 0
    oldest: Timestamp | None = None
    malformed: int = 0

    def age(self, now: Timestamp) -> timedelta | None:
        """Return how long the oldest has waited at ``now``; ``None`` where nobody can tell."""
        try:
            return None if self.oldest is None else to_datetime(now) - to_datetime(self.oldest)
        except ValueError:
            return None  # the time of one document is none


@dataclass(frozen=True)
class StockDrift:
    """Stock items whose reserved quantity is not what their active reservations hold; the first of them are named.

    ``negative``: those of them that have less than nothing reserved.
    """

    items: int = 0
    negative: int = 0
    ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Backlog:
    """What waits, by subtask.

    ``unreadable`` counts the documents that are not even JSON objects with a type, so that they are nobody's; the first
    of them are named.
    """

    due: Mapping[str, Due] = field(default_factory=dict)
    unreadable: int = 0
    unreadable_ids: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """How much waits in all, malformed documents apart."""
        return sum(due.count for due in self.due.values())


@runtime_checkable
class NamesRows(Protocol):
    """A backlog reader that can also name rows of Mika's tables."""

    def first_ids(self, subtask: str, *, now: Timestamp, limit: int) -> Sequence[str]:
        """Return the ids of the first rows that wait for a subtask at ``now``, in the order in which it takes them.

        Empty where rows are known by a secret alone, as ephemeral rows are by their keys.
        """
        ...


@runtime_checkable
class BacklogInspector(Protocol):
    """A backlog reader that can also say what no count tells, for the checks of a shop's health."""

    def first_documents(self, selection: Selection, *, limit: int) -> Sequence[str]:
        """Return the ids of the first documents that a selection takes, in its order."""
        ...

    def stock_drift(self) -> StockDrift:
        """Hold the reserved quantities of all stock items against the active reservations that they are the sum of."""
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
