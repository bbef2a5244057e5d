"""Purges expired ephemeral rows: tokens, rate limits, locks, nonces and cache markers."""

from mika_ops.clock import Clock
from mika_ops.host.host import Host
from mika_ops.subtasks.outcome import SubtaskResult
from mika_ops.subtasks.subtask import RunOptions, Subtask, required


class EphemeralRecordsResult(SubtaskResult):
    """Rows purged."""

    purged: int = 0


def run(host: Host, clock: Clock, limits: RunOptions) -> EphemeralRecordsResult:
    """Purge expired rows by the host's function, else by the ephemeral repository."""
    purge = host.ephemeral_purge or required(host.ephemeral)
    return EphemeralRecordsResult(purged=purge.purge_expired(due=clock.scheduled_at, out_of_time=limits.out_of_time))


SUBTASK = Subtask(
    name="ephemeral_records",
    description="Deletes expired tokens, rate limits, locks, nonces and cache markers.",
    needs=(("ephemeral_purge", "ephemeral"),),
    run=run,
    done=("purged",),
    secret_ids=True,
    limited=False,
)
