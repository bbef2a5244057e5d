"""The job ``mika_maintenance``: the nine subtasks one after the other, then the summary."""

from typing import Final

import dagster as dg

from mika_ops.orchestration.config import launchpad
from mika_ops.orchestration.ops import AFTER, ops_for, summary
from mika_ops.subtasks.registry import SUBTASKS

JOB_NAME: Final = "mika_maintenance"


def maintenance_job(*, console_level: str = "INFO") -> dg.JobDefinition:
    """Return the job. All of it runs in one process: a process for each op would cost ten times the CPU.

    ``console_level``: the least that a run prints; its history has everything.
    """

    @dg.job(
        name=JOB_NAME,
        description=(
            "Maintains a Mika storefront on its own database. Every subtask ends completed, failed or skipped, and "
            "none keeps another from running; a failed release of stock fails the run once all have run."
        ),
        config=launchpad(console_level),
        executor_def=dg.in_process_executor,
        tags={"mika": "maintenance"},
    )
    def mika_maintenance() -> None:
        last = None
        for op in [*ops_for(SUBTASKS), summary]:
            # An order-only dependency: the subtasks see each other's changes, whatever the executor.
            last = op() if last is None else op(**{AFTER: last})

    return mika_maintenance
