"""Drains the email outbox: sends what is due."""

from mika_ops.clock import Clock
from mika_ops.host import Host
from mika_ops.outcome import SubtaskFailed, SubtaskResult
from mika_ops.ports import DrainedEmail
from mika_ops.rules import email
from mika_ops.subtasks.subtask import Limits, Subtask, piece


class EmailOutboxResult(SubtaskResult):
    """Emails taken and leased, and how each ended; ``items`` lists the first of them."""

    scanned: int = 0
    leased: int = 0
    sent: int = 0
    failed: int = 0
    skipped: int = 0
    lease_missed: int = 0
    lease_lost: int = 0
    released: int = 0
    malformed: int = 0
    has_more: bool = False
    stopped_reason: str | None = None
    items: tuple[DrainedEmail, ...] = ()
    malformed_ids: tuple[str, ...] = ()


def run(host: Host, clock: Clock, limits: Limits) -> EmailOutboxResult:
    """Drain the outbox. Raises ``SubtaskFailed`` where it had to stop early, with what was sent until then."""
    drained = piece(host.email_outbox).drain(clock, limit=limits.limit, spent=limits.spent)
    result = EmailOutboxResult(
        **{name: getattr(drained, name) for name in EmailOutboxResult.model_fields},
    )
    if drained.error is not None:
        raise SubtaskFailed(drained.error, result)
    return result


SUBTASK = Subtask(
    name="email_outbox",
    description="Sends the emails that are due, each leased before it is sent and recorded before the next.",
    needs=("email_outbox",),
    run=run,
    due=lambda now, _limits: email.due(now),
)
