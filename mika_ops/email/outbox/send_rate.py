"""How fast a drain may send: a limit at once, a limit a second, and slower where the provider asks for it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 30.0


@dataclass
class SendRate:
    """The send rate of one drain, by additive increase and multiplicative decrease (AIMD).

    ``concurrency``: at most so many emails at once; ``max_per_second``: at most so many started a second, or no limit.
    Each time the provider throttles, the drain halves how many it sends at once and pauses, longer each time. Each
    email that the provider accepts afterwards raises the number by one.
    """

    concurrency: int
    max_per_second: float | None
    timer: Callable[[], float]
    _at_once: float = field(init=False)
    _next_start: float = field(default=0.0, init=False)
    _pause: float = field(default=FIRST_PAUSE_SECONDS, init=False)
    _throttled_at: float = field(default=-math.inf, init=False)

    def __post_init__(self) -> None:
        self._at_once = self.concurrency

    def may_start(self, under_way: int) -> bool:
        """Say whether another email may be sent now, with so many under way."""
        return under_way < int(self._at_once) and self.seconds_to_wait() <= 0

    def seconds_to_wait(self) -> float:
        """Return how long no email may be started; zero or negative where one may."""
        return self._next_start - self.timer()

    def started(self) -> None:
        """Note that an email was started."""
        if self.max_per_second is not None:
            self._next_start = max(self._next_start, self.timer()) + 1 / self.max_per_second

    def taken(self) -> None:
        """Note that the provider accepted an email."""
        if self._at_once < self.concurrency:
            self._at_once += 1
        else:
            self._pause = FIRST_PAUSE_SECONDS

    def throttled(self, started: float) -> None:
        """Note that the provider asked to slow down; ``started``: when the email that it refused was started.

        Emails that were under way when it first asked do not slow the drain down further.
        """
        now = self.timer()
        if started < self._throttled_at:
            return
        self._throttled_at = now
        self._at_once = max(1.0, self._at_once / 2)
        self._next_start = max(self._next_start, now + self._pause)
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)
