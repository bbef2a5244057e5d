"""Deadlines: until when work may go on, and how work that would not end by itself is ended.

Work that is done in steps asks between two of them whether its time is up (``OutOfTime``). Work that waits for a server
takes the time that is left as its time-out (``seconds_left``), has its connection cut (``enforce``) or, where nothing
else can end it, is abandoned (``run_within``).
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Self, TypeVar

OutOfTime = Callable[[], bool]
"""Says whether the time for this work is used up; asked between batches."""

_Result = TypeVar("_Result")


def never_out_of_time() -> bool:
    """Say that there is time: the default where no budget is set."""
    return False


@dataclass(frozen=True)
class Deadline:
    """When to give up: the moment ``at`` of ``timer``, in seconds."""

    at: float
    timer: Callable[[], float] = time.monotonic

    @classmethod
    def within(cls, seconds: float, timer: Callable[[], float] = time.monotonic) -> Self:
        """Return the deadline that many seconds from now."""
        return cls(timer() + seconds, timer)

    @classmethod
    def at_time(cls, moment: datetime, now: Callable[[], datetime]) -> Self:
        """Return the deadline at a time of day, for work whose start another process knows."""
        return cls(moment.timestamp(), lambda: now().timestamp())

    def has_passed(self) -> bool:
        """Say whether the time is up. The method is an ``OutOfTime``."""
        return self.timer() >= self.at

    def seconds_left(self) -> float:
        """Return how many seconds are left; zero or less where none are."""
        return self.at - self.timer()

    def timeout(self) -> float:
        """Return the seconds left as a time-out. Raises ``TimeoutError`` where none are."""
        left = self.seconds_left()
        if left <= 0:
            raise TimeoutError("timed out")
        return left

    def or_within(self, seconds: float) -> "Deadline":
        """Return the deadline that many seconds from now, but not after this one."""
        return Deadline(min(self.at, self.timer() + seconds), self.timer)

    def half(self) -> "Deadline":
        """Return the deadline that leaves half of the time for something else."""
        return Deadline(self.at - self.seconds_left() / 2, self.timer)

    @contextmanager
    def enforce(self, cut: Callable[[], None]) -> Iterator[None]:
        """Call ``cut``, in another thread, when the time is up before the context is left."""
        watchdog = threading.Timer(max(0.0, self.seconds_left()), cut)
        watchdog.daemon = True
        watchdog.start()
        try:
            yield
        finally:
            watchdog.cancel()
            watchdog.join()


def run_within(seconds: float, work: Callable[[], _Result]) -> _Result:
    """Do the work in a thread of its own; return what it returns, raise what it raises.

    Raises ``TimeoutError`` where it takes longer. Then the thread is abandoned: it is a daemon, so that it does not
    keep the process from ending.
    """
    results: list[_Result] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as failure:  # noqa: BLE001 - raised again by the caller
            failures.append(failure)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if results:
        return results[0]
    if failures:
        raise failures[0]
    raise TimeoutError("timed out")
