"""Work that ends in order where its caller is interrupted.

Python raises an interruption (SIGINT, under Dagster SIGTERM too) in the main thread, between any two of its
instructions: between taking something and noting that it was taken as well, and inside the standard library, where a
lock may stay locked for ever. So the work is done in another thread, where none is raised, and is asked to stop.
"""

import math
import time
from _thread import allocate_lock, start_new_thread
from collections.abc import Callable
from typing import Final

LOOK_AGAIN_SECONDS: Final = 0.02
"""How often whoever waits looks for signals: one that another thread was given does not wake this one."""


def run_until_interrupted(
    work: Callable[[], None], *, stop: Callable[[], None], hurry: Callable[[], None], grace_seconds: float
) -> None:
    """Do the work and wait for its end; raise what it raises.

    Whoever waits may be interrupted. Then ``stop`` asks the work to end; ``hurry`` is called once ``grace_seconds``
    are over, or at once where a second interruption comes. Once the work has ended, the interruption passes through.
    A third one is not held up: what the work was about is then left as by a kill.
    """
    # Not ``threading``: its threads and events are started, set and waited for in many steps. A lock takes one.
    begun, under_way = allocate_lock(), allocate_lock()
    has_ended = False
    raised: list[BaseException] = []

    def run() -> None:
        nonlocal has_ended
        if not begun.acquire(blocking=False):
            return
        try:
            work()
        except BaseException as failure:  # noqa: BLE001 - raised again by whoever waits
            raised.append(failure)
        has_ended = True
        under_way.release()

    def wait(seconds: float = math.inf) -> None:
        until = time.monotonic() + seconds
        # Not whether the lock was acquired: whoever waits may have been interrupted before noting it.
        while not has_ended and (left := until - time.monotonic()) > 0:
            under_way.acquire(timeout=min(left, LOOK_AGAIN_SECONDS))

    under_way.acquire()
    try:
        start_new_thread(run, ())
        wait()
    except BaseException:
        if begun.acquire(blocking=False):
            # It had not begun, and now never will.
            raise
        try:
            stop()
            wait(grace_seconds)
        finally:
            hurry()
            wait()
        raise
    if raised:
        raise raised[0]
