"""Every rule that changes a document stamps ``updatedAt`` with its time (behaviour, section 1)."""

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

CHANGED: dict[str, Document] = {
    "email leased": emails.leased(email(), key="worker-1", now=NOW, lease=MINUTE),
    "email given back": emails.given_back(email(), before=email(), now=NOW),
    "email sent": emails.sent(email(), now=NOW, provider_message_id=None),
    "email skipped": emails.skipped(email(), reason="no link", now=NOW),
    "email failed": emails.failed(email(), error="refused", now=NOW, retry_after=MINUTE),
    "email reclaimed": emails.reclaimed(email(), now=NOW),
    "email requeued": emails.requeued(email(), by="grace", now=NOW),
    "email redacted": personal_data.redacted_email(email(), now=NOW),
    "export redacted": personal_data.redacted_export(recorded("accountExport", (), {"id": "e"}), now=NOW),
    "order anonymized": personal_data.anonymized_order(order(), SENTINEL, now=NOW, complete=True),
    "entitlement anonymized": personal_data.anonymized_entitlement(
        recorded("entitlement", (), {"id": "e"}), SENTINEL, now=NOW
    ),
    "license anonymized": personal_data.anonymized_license(recorded("license", (), {"id": "l"}), SENTINEL, now=NOW),
    "customer anonymized": personal_data.anonymized_customer(aggregated("customer", "c", {}), now=NOW, complete=True),
    "aggregate anonymized": personal_data.anonymized_aggregate(aggregated("cart", "c", {}), SENTINEL, now=NOW),
    "payload purged": webhook.purged(builders.webhook(), now=NOW),
    "workflow reclaimed": workflow.reclaimed(builders.workflow(), now=NOW),
    "session expired": acp_session.expired(builders.acp_session(), now=NOW, purge_after=MINUTE),
    "steps recorded": account_delete.with_steps(delete_request(), STEPS, now=NOW),
    "request completed": account_delete.completed(delete_request(), STEPS, {}, now=NOW),
    "request failed": account_delete.failed(delete_request(), error="refused", now=NOW),
}


@pytest.mark.parametrize("change", CHANGED)
def test_a_change_stamps_the_document(change: str) -> None:
    assert CHANGED[change]["updatedAt"] == NOW
