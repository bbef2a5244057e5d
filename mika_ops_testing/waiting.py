"""Waits for a condition, never for a fixed time."""

import time
from collections.abc import Callable


def wait_until(holds: Callable[[], bool], *, what: str, seconds: float = 60) -> None:
    """Poll until the condition holds; fail after so many seconds with a message that names ``what``."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"{what}: not true after {seconds:g} s"
        time.sleep(0.002)
