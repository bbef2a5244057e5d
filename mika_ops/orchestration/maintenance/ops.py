"""One op for each subtask. Its output carries the outcome as metadata; see ``mika_ops.orchestration.outcomes``."""

from functools import cache
from typing import Final

import dagster as dg

from mika_ops.documents.sharding import Shard
from mika_ops.formatting import format_counts
from mika_ops.host.host import Host
from mika_ops.orchestration.maintenance.launchpad import RUN_RESOURCE
from mika_ops.orchestration.maintenance.resources import RunPlan
from mika_ops.orchestration.outcomes import to_metadata
from mika_ops.subtasks.outcome import Failed, NotChosen, Outcome, result_of
from mika_ops.subtasks.registry import SUBTASKS
from mika_ops.subtasks.subtask import Subtask, outcome_of

FAIL_RUN_ON: Final = frozenset(subtask.name for subtask in SUBTASKS if subtask.fails_run)
"""The subtasks whose failure fails the run; any other failure is a warning."""

AFTER: Final = "after"
"""The name of the input that only orders the ops."""

BACKLOG: Final = "backlog"
"""The component that reads how much work is due."""


@cache
def op_for(subtask: Subtask) -> dg.OpDefinition:
    """Return the op that runs a subtask. It does not raise if the subtask fails: its output carries the outcome.

    The jobs of several shops share the op, because a code location can have only one op of a name.
    """

    @dg.op(
        name=subtask.name,
        description=f"{subtask.description}\n\nRequires {_needs(subtask)}; skipped if that is not configured.",
        required_resource_keys={RUN_RESOURCE, *subtask.components},
        ins={AFTER: dg.In(dg.Nothing, description="The subtask before. Subtasks run in sequence.")},
        out=dg.Out(
            dg.Nothing, description="The outcome as metadata: status, duration, counts, and the reason or the error."
        ),
    )
    def run_subtask(context: dg.OpExecutionContext) -> dg.Output[None]:
        outcome = execute_subtask(context, subtask)
        log_outcome(context, subtask.name, outcome)
        return dg.Output(None, metadata=to_metadata(outcome))

    return run_subtask


def execute_subtask(context: dg.OpExecutionContext, subtask: Subtask, shard: Shard | None = None) -> Outcome:
    """Run a subtask, or one shard of it, as the plan of the run says, and return its outcome."""
    plan: RunPlan = getattr(context.resources, RUN_RESOURCE)
    if subtask.name not in plan.selected:
        return NotChosen()
    host = Host(**{name: getattr(context.resources, name) for name in subtask.components})
    return outcome_of(subtask, host, plan.clock, plan.limits_of(subtask.name, shard), names=plan.shop.names)


def log_outcome(context: dg.OpExecutionContext, subtask: str, outcome: Outcome) -> None:
    """Log the error of a subtask that failed, or the counts of one that found work."""
    if isinstance(outcome, Failed):
        context.log.error("%s failed: %s", subtask, outcome.error)
    elif counts := format_counts(result_of(outcome).counts()):
        context.log.info("%s: %s", subtask, counts)


def _needs(subtask: Subtask) -> str:
    return ", ".join(" or ".join(need) for need in subtask.needs)
