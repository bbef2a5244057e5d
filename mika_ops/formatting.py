"""Counts, ages and ids as text, worded the same on every surface."""

from collections.abc import Mapping, Sequence
from datetime import timedelta


def format_counts(counts: Mapping[str, int | float | bool]) -> str:
    """Return counts as text without those that are zero; empty if all are."""
    return ", ".join(f"{name} {'yes' if value is True else value}" for name, value in counts.items() if value)


def format_age(age: timedelta) -> str:
    """Return an age in its largest whole unit."""
    seconds = max(0, int(age.total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:,} {unit}"
    return f"{seconds} s"


def format_ids(ids: Sequence[str], number: int) -> str:
    """Return the first ids of a number of things, and how many more there are."""
    rest = number - len(ids)
    return ", ".join(ids) + (f" and {rest:,} more" if rest > 0 and ids else "")
