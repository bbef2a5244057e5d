"""Purges expired ephemeral rows: tokens, rate limits, locks, nonces and cache markers."""

from mika_ops.clock import Clock
from mika_ops.host.host import Host
from mika_ops.subtasks.outcome import SubtaskResult
from mika_ops.subtasks.subtask import Limits, Subtask, piece


class EphemeralRecordsResult(SubtaskResult):
    """Rows purged."""

    purged: int = 0


def run(host: Host, clock: Clock, limits: Limits) -> EphemeralRecordsResult:
    """Purge expired rows by the host's function, else by the ephemeral repository."""
    purge = host.ephemeral_purge or piece(host.ephemeral)
    return EphemeralRecordsResult(purged=purge.purge_expired(due=clock.scheduled_at, spent=limits.spent))


SUBTASK = Subtask(
    name="ephemeral_records",
    description="Deletes expired tokens, rate limits, locks, nonces and cache markers.",
    needs=(("ephemeral_purge", "ephemeral"),),
    run=run,
    done=("purged",),
    limited=False,
)
