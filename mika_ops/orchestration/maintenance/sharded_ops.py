"""A subtask that is split into shards: one op counts what is due, one runs each shard, and one merges their outcomes.

The last op has the name of the subtask, and its output is that of an unsplit subtask. So a reader of outcomes need not
know whether a subtask was split.
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
    execute_subtask,
    log_outcome,
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
    merge: dg.OpDefinition

    def after(self, last: Any, subtask: Subtask) -> Any:
        """Add the ops to the job that is being defined, to run after ``last``; return the output of the final op."""
        split = self.split() if last is None else self.split(**{AFTER: last})
        shards = split.map(lambda shard: self.shard(**{AFTER: shard})).collect()
        return self.merge.alias(subtask.name)(**{AFTER: shards})


@cache
def sharded_ops(subtask: Subtask) -> ShardedOps:
    """Return the ops of a subtask that is split. The jobs of several shops share them."""
    return ShardedOps(_split(subtask), _shard(subtask), _merge(subtask))


def _split(subtask: Subtask) -> dg.OpDefinition:
    @dg.op(
        name=f"{subtask.name}_shards",
        description=(
            f"Splits {subtask.name} into shards: at most as many as the setting `shards`, and not more than due "
            "documents."
        ),
        required_resource_keys={RUN_RESOURCE, BACKLOG},
        ins={AFTER: dg.In(dg.Nothing, description="The subtask before. Subtasks run in sequence.")},
        out=dg.DynamicOut(dg.Nothing, description="One output for each shard."),
    )
    def split(context: dg.OpExecutionContext) -> Any:
        plan: RunPlan = getattr(context.resources, RUN_RESOURCE)
        useful = sharding.useful_shards(plan.shop.settings.shards, _due(context, plan, subtask))
        for shard in sharding.all_shards(useful):
            yield dg.DynamicOutput(None, mapping_key=str(shard))

    return split


def _due(context: dg.OpExecutionContext, plan: RunPlan, subtask: Subtask) -> int:
    """Return how many documents are due, or the number of shards if that cannot be read."""
    reader, now = getattr(context.resources, BACKLOG), plan.clock.scheduled_at
    if subtask.name not in plan.selected:
        return 0
    if reader is None:
        return plan.shop.settings.shards
    selection = due_selections(now, run_options_from(plan.shop.settings))[subtask.name]
    try:
        due = reader.read({subtask.name: selection}, now=now).due.get(subtask.name)
    except Exception as failure:  # noqa: BLE001 - the shards then report the error
        context.log.warning("cannot count what is due, so all shards are used: %s", describe_error(failure))
        return plan.shop.settings.shards
    return plan.shop.settings.shards if due is None else due.count


def _shard(subtask: Subtask) -> dg.OpDefinition:
    @dg.op(
        name=f"{subtask.name}_shard",
        description=f"Runs one shard of {subtask.name}. {subtask.description}",
        required_resource_keys={RUN_RESOURCE, *subtask.components},
        ins={AFTER: dg.In(dg.Nothing, description="The shard to run.")},
        out=dg.Out(
            dg.Nothing, description="The outcome of the shard as metadata: status, duration, counts, reason or error."
        ),
        pool=f"mika_{subtask.name}",
    )
    def run_shard(context: dg.OpExecutionContext) -> dg.Output[None]:
        outcome = execute_subtask(context, subtask, sharding.Shard.parse(context.get_mapping_key() or ""))
        return dg.Output(None, metadata=to_metadata(outcome))

    return run_shard


def _merge(subtask: Subtask) -> dg.OpDefinition:
    @dg.op(
        name=f"{subtask.name}_together",
        description=f"{subtask.description}\n\nMerges the outcomes of the shards.",
        ins={AFTER: dg.In(dg.Nothing, description="All shards of the subtask.")},
        out=dg.Out(
            dg.Nothing, description="The outcome as metadata: status, duration, counts, and the reason or the error."
        ),
    )
    def merge(context: dg.OpExecutionContext) -> dg.Output[None]:
        outcome = merge_outcomes(read_shard_outcomes(context.instance, context.run_id, f"{subtask.name}_shard"))
        log_outcome(context, subtask.name, outcome)
        return dg.Output(None, metadata=to_metadata(outcome))

    return merge
