"""The maintenance clock: when something is due, and what is written down as the time of a change.

*Due* is judged at the time for which the run was planned, so that a late or repeated run does the same work. What is
*written* (leases, sent and completed times) uses the real time: a lease stamped with the start of a long drain would be
born expired, and its email would be sent twice.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from mika_ops.timestamps import Timestamp, to_timestamp


def utc_now() -> datetime:
    """Return the real time."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Clock:
    """``scheduled_at`` judges what is due; ``now`` gives the real time for what is written."""

    scheduled_at: Timestamp
    now: Callable[[], datetime] = utc_now

    @classmethod
    def at(cls, scheduled_at: datetime, now: Callable[[], datetime] = utc_now) -> Self:
        """Return a clock for a run planned at ``scheduled_at`` (aware)."""
        return cls(to_timestamp(scheduled_at), now)

    @classmethod
    def fixed(cls, at: datetime) -> Self:
        """Return a clock that stands still: everything is due and written at ``at``."""
        return cls(to_timestamp(at), lambda: at)

    def stamp(self) -> Timestamp:
        """Return the time to write: the real time, never earlier than ``scheduled_at``."""
        return max(to_timestamp(self.now()), self.scheduled_at)
