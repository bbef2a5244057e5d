"""The ports of the backlog: how much is due for each subtask, and what needs manual action."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol, runtime_checkable

from mika_ops.documents.selection import Selection
from mika_ops.timestamps import Timestamp, to_datetime


@dataclass(frozen=True)
class Due:
    """The backlog of one subtask.

    ``count``: the documents or rows that are due. ``oldest``: when the first of them became due, or was created if its
    document has no due time. ``malformed``: the documents that cannot be read and need manual action.
    """

    count: int = 0
    oldest: Timestamp | None = None
    malformed: int = 0

    def age(self, now: Timestamp) -> timedelta | None:
        """Return how long the oldest has been due at ``now``, or ``None`` if that is not known."""
        try:
            return None if self.oldest is None else to_datetime(now) - to_datetime(self.oldest)
        except ValueError:
            return None  # the document holds a time that is not valid


@dataclass(frozen=True)
class StockDrift:
    """Stock items whose reserved quantity differs from the sum of their active reservations.

    ``items``: how many; ``negative``: how many of them have a negative reserved quantity; ``ids``: the first of them.
    """

    items: int = 0
    negative: int = 0
    ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Backlog:
    """The backlog of a shop.

    ``due``: the backlog of each subtask by name. ``unreadable``: how many documents are not JSON objects with a type,
    so that they belong to no subtask; ``unreadable_ids``: the first of them.
    """

    due: Mapping[str, Due] = field(default_factory=dict)
    unreadable: int = 0
    unreadable_ids: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """How much is due in total, without malformed documents."""
        return sum(due.count for due in self.due.values())


@runtime_checkable
class NamesRows(Protocol):
    """A backlog reader that also returns the ids of rows in Mika's tables."""

    def first_ids(self, subtask: str, *, now: Timestamp, limit: int) -> Sequence[str]:
        """Return the ids of the first rows that are due for a subtask at ``now``, in the order of processing.

        Empty if the key of the rows is a secret, as it is for ephemeral rows.
        """
        ...


@runtime_checkable
class BacklogInspector(Protocol):
    """A backlog reader that also answers what the health checks ask beyond counts."""

    def first_documents(self, selection: Selection, *, limit: int) -> Sequence[str]:
        """Return the ids of the first documents that match a selection, without malformed ones, in its order."""
        ...

    def stock_drift(self) -> StockDrift:
        """Compare the reserved quantity of every stock item with the sum of its active reservations."""
        ...


@runtime_checkable
class BacklogReader(Protocol):
    """Reads the backlog of each subtask."""

    def read(self, selections: Mapping[str, Selection], *, now: Timestamp) -> Backlog:
        """Count what is due at ``now``: the documents that match each selection, and the rows of Mika's tables.

        The keys of the answer are those of ``selections``: names of subtasks, and other names for documents that have
        permanently failed. Rows are counted under ``acp_sessions``, ``stock_reservations`` and ``ephemeral_records``.
        What cannot be counted may be left out.
        """
        ...
