"""Drains the email outbox: sends what is due."""

from mika_ops.clock import Clock
from mika_ops.host.host import Host
from mika_ops.ports.email import DrainedEmail, EmailOutbox, ShardableOutbox
from mika_ops.rules import email
from mika_ops.subtasks.outcome import SubtaskFailed, SweptResult
from mika_ops.subtasks.subtask import RunOptions, Subtask, required


class EmailOutboxResult(SweptResult):
    """The counts of a drain, and why it stopped early, as in ``DrainedOutbox``."""

    leased: int = 0
    sent: int = 0
    failed: int = 0
    skipped: int = 0
    lease_missed: int = 0
    lease_lost: int = 0
    released: int = 0
    withheld: int = 0
    items: tuple[DrainedEmail, ...] = ()
    stopped_reason: str | None = None


def run(host: Host, clock: Clock, limits: RunOptions) -> EmailOutboxResult:
    """Drain the outbox. Raises ``SubtaskFailed`` with the counts so far if the drain fails."""
    outbox: EmailOutbox = required(host.email_outbox)
    if limits.shard is not None:
        if isinstance(outbox, ShardableOutbox):
            outbox = outbox.for_shard(limits.shard)
        elif limits.shard.index > 0:
            # A host's outbox that cannot be sharded is drained by one worker.
            return EmailOutboxResult()
    drained = outbox.drain(clock, limit=limits.limit, out_of_time=limits.out_of_time)
    result = EmailOutboxResult(**{name: getattr(drained, name) for name in EmailOutboxResult.model_fields})
    if drained.error is not None:
        raise SubtaskFailed(drained.error, result)
    return result


SUBTASK = Subtask(
    name="email_outbox",
    description="Sends the emails that are due, each leased before it is sent and recorded before the next.",
    needs=(("email_outbox",),),
    run=run,
    done=("sent",),
    due=lambda now, _limits: email.DUE.at(now),
    permanently_failed=email.dead_letters(),
    shardable=True,
)
