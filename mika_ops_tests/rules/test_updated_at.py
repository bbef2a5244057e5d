"""Every rule that changes a document stamps ``updatedAt`` with its time (behaviour, section 1)."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from mika_ops.documents.document import Document
from mika_ops.rules import account_delete, acp_session, personal_data, webhook, workflow
from mika_ops.rules import email as emails
from mika_ops.rules.account_delete import CompletedStep
from mika_ops_testing import builders
from mika_ops_testing.builders import NOW, aggregated, delete_request, email, order, recorded

SENTINEL = "account-deleted:customer_ada"
MINUTE = timedelta(minutes=1)
STEPS = {"tokensDeleted": CompletedStep(1, NOW)}

CHANGES: dict[str, Callable[[], Document]] = {
    "email leased": lambda: emails.leased(email(), key="worker-1", now=NOW, lease=MINUTE),
    "email given back": lambda: emails.given_back(email(), before=email(), now=NOW),
    "email sent": lambda: emails.sent(email(), now=NOW, provider_message_id=None),
    "email skipped": lambda: emails.skipped(email(), reason="no link", now=NOW),
    "email failed": lambda: emails.failed(email(), error="refused", now=NOW, retry_after=MINUTE),
    "email reclaimed": lambda: emails.reclaimed(email(), now=NOW),
    "email requeued": lambda: emails.requeued(email(), by="grace", now=NOW),
    "email redacted": lambda: personal_data.redacted_email(email(), now=NOW),
    "export redacted": lambda: personal_data.redacted_export(recorded("accountExport", (), {"id": "e"}), now=NOW),
    "order anonymized": lambda: personal_data.anonymized_order(order(), SENTINEL, now=NOW, complete=True),
    "entitlement anonymized": lambda: personal_data.anonymized_entitlement(
        recorded("entitlement", (), {"id": "e"}), SENTINEL, now=NOW
    ),
    "license anonymized": lambda: personal_data.anonymized_license(
        recorded("license", (), {"id": "l"}), SENTINEL, now=NOW
    ),
    "customer anonymized": lambda: personal_data.anonymized_customer(
        aggregated("customer", "c", {}), now=NOW, complete=True
    ),
    "aggregate anonymized": lambda: personal_data.anonymized_aggregate(aggregated("cart", "c", {}), SENTINEL, now=NOW),
    "payload purged": lambda: webhook.purged(builders.webhook(), now=NOW),
    "workflow reclaimed": lambda: workflow.reclaimed(builders.workflow(), now=NOW),
    "session expired": lambda: acp_session.expired(builders.acp_session(), now=NOW, purge_after=MINUTE),
    "steps recorded": lambda: account_delete.with_steps(delete_request(), STEPS, now=NOW),
    "request completed": lambda: account_delete.completed(delete_request(), STEPS, {}, now=NOW),
    "request failed": lambda: account_delete.failed(delete_request(), error="refused", now=NOW),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_stamps_the_document(change: str) -> None:
    assert CHANGES[change]()["updatedAt"] == NOW
