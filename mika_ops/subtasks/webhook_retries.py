"""Retries payment webhooks whose fulfilment is due for another try: a paid order that was never fulfilled."""

from mika_ops.clock import Clock
from mika_ops.host import Host
from mika_ops.outcome import SweptResult
from mika_ops.privacy import error_sentence
from mika_ops.rules import workflow
from mika_ops.subtasks.subtask import Limits, Subtask, piece
from mika_ops.sweep import Sweep

FAILED_NAMED = 20
BATCH = 50


class WebhookRetriesResult(SweptResult):
    """Workflows found due; those replayed, refused by the site, and out of attempts by the time of their turn."""

    retried: int = 0
    skipped_exhausted: int = 0
    failed: int = 0
    failed_ids: tuple[str, ...] = ()


def run(host: Host, clock: Clock, limits: Limits) -> WebhookRetriesResult:
    """Have the site replay each due webhook once, longest waiting first; one that fails does not stop the others."""
    ops, admin_api = piece(host.ops), piece(host.admin_api)
    sweep = Sweep(ops, workflow.retryable_webhooks(clock.scheduled_at), "webhook_retries", limits.limit, limits.spent)
    retried = skipped_exhausted = failed = 0
    named: list[str] = []
    for ids in sweep.batches(BATCH):
        documents = ops.read(ids)
        for document in (documents[id_] for id_ in ids if id_ in documents):
            webhook_id = workflow.webhook_of(document)
            if workflow.attempts_are_exhausted(document):
                skipped_exhausted += 1
            elif webhook_id is not None:
                try:
                    replayed = admin_api.replay_webhook(
                        webhook_id, idempotency_key=f"{limits.idempotency_key}:{webhook_id}"
                    )
                    error = None if replayed.ok else replayed.error or "refused without a reason"
                except Exception as failure:  # noqa: BLE001 - one webhook must not keep the others waiting
                    error = error_sentence(failure)
                if error is None:
                    retried += 1
                else:
                    failed += 1
                    named = [*named, f"{webhook_id}: {error}"][:FAILED_NAMED]
    return WebhookRetriesResult(
        retried=retried,
        skipped_exhausted=skipped_exhausted,
        failed=failed,
        failed_ids=tuple(named),
        **sweep.counts(),
    )


SUBTASK = Subtask(
    name="webhook_retries",
    description="Has the site replay payment webhooks whose fulfilment failed or was abandoned and is due again.",
    needs=("ops", "admin_api"),
    run=run,
    due=lambda now, _limits: workflow.retryable_webhooks(now),
)
