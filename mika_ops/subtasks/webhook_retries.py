"""Retries payment webhooks whose fulfilment is due for a retry: a paid order that was never fulfilled."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from mika_ops.clock import Clock
from mika_ops.documents.document import MalformedDocument, is_storable
from mika_ops.documents.repository import DocumentRepository
from mika_ops.documents.sweep import IDS_NAMED, Sweep
from mika_ops.host.host import Host
from mika_ops.ports.admin_api import AdminApi
from mika_ops.redaction import describe_error, redact
from mika_ops.rules import webhook, workflow
from mika_ops.subtasks.outcome import SweptResult
from mika_ops.subtasks.subtask import RunOptions, Subtask, required

_NO_REASON: Final = "the replay failed and neither the site nor the webhook says why: check it in the site's admin"


class WebhookRetriesResult(SweptResult):
    """Workflows that are due, and what became of them.

    ``retried``: their webhooks were replayed and processed. ``not_eligible``: the site had processed the webhook
    before, so that a replay does not complete the workflow. ``still_running``: the site is at work on it.
    ``skipped_exhausted``: no attempt was left when read. ``failed``: the replay failed, or the site refused it.
    """

    retried: int = 0
    not_eligible: int = 0
    still_running: int = 0
    skipped_exhausted: int = 0
    failed: int = 0
    not_eligible_ids: tuple[str, ...] = ()
    failed_ids: tuple[str, ...] = ()


def run(host: Host, clock: Clock, limits: RunOptions) -> WebhookRetriesResult:
    """Have the site replay each due webhook once, longest waiting first; a failure does not stop the others."""
    ops = required(host.ops)
    replays = _Replays(ops, required(host.admin_api))
    sweep = Sweep(
        ops,
        workflow.RETRYABLE_WEBHOOKS.at(clock.scheduled_at),
        "webhook_retries",
        limits.limit,
        limits.out_of_time,
        shard=limits.shard,
    )
    skipped_exhausted = 0
    # One at a time, since each may take long: each is read just before its replay, and only while there is time.
    for ids in sweep.batches(1):
        for webhook_id, document in ((workflow.webhook_of(each), each) for each in ops.read(ids).values()):
            if workflow.is_exhausted(document):
                skipped_exhausted += 1
            elif webhook_id is not None and sweep.selection.takes(document):
                sweep.note_age(document)
                key = limits.idempotency_key(clock, webhook_id, workflow.attempts_made(document))
                replays.make(webhook_id, idempotency_key=key)
    return WebhookRetriesResult(
        **replays.counts,
        skipped_exhausted=skipped_exhausted,
        not_eligible_ids=tuple(replays.not_eligible),
        failed_ids=tuple(replays.failed),
        **sweep.counts(),
    )


@dataclass
class _Replays:
    """Has webhooks replayed, and counts what became of each: the counts are fields of ``WebhookRetriesResult``."""

    ops: DocumentRepository
    admin_api: AdminApi
    counts: Counter[str] = field(default_factory=Counter)
    not_eligible: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def make(self, webhook_id: str, *, idempotency_key: str) -> None:
        """Have one webhook replayed. Does not raise what the admin API raises: it counts as failed."""
        try:
            replayed = self.admin_api.replay_webhook(webhook_id, idempotency_key=idempotency_key)
        except Exception as failure:  # noqa: BLE001 - one failure must not stop the others
            self._fail(webhook_id, describe_error(failure))
            return
        if not replayed.ok:
            self._fail(webhook_id, replayed.error)
        elif replayed.unprocessed == "running":
            self.counts["still_running"] += 1
        elif replayed.unprocessed == "not_eligible":
            self.counts["not_eligible"] += 1
            self.not_eligible = [*self.not_eligible, webhook_id][:IDS_NAMED]
        else:
            self.counts["retried"] += 1

    def _fail(self, webhook_id: str, error: str | None) -> None:
        self.counts["failed"] += 1
        if len(self.failed) < IDS_NAMED:
            self.failed.append(f"{webhook_id}: {redact(error or self._last_error(webhook_id) or _NO_REASON)}")

    def _last_error(self, webhook_id: str) -> str | None:
        """Return the reason that Mika recorded with the webhook: its answer holds none for most failures."""
        document = self.ops.read([webhook_id]).get(webhook_id) if is_storable(webhook_id) else None
        try:
            return None if document is None else webhook.last_error(document)
        except MalformedDocument:
            return None


SUBTASK = Subtask(
    name="webhook_retries",
    description="Has the site replay payment webhooks whose fulfilment failed or was abandoned and is due again.",
    needs=(("ops",), ("admin_api",)),
    run=run,
    done=("retried",),
    due=lambda now, _limits: workflow.RETRYABLE_WEBHOOKS.at(now),
    shardable=True,
)
