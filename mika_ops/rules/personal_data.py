"""Taking a person out of the shop's documents: whose a document is, and what it looks like without them.

Each function changes one document. ``anonymized`` keeps the document for the shop's books, with a *sentinel* in the
place of the person's keys; ``redacted`` keeps only that there was one.

Source: behaviour, section 8; what goes beyond the eight steps there: deviations, number 6.
"""

from collections.abc import Mapping
from typing import Any, Final

from mika_ops.documents.document import ABSENT, Document, metadata_of, object_at, patched, record_of, with_record
from mika_ops.documents.selection import NoneOf, OneOf, top
from mika_ops.rules.account_delete import Identity
from mika_ops.rules.email import MIRRORED as EMAIL_MIRRORED
from mika_ops.timestamps import Timestamp

LIVE_SUBSCRIPTION: Final = NoneOf(top("status"), ("cancelled", "expired"))
CHECKOUT_IN_PROGRESS: Final = OneOf(top("status"), ("checkout_pending",))

EXPORT_MIRRORED: Final = ("status", "expiresAt")

REDACTED_SUBJECT: Final = "Redacted message"
REDACTED_ERROR: Final = "Redacted: the account was deleted."

_CONTACT: Final = ("email", "name", "company", "vatId")
"""What a customer block says of a person in orders and in the customer document."""

PERSONAL: Final = (
    *_CONTACT,
    "firstName",
    "lastName",
    "phone",
    "address",
    "billingAddress",
    "shippingAddress",
    "buyer",
    "contact",
    "emailSnapshot",
)
"""What any document may say of a person, but by keys."""


def owns_email(identity: Identity, email: Document) -> bool:
    """Say whether an email was written to the person."""
    record = email.get("record")
    if not isinstance(record, dict):
        return False
    metadata = metadata_of(record)
    return (
        _same(record.get("customerId"), identity.customer_id)
        or _same(metadata.get("userId"), identity.user_id)
        or _same(metadata.get("emailHash"), identity.email_hash)
    )


def redacted_email(email: Document, *, now: Timestamp) -> Document:
    """Keep that there was an email, and nothing of whom it was for; one that waits is never sent."""
    record = record_of(email)
    waits = email.get("status") in ("queued", "failed")
    return with_record(
        email,
        {
            "toEmail": f"redacted-{email.get('id')}@redacted.invalid",
            "subject": REDACTED_SUBJECT,
            "status": "skipped" if waits else record.get("status", ABSENT),
            "lastError": REDACTED_ERROR if waits or "lastError" in record else ABSENT,
            "metadata": {"redactedAt": now},
            "customerId": ABSENT,
            "orderId": ABSENT,
            "tokenId": ABSENT,
            "nextAttemptAt": ABSENT,
            "leaseKey": ABSENT,
            "leasedAt": ABSENT,
            "leaseExpiresAt": ABSENT,
        },
        mirrored=EMAIL_MIRRORED,
        now=now,
    )


def owns_export(identity: Identity, export: Document) -> bool:
    """Say whether an account export is the person's, and still holds something of theirs."""
    record = export.get("record")
    if not isinstance(record, dict):
        return False
    if export.get("status") == "expired" and record.get("artifactRef") is None:
        return False
    return _is_of(identity, record)


def redacted_export(export: Document, *, now: Timestamp) -> Document:
    """Expire an account export and forget where its file is."""
    return with_record(
        export,
        {
            "status": "expired",
            "expiresAt": now,
            "artifactRef": ABSENT,
            "downloadTokenHash": ABSENT,
            "lastError": REDACTED_ERROR,
            "metadata": {**metadata_of(record_of(export)), "redactedAt": now},
        },
        mirrored=EXPORT_MIRRORED,
        now=now,
    )


def anonymized_order(order: Document, sentinel: str, *, now: Timestamp, complete: bool) -> Document:
    """Keep an order for the books, without its customer.

    ``complete``: the reference leaves the user id, and whatever else than the four contact fields names the customer.
    """
    aggregate = object_at(order, "aggregate")
    customer = _without(_object(aggregate.get("customer")), PERSONAL if complete else _CONTACT)
    if complete and "userId" in customer:
        customer = {**customer, "userId": sentinel}
    return patched(
        order,
        {
            "emailHash": sentinel,
            "aggregate": {**aggregate, "customer": {**customer, "emailHash": sentinel}},
            "updatedAt": now,
        },
    )


