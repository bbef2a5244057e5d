"""Marks emails as permanently failed whose last lease lapsed with no attempt left: they need manual action."""

from mika_ops.clock import Clock
from mika_ops.documents.sweep import Sweep
from mika_ops.host.host import Host
from mika_ops.rules import email
from mika_ops.subtasks.outcome import SweptResult
from mika_ops.subtasks.subtask import RunOptions, Subtask, required


class StuckEmailsResult(SweptResult):
    """Emails found stuck, and marked as permanently failed."""

    reclaimed: int = 0


def run(host: Host, clock: Clock, limits: RunOptions) -> StuckEmailsResult:
    """Reclaim stuck emails, oldest first."""
    sweep = Sweep(
        required(host.ops), email.STUCK.at(clock.scheduled_at), "stuck_emails", limits.limit, limits.out_of_time
    )
    sweep.change(lambda document: email.reclaimed(document, now=clock.stamp()))
    return StuckEmailsResult(reclaimed=sweep.changed, **sweep.counts())


SUBTASK = Subtask(
    name="stuck_emails",
    description="Marks emails failed that exhausted their leases: the sender stopped in every attempt.",
    needs=(("ops",),),
    run=run,
    done=("reclaimed",),
    due=lambda now, _limits: email.STUCK.at(now),
)
