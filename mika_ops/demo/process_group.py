"""Running a program that has children of its own, and leaving none of them behind."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import FrameType
from typing import Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SECONDS_TO_END: Final = 15.0
"""How long what the program leaves behind may take to end after SIGTERM, before it is killed."""

_LOOK_EVERY_SECONDS: Final = 0.05


def attended(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a program to its end and return its exit code.

    It has a process group of its own. SIGINT, SIGTERM and SIGHUP reach it as SIGINT, which is how ``dagster dev`` is
    asked to shut its services down; a terminal would send that to the services too, in no order.
    """
    asked_to_stop = False
    process: subprocess.Popen[bytes] | None = None

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal asked_to_stop
        asked_to_stop = True
        if process is not None:
            process.send_signal(signal.SIGINT)

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        process = subprocess.Popen(command, env=environment, process_group=0)  # noqa: S603 - our own words
        if asked_to_stop:
            process.send_signal(signal.SIGINT)
        try:
            return process.wait()
        finally:
            _end_group(process.pid)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_group(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
        give_up_at = time.monotonic() + SECONDS_TO_END
        while time.monotonic() < give_up_at:
            os.killpg(group, 0)
            time.sleep(_LOOK_EVERY_SECONDS)
        os.killpg(group, signal.SIGKILL)
