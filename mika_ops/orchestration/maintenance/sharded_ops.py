"""A subtask spread over workers: an op that counts what is due, one for each shard, and one that puts them together.

The last has the subtask's own name and says what the one op of a subtask says where nothing is spread, so that whatever
reads how a subtask ended need not know.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import dagster as dg

from mika_ops.config.settings import run_options_from
from mika_ops.documents import sharding
from mika_ops.orchestration.maintenance.launchpad import RUN_RESOURCE
from mika_ops.orchestration.maintenance.ops import (
    AFTER,
    BACKLOG,
    components_of,
    log_outcome,
    outcome_in,
)
from mika_ops.orchestration.maintenance.resources import RunPlan
from mika_ops.orchestration.outcomes import read_shard_outcomes, to_metadata
from mika_ops.redaction import describe_error
from mika_ops.subtasks.outcome import merge_outcomes
from mika_ops.subtasks.registry import due_selections
from mika_ops.subtasks.subtask import Subtask


@dataclass(frozen=True)
class ShardedOps:
    """The three ops of one subtask."""

    split: dg.OpDefinition
    shard: dg.OpDefinition
    together: dg.OpDefinition

    def after(self, last: Any, subtask: Subtask) -> Any:
        """Have the subtask done once ``last`` has ended, in the job that is being defined; return what ends it."""
        split = self.split() if last is None else self.split(**{AFTER: last})
        done = split.map(lambda shard: self.shard(**{AFTER: shard})).collect()
        return self.together.alias(subtask.name)(**{AFTER: done})


@cache
def sharded_ops(subtask: Subtask) -> ShardedOps:
    """Return the ops of a subtask that is spread. The jobs of several shops share them."""
    return ShardedOps(_split(subtask), _shard(subtask), _together(subtask))


def _split(subtask: Subtask) -> dg.OpDefinition:
    @dg.op(
        name=f"{subtask.name}_shards",
        description=f"Splits {subtask.name} into shards: no more than documents are due, and than MIKA_SHARDS.",
        required_resource_keys={RUN_RESOURCE, BACKLOG},
        ins={AFTER: dg.In(dg.Nothing, description="Subtasks run one after the other.")},
        out=dg.DynamicOut(dg.Nothing, description="A shard each."),
    )
    def split(context: dg.OpExecutionContext) -> Any:
        plan: RunPlan = getattr(context.resources, RUN_RESOURCE)
        for shard in sharding.all_shards(sharding.useful_shards(plan.settings.shards, _due(context, plan, subtask))):
            yield dg.DynamicOutput(None, mapping_key=str(shard))

    return split


def _due(context: dg.OpExecutionContext, plan: RunPlan, subtask: Subtask) -> int:
    """Return how many documents wait, or as many as there are shards where that cannot be told."""
    reader, now = getattr(context.resources, BACKLOG), plan.clock.scheduled_at
    if subtask.name not in plan.selected:
        return 0
    if reader is None:
        return plan.settings.shards
    selection = due_selections(now, run_options_from(plan.settings))[subtask.name]
    try:
        due = reader.read({subtask.name: selection}, now=now).due.get(subtask.name)
    except Exception as failure:  # noqa: BLE001 - the shards show what is wrong with the shop
        context.log.warning("what is due could not be counted: %s", describe_error(failure))
        return plan.settings.shards
    return plan.settings.shards if due is None else due.count


def _shard(subtask: Subtask) -> dg.OpDefinition:
    pieces = components_of(subtask)

    @dg.op(
        name=f"{subtask.name}_shard",
        description=f"Does one shard of {subtask.name}. {subtask.description}",
        required_resource_keys={RUN_RESOURCE, *pieces},
        ins={AFTER: dg.In(dg.Nothing, description="The shard.")},
        out=dg.Out(dg.Nothing, description="How the shard ended, as metadata: status, counts, reason or error."),
        pool=f"mika_{subtask.name}",
    )
    def do_shard(context: dg.OpExecutionContext) -> dg.Output[None]:
        outcome = outcome_in(context, subtask, sharding.Shard.parse(context.get_mapping_key() or ""))
        return dg.Output(None, metadata=to_metadata(outcome))

    return do_shard


def _together(subtask: Subtask) -> dg.OpDefinition:
    @dg.op(
        name=f"{subtask.name}_together",
        description=f"{subtask.description}\n\nAdds up what its shards did.",
        ins={AFTER: dg.In(dg.Nothing, description="All shards have ended.")},
        out=dg.Out(dg.Nothing, description="How the subtask ended, as metadata: status, counts, reason or error."),
    )
    def together(context: dg.OpExecutionContext) -> dg.Output[None]:
        outcome = merge_outcomes(read_shard_outcomes(context.instance, context.run_id, f"{subtask.name}_shard"))
        log_outcome(context, subtask.name, outcome)
        return dg.Output(None, metadata=to_metadata(outcome))

    return together
