"""What hangs on a person's orders: webhooks and checkouts, and what the reference leaves in exports and requests.

Source: deviations, number 17.
"""

from typing import Any, Final

from mika_ops.documents.document import ABSENT, Document, metadata_of, patched, record_of, with_record
from mika_ops.rules import personal_data, webhook
from mika_ops.rules.account_delete import MIRRORED as REQUEST_MIRRORED
from mika_ops.timestamps import Timestamp

CHECKOUT_CUSTOMER_START: Final = "checkoutCustomer"
"""How the keys start that a checkout's metadata has for its customer: ``checkoutCustomerEmail``, and so on."""

_IN_PAYLOADS: Final = frozenset(
    {*personal_data.PERSONAL, "customer", "customerEmail", "receiptEmail", "raw"} - {"name", "description"}
)
"""What a webhook's payload says of a person, at any depth. Products have names, too."""


def redacted_webhook(document: Document, *, now: Timestamp) -> Document:
    """Take the customer out of a webhook's payload, and the raw payload as a whole; what was paid stays."""
    record = record_of(document)
    normalized = record.get("normalizedPayloadJson")
    patch: dict[str, Any] = {}
    if isinstance(normalized, dict):
        patch["normalizedPayloadJson"] = _without_people(normalized)
    elif normalized is not None:
        patch["normalizedPayloadJson"] = ABSENT
    if record.get("lastError"):
        # A provider may have put anything into it.
        patch["lastError"] = personal_data.REDACTED_ERROR
    if record.get("rawPayloadJson") is not None:
        patch |= {"rawPayloadJson": ABSENT, "rawPayloadPurgedAt": now}
    return with_record(document, patch, mirrored=webhook.MIRRORED, now=now)


def anonymized_checkout(checkout: Document, sentinel: str, *, now: Timestamp) -> Document:
    """Take the customer out of a checkout, a guest's too: out of its keys, its blocks and its metadata."""
    document = personal_data.anonymized_aggregate(checkout, sentinel, now=now)
    aggregate = document.get("aggregate")
    if not isinstance(aggregate, dict) or not isinstance(aggregate.get("metadata"), dict):
        return document
    kept = {key: value for key, value in aggregate["metadata"].items() if not key.startswith(CHECKOUT_CUSTOMER_START)}
    return {**document, "aggregate": {**aggregate, "metadata": kept}}


def nameless_export(export: Document, *, now: Timestamp) -> Document:
    """Expire an account export, where it is not, and forget the person's user id and email hash."""
    record = record_of(export)
    is_open = export.get("status") != "expired" or record.get("artifactRef") is not None
    redacted = personal_data.redacted_export(export, now=now) if is_open else export
    keys = {"userId": ABSENT, "emailHash": ABSENT}
    return patched(redacted, {**keys, "record": patched(record_of(redacted), keys), "updatedAt": now})


def nameless_request(request: Document, *, now: Timestamp) -> Document:
    """Forget the keys of an earlier request of the same person; one that still waits is left as it is."""
    if request.get("status") in ("queued", "confirmed"):
        return request
    keys = {"userId": ABSENT, "emailHash": ABSENT, "confirmTokenHash": ABSENT}
    return with_record(request, keys, mirrored=REQUEST_MIRRORED, now=now)


def nameless_customer(customer: Document, *, now: Timestamp) -> Document:
    """Anonymize a customer document completely; one that was anonymized before keeps the time."""
    changed = personal_data.anonymized_customer(customer, now=now, complete=True)
    aggregate = customer.get("aggregate")
    anonymized_at = metadata_of(aggregate).get("anonymizedAt") if isinstance(aggregate, dict) else None
    if anonymized_at is None:
        return changed
    metadata = {**changed["aggregate"]["metadata"], "anonymizedAt": anonymized_at}
    return {**changed, "aggregate": {**changed["aggregate"], "metadata": metadata}}


def _without_people(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_people(inner) for key, inner in value.items() if key not in _IN_PAYLOADS}
    if isinstance(value, list):
        return [_without_people(inner) for inner in value]
    return value
