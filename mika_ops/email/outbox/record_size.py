"""The size of a group commit: how many emails one record holds, so that workers do not wait for each other."""

import math
from dataclasses import dataclass, field
from typing import Final

GROUPS: Final = 3
"""The emails under way are divided into so many records: more, and smaller, ones would keep a database too busy."""

SMOOTHING: Final = 1 / 8
"""The weight of one record in the exponential moving average of how long records take: a single one says little."""


@dataclass
class RecordSize:
    """The most that one record of a drain with ``concurrency`` holds.

    Emails that start together end together, and would wait for one large record each time. With several smaller
    records, one group is recorded while the others are sent. That is faster where recording the other groups takes no
    longer than sending does; elsewhere, a record holds all that have ended.
    """

    concurrency: int
    _send_seconds: float = field(default=0.0, init=False)
    _record_seconds: float = field(default=math.inf, init=False)

    @property
    def size(self) -> int:
        """How many emails the next record may hold."""
        return self._group if (GROUPS - 1) * self._record_seconds < self._send_seconds else self.concurrency

    def sent(self, seconds: float) -> None:
        """Note how long an email took to be sent."""
        self._send_seconds = seconds

    def recorded(self, count: int, seconds: float) -> None:
        """Note how long a record of so many emails took."""
        group_seconds = seconds * self._group / max(self._group, count)
        if math.isinf(self._record_seconds):
            self._record_seconds = group_seconds
        self._record_seconds += (group_seconds - self._record_seconds) * SMOOTHING

    @property
    def _group(self) -> int:
        return max(1, self.concurrency // GROUPS)
