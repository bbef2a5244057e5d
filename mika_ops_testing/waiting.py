"""Waiting for a condition, and never for a time."""

import time
from collections.abc import Callable


def wait_until(holds: Callable[[], bool], *, what: str, seconds: float = 60) -> None:
    """Look again and again until it is so; fail, saying ``what`` was waited for, after so many seconds."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"{what}: not so after {seconds:g} s"
        time.sleep(0.002)
