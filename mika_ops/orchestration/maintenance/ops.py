"""One op for each subtask.

How a subtask ended stands in the metadata of its op's output, where people see it; the summary reads it there too. So
no value passes between the ops: any executor will do, and no event is stored that nobody reads.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

import dagster as dg

from mika_ops.config.loading import for_shop
from mika_ops.documents.sharding import Shard
from mika_ops.formatting import format_counts
from mika_ops.host.host import Host
from mika_ops.orchestration.maintenance.launchpad import RUN_RESOURCE
from mika_ops.orchestration.maintenance.resources import RunPlan
from mika_ops.subtasks.outcome import NOT_CHOSEN, Failed, Outcome, Skipped
from mika_ops.subtasks.registry import SUBTASK_NAMES
from mika_ops.subtasks.subtask import Subtask, outcome_of

FAIL_RUN_ON: Final = frozenset({"stock_reservations"})
"""The subtasks whose failure fails the run; any other failure warns."""

AFTER: Final = "after"
"""The input that orders the ops."""

BACKLOG: Final = "backlog"
"""The piece of the host that says what is due, and what is left."""


@cache
def op_for(subtask: Subtask) -> dg.OpDefinition:
    """Return the op that runs a subtask. It never raises for one that fails: its output says how it ended.

    The jobs of several shops share it, for a code location knows one op of a name.
    """

    @dg.op(
        name=subtask.name,
        description=f"{subtask.description}\n\nNeeds {_described(subtask)}; without, it is skipped.",
        required_resource_keys={RUN_RESOURCE, *components_of(subtask)},
        ins={AFTER: dg.In(dg.Nothing, description="Subtasks run one after the other.")},
        out=dg.Out(dg.Nothing, description="How the subtask ended, as metadata: status, counts, reason or error."),
    )
    def run_subtask(context: dg.OpExecutionContext) -> dg.Output[None]:
        metadata = metadata_of(outcome_in(context, subtask))
        log_outcome(context, subtask.name, metadata)
        return dg.Output(None, metadata=metadata)

    return run_subtask


def components_of(subtask: Subtask) -> list[str]:
    """Return the pieces of the host that the subtask uses, where they are there."""
    return sorted({name for need in subtask.needs for name in ((need,) if isinstance(need, str) else need)})


def outcome_in(context: dg.OpExecutionContext, subtask: Subtask, shard: Shard | None = None) -> Outcome:
    """Run a subtask, or a shard of it, by the plan of the run, to its outcome."""
    plan: RunPlan = getattr(context.resources, RUN_RESOURCE)
    if subtask.name not in plan.selected:
        return Skipped(reason=NOT_CHOSEN)
    host = Host(**{name: getattr(context.resources, name) for name in components_of(subtask)})
    outcome = outcome_of(subtask, host, plan.clock, plan.limits_of(subtask.name, shard))
    if isinstance(outcome, Skipped):
        return outcome.model_copy(update={"reason": for_shop(plan.shop, outcome.reason)})
    if isinstance(outcome, Failed):
        return outcome.model_copy(update={"error": for_shop(plan.shop, outcome.error)})
    return outcome


def log_outcome(context: dg.OpExecutionContext, subtask: str, metadata: Mapping[str, Any]) -> None:
    """Log what an outcome says that is worth a line: an error, or counts."""
    if metadata["status"] == "failed":
        context.log.error("%s failed: %s", subtask, metadata["error"])
    elif counts := format_counts(metadata):
        context.log.info("%s: %s", subtask, counts)


def outcomes_of(instance: dg.DagsterInstance, run_id: str) -> dict[str, dict[str, Any]]:
    """Return how each subtask of a run ended, in order: what ``metadata_of`` said of it."""
    told = step_metadata(instance, run_id, SUBTASK_NAMES.__contains__)
    return {name: told[name] for name in SUBTASK_NAMES if name in told}


def step_metadata(
    instance: dg.DagsterInstance, run_id: str, chosen: Callable[[str], bool]
) -> dict[str, dict[str, Any]]:
    """Return the metadata of the outputs of these steps of a run, by step; of a step that was done again, the last."""
    told = {}
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_OUTPUT):
        event = entry.get_dagster_event()
        if event.step_key is not None and chosen(event.step_key):
            told[event.step_key] = {name: value.value for name, value in event.step_output_data.metadata.items()}
    return told


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


def _described(subtask: Subtask) -> str:
    return ", ".join(need if isinstance(need, str) else " or ".join(need) for need in subtask.needs)
