"""One op for each subtask.

How a subtask ended stands in the metadata of its op's output, where people see it; the summary reads it there too. So
no value passes between the ops: any executor will do, and no event is stored that nobody reads.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

import dagster as dg

from mika_ops.host import Host
from mika_ops.orchestration.config import RUN_RESOURCE
from mika_ops.orchestration.resources import RunPlan
from mika_ops.outcome import NOT_CHOSEN, Failed, Outcome, Skipped
from mika_ops.settings import for_shop
from mika_ops.subtasks.registry import SUBTASK_NAMES
from mika_ops.subtasks.subtask import Subtask, outcome_of
from mika_ops.words import counted

FAIL_RUN_ON: Final = frozenset({"stock_reservations"})
"""The subtasks whose failure fails the run; any other failure warns."""

AFTER: Final = "after"
"""The input that orders the ops."""

COMPLETED_TAG: Final = "mika/completed"
FAILED_TAG: Final = "mika/failed"
SKIPPED_TAG: Final = "mika/skipped"
"""The tags of a run that name how its subtasks ended, with commas between; one that was not chosen is in none."""


@cache
def op_for(subtask: Subtask) -> dg.OpDefinition:
    """Return the op that runs a subtask. It never raises for one that fails: its output says how it ended.

    The jobs of several shops share it, for a code location knows one op of a name.
    """
    pieces = sorted({name for need in subtask.needs for name in ((need,) if isinstance(need, str) else need)})

    @dg.op(
        name=subtask.name,
        description=f"{subtask.description}\n\nNeeds {_described(subtask)}; without, it is skipped.",
        required_resource_keys={RUN_RESOURCE, *pieces},
        ins={AFTER: dg.In(dg.Nothing, description="Subtasks run one after the other.")},
        out=dg.Out(dg.Nothing, description="How the subtask ended, as metadata: status, counts, reason or error."),
    )
    def run_subtask(context: dg.OpExecutionContext) -> dg.Output[None]:
        plan: RunPlan = getattr(context.resources, RUN_RESOURCE)
        host = Host(**{name: getattr(context.resources, name) for name in pieces})
        outcome: Outcome
        if subtask.name in plan.selected:
            outcome = outcome_of(subtask, host, plan.clock, plan.limits_of(subtask.name))
            if isinstance(outcome, Skipped):
                outcome = outcome.model_copy(update={"reason": for_shop(plan.shop, outcome.reason)})
            elif isinstance(outcome, Failed):
                outcome = outcome.model_copy(update={"error": for_shop(plan.shop, outcome.error)})
        else:
            outcome = Skipped(reason=NOT_CHOSEN)
        metadata = metadata_of(outcome)
        if isinstance(outcome, Failed):
            context.log.error("%s failed: %s", subtask.name, outcome.error)
        elif counts := counted(metadata):
            context.log.info("%s: %s", subtask.name, counts)
        return dg.Output(None, metadata=metadata)

    return run_subtask


def outcomes_of(instance: dg.DagsterInstance, run_id: str) -> dict[str, dict[str, Any]]:
    """Return how each subtask of a run ended, in order: what ``metadata_of`` said of it."""
    told_by = {}
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_OUTPUT):
        event = entry.get_dagster_event()
        if event.step_key in SUBTASK_NAMES:
            metadata = event.step_output_data.metadata
            told_by[event.step_key] = {name: value.value for name, value in metadata.items()}
    return {name: told_by[name] for name in SUBTASK_NAMES if name in told_by}


def subtasks_in(tags: Mapping[str, str], tag: str) -> frozenset[str]:
    """Return the subtasks that one of these tags of a run names."""
    return frozenset(name for name in tags.get(tag, "").split(",") if name)


def metadata_of(outcome: Outcome) -> dict[str, Any]:
    """Return what the UI shows of an outcome: status, duration, and counts, reason or error."""
    metadata: dict[str, Any] = {"status": outcome.status, "duration_ms": outcome.duration_ms}
    match outcome:
        case Skipped(reason=reason):
            metadata["reason"] = reason
        case Failed(error=error):
            metadata["error"] = error
    if not isinstance(outcome, Skipped) and outcome.result is not None:
        metadata |= outcome.result.counts() | {**outcome.result.words(), **metadata}
        metadata |= {name: "\n".join(ids) for name, ids in outcome.result.named_ids().items()}
    return metadata


def ops_for(subtasks: Sequence[Subtask]) -> list[dg.OpDefinition]:
    """Return the ops of these subtasks, in order."""
    return [op_for(subtask) for subtask in subtasks]


def _described(subtask: Subtask) -> str:
    return ", ".join(need if isinstance(need, str) else " or ".join(need) for need in subtask.needs)
