"""How often Python switches between threads while emails are sent."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Final

SWITCH_INTERVAL_SECONDS: Final = 0.0005
"""How long one of a drain's threads may keep Python's interpreter while another waits for it.

Python's default is ten times as long: the database has answered by then, and its thread still waits.
"""


class SwitchInterval:
    """Shortens the interpreter's switch interval for as long as any drain of this process runs.

    The interval belongs to the process. So the first drain shortens it and the last one restores it, whichever those
    are: each by itself could restore what another had set.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._drains = 0
        self._usual = 0.0

    @contextmanager
    def shortened(self) -> Iterator[None]:
        """Have Python switch between threads often, for as long as the context lasts."""
        with self._lock:
            self._drains += 1
            if self._drains == 1:
                self._usual = sys.getswitchinterval()
                sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
        try:
            yield
        finally:
            with self._lock:
                self._drains -= 1
                if self._drains == 0:
                    sys.setswitchinterval(self._usual)


switch_interval: Final = SwitchInterval()
"""The one of this process."""
