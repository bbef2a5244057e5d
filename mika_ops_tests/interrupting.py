"""Interrupts the main thread as Python does: where it waits, or at one of the calls that it makes."""

import signal
import sys
import threading
from types import FrameType
from typing import Self


def interrupt() -> None:
    """Interrupt the main thread, from another one: it raises ``KeyboardInterrupt`` at its next instruction."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


class InterruptedAt:
    """Interrupts this thread at the call of that number, counted from one, among all that it makes meanwhile.

    Calls are where Python looks for signals: as a function begins, and as one that is not Python's own has returned.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.calls = 0

    @property
    def came(self) -> bool:
        """Whether there were so many calls."""
        return self.calls >= self.number

    def __enter__(self) -> Self:
        sys.setprofile(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _count(self, _frame: FrameType, event: str, _argument: object) -> None:
        if event in ("call", "c_return"):
            self.calls += 1
            if self.calls == self.number:
                sys.setprofile(None)
                signal.raise_signal(signal.SIGINT)
