"""How much waits for each subtask: read in one look, before a run or after it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mika_ops.timestamps import Timestamp


@dataclass(frozen=True)
class Due:
    """What waits for one subtask, since when where that is known, and what can only be mended by hand."""

    count: int = 0
    oldest: Timestamp | None = None
    malformed: int = 0


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
