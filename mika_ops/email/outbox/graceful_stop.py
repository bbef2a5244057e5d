"""Graceful shutdown: work that ends in order where its caller is interrupted.

Python raises an interruption (SIGINT; under Dagster SIGTERM, too) in the main thread, between any two instructions:
for example between acquiring something and noting that it was acquired, or inside the standard library, where a lock
may then stay locked indefinitely. So the work runs in another thread, where no interruption is raised, and is asked to
stop.
"""

import math
from _thread import start_new_thread
from collections.abc import Callable
from threading import Lock
from typing import Final

from mika_ops.deadline import Deadline

POLL_SECONDS: Final = 0.02
"""How often the waiting thread checks for signals: one that the system delivers to another thread does not wake it."""


def run_until_interrupted(
    work: Callable[[], None], *, stop: Callable[[], None], abort: Callable[[], None], grace_seconds: float
) -> None:
    """Do the work and wait for its end; raise what it raises.

    The first interruption of the waiting thread calls ``stop``, which asks the work to end. ``abort`` is called at the
    end of the grace period, ``grace_seconds``, or at once on a second interruption. The interruption is raised again
    once the work has ended. A third interruption is raised at once: the work is then left as by a kill.
    """
    # Locks alone, and the raw thread. ``threading.Event`` and ``Thread.start`` take several steps each: an interruption
    # between two of them leaves their inner lock in the wrong state, and the work can neither begin nor be waited for.
    begun, under_way = Lock(), Lock()
    has_ended = False
    raised: list[BaseException] = []

    def run() -> None:
        nonlocal has_ended
        if not begun.acquire(blocking=False):
            return
        try:
            work()
        except BaseException as failure:  # noqa: BLE001 - raised again by the waiting thread
            raised.append(failure)
        has_ended = True
        under_way.release()

    def wait(seconds: float = math.inf) -> None:
        deadline = Deadline.within(seconds)
        # Not whether the lock was acquired: the waiting thread may have been interrupted before noting it.
        while not has_ended and (left := deadline.seconds_left()) > 0:
            under_way.acquire(timeout=min(left, POLL_SECONDS))

    under_way.acquire()
    try:
        start_new_thread(run, ())
        wait()
    except BaseException:
        if begun.acquire(blocking=False):
            # The work had not begun, and now never will.
            raise
        try:
            stop()
            wait(grace_seconds)
        finally:
            abort()
            wait()
        raise
    if raised:
        raise raised[0]
