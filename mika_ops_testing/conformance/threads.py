"""Several threads that start together."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier


def at_once(work: Callable[[int], None], count: int) -> None:
    """Call ``work`` with each number below ``count``, in threads that start together. Raises what one raises."""
    start = Barrier(count)

    def started(number: int) -> None:
        start.wait()
        work(number)

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(started, range(count)))