def owns_order(identity: Identity, order: Document) -> bool:
    """Say whether an order is the person's by its top-level keys; orders have no user id there."""
    return _same(order.get("customerId"), identity.customer_id) or _same(order.get("emailHash"), identity.email_hash)


def anonymized_entitlement(entitlement: Document, sentinel: str, *, now: Timestamp) -> Document:
    """Keep what was granted, without to whom."""
    keys = {"emailHash": sentinel, "userId": sentinel}
    return patched(entitlement, {**keys, "record": patched(record_of(entitlement), keys), "updatedAt": now})


def anonymized_license(license_: Document, sentinel: str, *, now: Timestamp) -> Document:
    """Revoke a license and forget its key."""
    record = record_of(license_)
    revoked_at = record.get("revokedAt")
    return patched(
        license_,
        {
            "customerId": ABSENT,
            "status": "revoked",
            "record": patched(
                record,
                {
                    "licenseKeyHash": f"{sentinel}:license-redacted",
                    "displayKeySuffix": "redacted",
                    "status": "revoked",
                    "revokedAt": now if revoked_at is None else revoked_at,
                    "metadata": {**metadata_of(record), "anonymizedAt": now},
                },
            ),
            "updatedAt": now,
        },
    )


def anonymized_customer(customer: Document, *, now: Timestamp, complete: bool) -> Document:
    """Keep a customer's number only.

    ``complete``: the reference leaves the provider accounts' snapshots, and whatever else than the four contact fields
    names the customer.
    """
    sentinel = f"account-deleted:{customer.get('customerId') or customer.get('id')}"
    aggregate = object_at(customer, "aggregate")
    kept = {
        **_without(aggregate, PERSONAL if complete else _CONTACT),
        "emailHash": sentinel,
        "metadata": {**_object(aggregate.get("metadata")), "anonymizedAt": now},
    }
    accounts = aggregate.get("providerAccounts")
    if complete and isinstance(accounts, list):
        kept["providerAccounts"] = [_without(account, PERSONAL) for account in accounts if isinstance(account, dict)]
    return patched(customer, {"emailHash": sentinel, "userId": sentinel, "aggregate": kept, "updatedAt": now})


def anonymized_aggregate(document: Document, sentinel: str, *, now: Timestamp) -> Document:
    """Take the person out of a subscription, a cart or a provider account, wherever its payload names them."""
    changes: dict[str, Any] = {
        payload: _anonymized_block(document[payload], sentinel)
        for payload in ("aggregate", "record")
        if isinstance(document.get(payload), dict)
    }
    return patched(_anonymized_block(document, sentinel), {**changes, "updatedAt": now})


def owns_by_keys(identity: Identity, document: Document) -> bool:
    """Say whether a document's top-level keys name the person."""
    return _is_of(identity, document)


def owns_as_customer(identity: Identity, document: Document) -> bool:
    """Say whether a document's top-level customer id is the person's."""
    return _same(document.get("customerId"), identity.customer_id)


def _anonymized_block(block: Mapping[str, Any], sentinel: str) -> Document:
    result = _without(block, PERSONAL)
    customer = result.get("customer")
    if isinstance(customer, dict):
        result["customer"] = _anonymized_block(customer, sentinel)
    return {**result, **{key: sentinel for key in ("emailHash", "userId") if key in result}}


def _is_of(identity: Identity, keys: Mapping[str, Any]) -> bool:
    return (
        _same(keys.get("customerId"), identity.customer_id)
        or _same(keys.get("userId"), identity.user_id)
        or _same(keys.get("emailHash"), identity.email_hash)
    )


def _same(value: object, key: str | None) -> bool:
    return key is not None and value == key


def _without(block: Mapping[str, Any], keys: tuple[str, ...]) -> Document:
    return {key: value for key, value in block.items() if key not in keys}


def _object(value: object) -> Document:
    return value if isinstance(value, dict) else {}
