"""Sharing a run's time among its subtasks."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from mika_ops.clock import utc_now
from mika_ops.deadline import Deadline, OutOfTime


@dataclass(frozen=True)
class TimeBudget:
    """How long one run may drain, from ``started_at`` on.

    Half of the time goes to the first subtasks that need it. The other half is divided equally among all subtasks, so
    that a long outbox cannot delay the release of stock. The time that a subtask does not use goes to the next.
    """

    total: timedelta
    started_at: datetime
    subtasks: tuple[str, ...]
    now: Callable[[], datetime] = utc_now

    def out_of_time_for(self, subtask: str) -> OutOfTime:
        """Return a function that returns whether the subtask's time is used up."""
        to_come = len(self.subtasks) - 1 - self.subtasks.index(subtask)
        reserved = self.total / 2 / len(self.subtasks) * to_come
        ends_at = self.started_at + self.total - reserved
        return Deadline.at_time(ends_at, self.now).has_passed
