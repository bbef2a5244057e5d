"""The figures of a run that people look at as plots, and their sums and maxima over an hour or a day.

Every subtask has the same figures by the same names, so that one plot reads like another.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from mika_ops.monitoring.snapshot import ShopSnapshot
from mika_ops.subtasks.outcome import Failed, Outcome, result_of
from mika_ops.subtasks.subtask import Subtask

Metrics: TypeAlias = Mapping[str, float]
"""Numbers by name: ``done`` and ``failed`` items, ``failed_runs``, ``duration_ms``, ``done_per_second``, and after the
run what is ``due``, ``oldest_age_seconds`` and ``failed_for_good``."""

SUMMED: Final = frozenset({"done", "failed", "failed_runs", "runs"})
"""What adds up over time; of all others the highest counts."""


def subtask_metrics(subtask: Subtask, outcome: Outcome, standing: ShopSnapshot | None) -> dict[str, float]:
    """Return the figures of one subtask in one run.

    ``standing``: what the run left, where that is known.
    """
    counts = result_of(outcome).counts()
    done = sum(counts.get(name, 0) for name in subtask.done)
    milliseconds = outcome.duration_ms
    figures: dict[str, float] = {
        "done": done,
        "failed": counts.get("failed", 0),
        "failed_runs": int(isinstance(outcome, Failed)),
        "duration_ms": milliseconds,
    }
    if done and milliseconds:
        figures["done_per_second"] = round(done * 1000 / milliseconds, 1)
    if standing is not None and (due := standing.backlog.due.get(subtask.name)) is not None:
        age = due.age(standing.now)
        figures["due"] = due.count
        figures["oldest_age_seconds"] = 0 if age is None else round(age.total_seconds())
    if standing is not None and (failed := standing.failed.get(subtask.name)) is not None:
        figures["failed_for_good"] = failed.count
    return figures


def had_work(outcome: Outcome) -> bool:
    """Say whether a subtask found anything to do, or failed."""
    return isinstance(outcome, Failed) or any(result_of(outcome).counts().values())


def aggregate_metrics(points: Iterable[Metrics]) -> dict[str, float]:
    """Return the sums and maxima of figures over time. A name may say whose the figure is: ``email_outbox.done``."""
    values: defaultdict[str, list[float]] = defaultdict(list)
    for point in points:
        for name, value in point.items():
            values[name].append(value)
    return {name: sum(each) if name.rpartition(".")[2] in SUMMED else max(each) for name, each in values.items()}
