"""Splitting one drain among several workers.

Each worker takes the shard that is its own and, where documents are claimed one by one, then helps the others: what a
worker that died has not come to is done by those that are left. A document's shard follows from its id alone, so that
the workers need not agree on anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from zlib import crc32

NAMES_KEPT: Final = 20
"""So many lines of each text are kept where the shards' own are put together."""

_WORST_FIRST: Final = ("failed", "completed", "skipped")


@dataclass(frozen=True)
class Shard:
    """One of ``count`` equal parts of all documents, by their ids. ``index`` starts at 0."""

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ValueError(f"there is no shard {self.index} of {self.count}: they are counted from 0")

    def takes(self, id_: str) -> bool:
        """Say whether the document is in this shard. Each is in exactly one."""
        return crc32(id_.encode()) % self.count == self.index

    def share_of(self, limit: int | None) -> int | None:
        """Return this shard's part of a limit; those of all shards add up to it."""
        return None if limit is None else limit // self.count + (self.index < limit % self.count)

    def __str__(self) -> str:
        return f"{self.index + 1}_of_{self.count}"

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Return the shard that is written so. Raises ``ValueError`` for a text that is none."""
        number, count = text.split("_of_")
        return cls(int(number) - 1, int(count))


def all_shards(count: int) -> list[Shard]:
    """Return every shard of ``count``."""
    return [Shard(index, count) for index in range(count)]


def useful_shards(shards: int, due: int) -> int:
    """Return how many of the ``shards`` are worth their cost where so many documents are due: at least one."""
    return max(1, min(shards, due))


def merge_outcomes(told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what all shards came to, from what each told of itself, in the same shape.

    Counts are added, and the longest duration is that of all. The whole failed where a shard did, with each error once;
    it was skipped where all were.
    """
    statuses = {each["status"] for each in told}
    status = next(status for status in _WORST_FIRST if status in statuses)
    # What a shard without work says of itself would only hide what the others did.
    counted = [each for each in told if status == "skipped" or each["status"] != "skipped"]
    names = dict.fromkeys(name for each in counted for name in each if name not in ("status", "duration_ms"))
    return {"status": status, "duration_ms": max(each["duration_ms"] for each in told)} | {
        name: _added([each[name] for each in counted if name in each]) for name in names
    }


def _added(values: Sequence[Any]) -> Any:
    first = values[0]
    if isinstance(first, bool):
        return any(values)
    if isinstance(first, str):
        lines = dict.fromkeys(line for value in values for line in value.split("\n"))
        return "\n".join(list(lines)[:NAMES_KEPT])
    return sum(values)
