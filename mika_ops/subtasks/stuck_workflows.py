"""Marks workflows as permanently failed whose last lease lapsed with no attempt left: they need manual action."""

from mika_ops.clock import Clock
from mika_ops.documents.sweep import Sweep
from mika_ops.host.host import Host
from mika_ops.rules import workflow
from mika_ops.subtasks.outcome import SweptResult
from mika_ops.subtasks.subtask import RunOptions, Subtask, required


class StuckWorkflowsResult(SweptResult):
    """Workflows found stuck, and marked as permanently failed."""

    reclaimed: int = 0


def run(host: Host, clock: Clock, limits: RunOptions) -> StuckWorkflowsResult:
    """Reclaim stuck workflows, oldest lease first."""
    sweep = Sweep(
        required(host.ops), workflow.STUCK.at(clock.scheduled_at), "stuck_workflows", limits.limit, limits.out_of_time
    )
    sweep.change(lambda document: workflow.reclaimed(document, now=clock.stamp()))
    return StuckWorkflowsResult(reclaimed=sweep.changed, **sweep.counts())


SUBTASK = Subtask(
    name="stuck_workflows",
    description="Marks workflows failed that exhausted their leases: the worker stopped in every attempt.",
    needs=(("ops",),),
    run=run,
    done=("reclaimed",),
    due=lambda now, _limits: workflow.STUCK.at(now),
    permanently_failed=workflow.PERMANENTLY_FAILED,
)
