"""Splitting one drain among several workers.

Each worker takes the shard that is its own and, where documents are claimed one by one, then helps the others: what a
worker that died has not come to is done by those that are left. A document's shard follows from its id alone, so that
the workers need not agree on anything.
"""

from dataclasses import dataclass
from zlib import crc32


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
