"""Drains the email outbox: sends what is due."""

from mika_ops.clock import Clock
from mika_ops.host import Host
from mika_ops.outcome import SubtaskFailed
from mika_ops.ports import DrainedOutbox, EmailOutbox, ShardableOutbox
from mika_ops.rules import email
from mika_ops.subtasks.subtask import Limits, Subtask, piece


def run(host: Host, clock: Clock, limits: Limits) -> DrainedOutbox:
    """Drain the outbox. Raises ``SubtaskFailed`` where it had to stop early, with what was sent until then."""
    outbox: EmailOutbox = piece(host.email_outbox)
    if limits.shard is not None:
        if isinstance(outbox, ShardableOutbox):
            outbox = outbox.for_shard(limits.shard)
        elif limits.shard.index > 0:
            # A host's own outbox that cannot be split is drained by one worker alone.
            return DrainedOutbox()
    drained = outbox.drain(clock, limit=limits.limit, spent=limits.spent)
    if drained.error is not None:
        raise SubtaskFailed(drained.error, drained)
    return drained


SUBTASK = Subtask(
    name="email_outbox",
    description="Sends the emails that are due, each leased before it is sent and recorded before the next.",
    needs=("email_outbox",),
    run=run,
    done=("sent",),
    due=lambda now, _limits: email.due(now),
    shardable=True,
)
