"""Purges the raw payloads of payment webhooks once their retention is over: they hold customers' data."""

from mika_ops.clock import Clock
from mika_ops.documents.selection import Selection
from mika_ops.documents.sweep import Sweep
from mika_ops.host.host import Host
from mika_ops.rules import webhook
from mika_ops.subtasks.outcome import SweptResult
from mika_ops.subtasks.subtask import RunOptions, Subtask, required
from mika_ops.timestamps import Timestamp


class RawProviderPayloadsResult(SweptResult):
    """Webhooks past their retention, and purged."""

    purged: int = 0


def run(host: Host, clock: Clock, limits: RunOptions) -> RawProviderPayloadsResult:
    """Purge raw payloads, oldest first."""
    sweep = Sweep(
        required(host.ops),
        due(clock.scheduled_at, limits),
        "raw_provider_payloads",
        limits.limit,
        limits.out_of_time,
        shard=limits.shard,
        steals_work=True,
    )
    sweep.change(lambda document: webhook.purged(document, now=clock.stamp()))
    return RawProviderPayloadsResult(purged=sweep.changed, **sweep.counts())


def due(now: Timestamp, limits: RunOptions) -> Selection:
    """Select what is past the retention at ``now``."""
    return webhook.PURGEABLE.at(webhook.retention_cutoff(now, limits.raw_payload_retention_days))


SUBTASK = Subtask(
    name="raw_provider_payloads",
    description="Removes the raw payloads of processed payment webhooks after their retention (14 days by default).",
    needs=(("ops",),),
    run=run,
    done=("purged",),
    due=due,
    shardable=True,
)
