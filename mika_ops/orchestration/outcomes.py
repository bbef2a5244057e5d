"""Outcomes in Dagster: written to the metadata of an op's output and to the tags of a run, and read back from there.

No value passes between the ops. Each output carries its subtask's outcome as metadata, where the UI shows it, and
later readers take it from the event log. So every executor works, and nothing is stored twice.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import dagster as dg

from mika_ops.monitoring.checks import CheckResult
from mika_ops.orchestration.dagster_internals import events_of_run
from mika_ops.orchestration.tags import (
    COMPLETED_TAG,
    FAILED_TAG,
    HEALTHY_TAG,
    RESULT_TAGS,
    SKIPPED_TAG,
    UNHEALTHY_TAG,
    join_names,
)
from mika_ops.subtasks.outcome import (
    Completed,
    Failed,
    NotChosen,
    Outcome,
    RecordedResult,
    Skipped,
    outcome_facts,
)
from mika_ops.subtasks.registry import SUBTASK_NAMES

_IDS = "_ids"
_OF_THE_OUTCOME = frozenset({"status", "duration_ms", "reason", "error"})


def to_metadata(outcome: Outcome) -> dict[str, int | float | bool | str]:
    """Return an outcome as the metadata of an output: one entry for each count, text and list of ids."""
    return {
        name: "\n".join(value) if isinstance(value, tuple) else value for name, value in outcome_facts(outcome).items()
    }


def from_metadata(metadata: Mapping[str, Any], *, chosen: bool = True) -> Outcome:
    """Return the outcome that ``to_metadata`` wrote.

    ``chosen``: whether the run's plan chose the subtask. The metadata shows a subtask that was left out on purpose as
    skipped, like one that is not configured; only the plan distinguishes them, and no wording.
    """
    duration_ms = int(metadata["duration_ms"])
    match metadata["status"]:
        case "skipped" if not chosen:
            return NotChosen(duration_ms=duration_ms)
        case "skipped":
            return Skipped(reason=metadata["reason"], duration_ms=duration_ms)
        case "failed":
            return Failed(error=metadata["error"], result=_result_in(metadata), duration_ms=duration_ms)
        case "completed":
            return Completed(result=_result_in(metadata), duration_ms=duration_ms)
        case status:
            raise ValueError(f"{status!r} is not the status of an outcome")


def read_outcomes(
    instance: dg.DagsterInstance, run_id: str, *, chosen: Collection[str] = SUBTASK_NAMES
) -> dict[str, Outcome]:
    """Return the outcomes of a run by subtask, in the order of the subtasks; ``chosen``: those of the run's plan."""
    metadata = _step_metadata(instance, run_id, SUBTASK_NAMES.__contains__)
    return {name: from_metadata(metadata[name], chosen=name in chosen) for name in SUBTASK_NAMES if name in metadata}


def read_shard_outcomes(instance: dg.DagsterInstance, run_id: str, shard_op: str) -> list[Outcome]:
    """Return the outcomes of the shards of a subtask in a run; ``shard_op``: the op that each of them executed."""
    metadata = _step_metadata(instance, run_id, lambda step: step.startswith(f"{shard_op}["))
    return [from_metadata(each) for each in metadata.values()]


def result_tags(
    outcomes: Mapping[str, Outcome], checks: Mapping[str, CheckResult], *, before: Mapping[str, str]
) -> dict[str, str]:
    """Return the tags that name the subtasks and checks of a run by how they ended; ``before``: its tags so far.

    A tag that names nothing is written only to replace one that is there.
    """
    named: dict[str, list[str]] = {tag: [] for tag in RESULT_TAGS}
    for name, outcome in outcomes.items():
        match outcome:
            case Completed():
                named[COMPLETED_TAG].append(name)
            case Failed():
                named[FAILED_TAG].append(name)
            case Skipped() if not isinstance(outcome, NotChosen):
                named[SKIPPED_TAG].append(name)
    for name, check in checks.items():
        named[HEALTHY_TAG if check.passed else UNHEALTHY_TAG].append(name)
    return {tag: join_names(names) for tag, names in named.items() if names or tag in before}


def _step_metadata(
    instance: dg.DagsterInstance, run_id: str, wanted: Callable[[str], bool]
) -> dict[str, dict[str, Any]]:
    """Return the metadata of the outputs of a run by step; for a step that ran several times, that of the last."""
    found = {}
    for event in events_of_run(instance, run_id, dg.DagsterEventType.STEP_OUTPUT):
        if event.step_key is not None and wanted(event.step_key):
            found[event.step_key] = {name: value.value for name, value in event.step_output_data.metadata.items()}
    return found


def _result_in(metadata: Mapping[str, Any]) -> RecordedResult:
    entries = {name: value for name, value in metadata.items() if name not in _OF_THE_OUTCOME}
    texts = {name: value for name, value in entries.items() if isinstance(value, str)}
    return RecordedResult(
        recorded_counts={name: value for name, value in entries.items() if isinstance(value, int | float)},
        recorded_words={name: text for name, text in texts.items() if not name.endswith(_IDS)},
        recorded_ids={name: tuple(text.split("\n")) for name, text in texts.items() if name.endswith(_IDS)},
    )
