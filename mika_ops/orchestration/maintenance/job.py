"""The job ``mika_maintenance``: the subtasks in sequence, then the summary."""

from collections.abc import Mapping
from typing import Final

import dagster as dg

from mika_ops.orchestration.execution.cancellation import cancel_on_interrupt
from mika_ops.orchestration.maintenance.launchpad import launchpad
from mika_ops.orchestration.maintenance.ops import AFTER, op_for
from mika_ops.orchestration.maintenance.sharded_ops import sharded_ops
from mika_ops.orchestration.maintenance.summary import summary
from mika_ops.orchestration.tags import MAINTAINS_TAG, SHOP_TAG
from mika_ops.subtasks.registry import SUBTASKS

JOB_NAME: Final = "mika_maintenance"


def maintenance_job(
    *,
    shop_name: str | None = None,
    resources: Mapping[str, dg.ResourceDefinition] | None = None,
    console_level: str = "INFO",
    shards: int = 1,
    executor: dg.ExecutorDefinition = dg.in_process_executor,
) -> dg.JobDefinition:
    """Return the job. By default it runs in one process: a process per op would cost ten times the CPU.

    ``shop_name`` is set if the code location has several shops. Each then has ``resources`` of its own; a single shop
    uses those of the code location. ``console_level``: the lowest level that a run prints; its event log keeps
    everything. With several ``shards``, the subtasks that can be split run on the workers of ``executor``.
    """

    whose = "the Mika storefront" if shop_name is None else f"the shop {shop_name}"

    @dg.job(
        name=JOB_NAME if shop_name is None else f"{JOB_NAME}_{shop_name}",
        description=(
            f"Runs the maintenance subtasks of {whose} in "
            "sequence. A subtask that fails does not stop the others. The run fails, after all subtasks have run, only "
            "if the release of expired stock reservations failed."
        ),
        config=launchpad(console_level),
        executor_def=cancel_on_interrupt(executor),
        resource_defs=resources,
        tags={MAINTAINS_TAG: "the shop"} if shop_name is None else {MAINTAINS_TAG: shop_name, SHOP_TAG: shop_name},
    )
    def mika_maintenance() -> None:
        last = None
        # Order-only dependencies: with every executor, each subtask sees the changes of those before.
        for subtask in SUBTASKS:
            if subtask.shardable and shards > 1:
                last = sharded_ops(subtask).after(last, subtask)
            else:
                last = op_for(subtask)() if last is None else op_for(subtask)(**{AFTER: last})
        summary(**{AFTER: last})

    return mika_maintenance
