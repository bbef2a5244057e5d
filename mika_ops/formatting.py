"""Numbers, ages and outcomes in words, as people read them on every surface."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any


def format_outcome(outcome: Mapping[str, Any]) -> str:
    """Say in words what became of a subtask."""
    sentence = outcome.get("error") or outcome.get("reason")
    return "; ".join(part for part in (sentence, format_counts(outcome)) if part) or "nothing due"


def format_counts(outcome: Mapping[str, Any]) -> str:
    """Say what a subtask counted, leaving out what is zero; empty where it did nothing."""
    return ", ".join(
        f"{name} {'yes' if value is True else value}"
        for name, value in outcome.items()
        if isinstance(value, int | float) and value and name != "duration_ms"
    )


def format_age(age: timedelta) -> str:
    """Say how old something is, in its largest whole unit."""
    seconds = max(0, int(age.total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:,} {unit}"
    return f"{seconds} s"


def format_ids(ids: Sequence[str], number: int) -> str:
    """Name the first ids of a number of things, and say how many more there are."""
    rest = number - len(ids)
    return ", ".join(ids) + (f" and {rest:,} more" if rest > 0 and ids else "")
