"""How many emails one record holds, so that workers do not wait for each other's."""

import math
from dataclasses import dataclass, field
from typing import Final

FRACTION: Final = 3
"""Into so many the emails under way are parted: more, and smaller, records would keep a database too busy."""

WEIGHT: Final = 1 / 8
"""What one record counts towards how long records take: a single one says little."""


@dataclass
class RecordSize:
    """The most that one record of a drain with ``concurrency`` holds.

    Emails that start together end together, and would wait for one large record each time. In parts, workers take
    turns: one part is recorded while the others are sent. That is faster where the records of the others take no longer
    than sending does; elsewhere, a record holds whatever has ended.
    """

    concurrency: int
    _send_seconds: float = field(default=0.0, init=False)
    _record_seconds: float = field(default=math.inf, init=False)

    @property
    def size(self) -> int:
        """How many emails the next record may hold."""
        return self._part if (FRACTION - 1) * self._record_seconds < self._send_seconds else self.concurrency

    def sent(self, seconds: float) -> None:
        """Note how long an email took to be sent."""
        self._send_seconds = seconds

    def recorded(self, count: int, seconds: float) -> None:
        """Note how long a record of so many emails took."""
        of_a_part = seconds * self._part / max(self._part, count)
        if math.isinf(self._record_seconds):
            self._record_seconds = of_a_part
        self._record_seconds += (of_a_part - self._record_seconds) * WEIGHT

    @property
    def _part(self) -> int:
        return max(1, self.concurrency // FRACTION)
