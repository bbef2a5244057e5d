"""Retries payment webhooks whose fulfilment is due for a retry: a paid order that was never fulfilled."""

from mika_ops.clock import Clock
from mika_ops.documents.sweep import IDS_NAMED, Sweep
from mika_ops.host.host import Host
from mika_ops.ports.admin_api import AdminApi
from mika_ops.redaction import describe_error, redact
from mika_ops.rules import workflow
from mika_ops.subtasks.outcome import SweptResult
from mika_ops.subtasks.subtask import RunOptions, Subtask, required


class WebhookRetriesResult(SweptResult):
    """Workflows that are due, replayed, refused by the site, and out of attempts when read."""

    retried: int = 0
    skipped_exhausted: int = 0
    failed: int = 0
    failed_ids: tuple[str, ...] = ()


def run(host: Host, clock: Clock, limits: RunOptions) -> WebhookRetriesResult:
    """Have the site replay each due webhook once, longest waiting first; a failure does not stop the others."""
    ops, admin_api = required(host.ops), required(host.admin_api)
    sweep = Sweep(
        ops,
        workflow.RETRYABLE_WEBHOOKS.at(clock.scheduled_at),
        "webhook_retries",
        limits.limit,
        limits.out_of_time,
        shard=limits.shard,
    )
    retried = skipped_exhausted = failed = 0
    named: list[str] = []
    # One at a time, since each may take long: each is read just before its replay, and only while there is time.
    for ids in sweep.batches(1):
        for webhook_id, document in ((workflow.webhook_of(each), each) for each in ops.read(ids).values()):
            if workflow.is_exhausted(document):
                skipped_exhausted += 1
            elif webhook_id is not None and sweep.selection.takes(document):
                key = limits.idempotency_key(clock, webhook_id, workflow.attempts_made(document))
                error = _replay(admin_api, webhook_id, idempotency_key=key)
                if error is None:
                    retried += 1
                else:
                    failed += 1
                    named = [*named, f"{webhook_id}: {error}"][:IDS_NAMED]
    return WebhookRetriesResult(
        retried=retried,
        skipped_exhausted=skipped_exhausted,
        failed=failed,
        failed_ids=tuple(named),
        **sweep.counts(),
    )


def _replay(admin_api: AdminApi, webhook_id: str, *, idempotency_key: str) -> str | None:
    """Have the site replay one webhook; return why it failed, or ``None``. One failure must not stop the others."""
    try:
        replayed = admin_api.replay_webhook(webhook_id, idempotency_key=idempotency_key)
    except Exception as failure:  # noqa: BLE001 - see above
        return describe_error(failure)
    return None if replayed.ok else redact(replayed.error or "refused without a reason")


SUBTASK = Subtask(
    name="webhook_retries",
    description="Has the site replay payment webhooks whose fulfilment failed or was abandoned and is due again.",
    needs=(("ops",), ("admin_api",)),
    run=run,
    done=("retried",),
    due=lambda now, _limits: workflow.RETRYABLE_WEBHOOKS.at(now),
    shardable=True,
)
