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
"""How long processes that the program leaves behind may take to end after SIGTERM, before they are killed."""

_POLL_INTERVAL_SECONDS: Final = 0.05


def run_in_process_group(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a program to its end and return its exit code.

    The program has its own process group. SIGINT, SIGTERM and SIGHUP reach it as SIGINT, at which ``dagster dev`` shuts
    its services down. Without the group, a terminal would send SIGINT to the services too, in no order.
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
        process = subprocess.Popen(command, env=environment, process_group=0)  # noqa: S603 - the command is a constant
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
        deadline = time.monotonic() + SECONDS_TO_END
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(_POLL_INTERVAL_SECONDS)
        os.killpg(group, signal.SIGKILL)
