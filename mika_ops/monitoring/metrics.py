"""The metrics of a run that the UI plots, and their sums and maxima over an hour or a day.

All subtasks have the same metrics under the same names, so that their plots can be compared.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from mika_ops.monitoring.snapshot import ShopSnapshot
from mika_ops.subtasks.outcome import Failed, Outcome, result_of
from mika_ops.subtasks.subtask import Subtask

Metrics: TypeAlias = Mapping[str, float]
"""Numbers by name: ``done`` and ``failed`` items, ``failed_runs``, ``duration_ms``, ``done_per_second``, and of the
backlog after the run ``due``, ``oldest_age_seconds`` and ``failed_permanently``."""

SUMMED: Final = frozenset({"done", "failed", "failed_runs", "runs"})
"""The metrics that are added up over time; of all others the maximum is kept."""


def subtask_metrics(subtask: Subtask, outcome: Outcome, snapshot: ShopSnapshot | None) -> dict[str, float]:
    """Return the metrics of one subtask in one run; ``snapshot``: the shop after the run, if it could be read."""
    counts = result_of(outcome).counts()
    done = sum(counts.get(name, 0) for name in subtask.done)
    milliseconds = outcome.duration_ms
    metrics: dict[str, float] = {
        "done": done,
        "failed": counts.get("failed", 0),
        "failed_runs": int(isinstance(outcome, Failed)),
        "duration_ms": milliseconds,
    }
    if done and milliseconds:
        metrics["done_per_second"] = round(done * 1000 / milliseconds, 1)
    if snapshot is not None and (due := snapshot.backlog.due.get(subtask.name)) is not None:
        age = due.age(snapshot.now)
        metrics["due"] = due.count
        metrics["oldest_age_seconds"] = 0 if age is None else round(age.total_seconds())
    if snapshot is not None and (failed := snapshot.failed.get(subtask.name)) is not None:
        metrics["failed_permanently"] = failed.count
    return metrics


def had_work(outcome: Outcome) -> bool:
    """Say whether a subtask found work, or failed."""
    return isinstance(outcome, Failed) or any(result_of(outcome).counts().values())


def aggregate_metrics(points: Iterable[Metrics]) -> dict[str, float]:
    """Return the sums and maxima of metrics over time. A name may have a prefix: ``email_outbox.done``."""
    values: defaultdict[str, list[float]] = defaultdict(list)
    for point in points:
        for name, value in point.items():
            values[name].append(value)
    return {name: sum(each) if name.rpartition(".")[2] in SUMMED else max(each) for name, each in values.items()}
