"""Deadlines: how long work may take, and whether its time is up."""

from collections.abc import Callable

OutOfTime = Callable[[], bool]
"""Says whether the time for this work is used up; asked between batches."""


def never_out_of_time() -> bool:
    """Say that there is time: the default where no budget is set."""
    return False
