"""EmDash's expression indexes on documents, and ours."""

import hashlib
from collections.abc import Iterator
from typing import Final

from mika_ops.documents.selection import Collection
from mika_ops.rules import email, webhook
from mika_ops.store.json_sql import JsonSql

DOCUMENT_INDEXES: Final[dict[Collection, tuple[str, ...]]] = {
    "account": (
        "currentPeriodEnd",
        "customerId",
        "customerId entitlementKey status",
        "emailHash",
        "emailHash entitlementKey status",
        "entitlementKey",
        "provider",
        "providerCustomerId",
        "providerSubscriptionId",
        "status",
        "type",
        "type customerId",
        "type customerId currentPeriodEnd",
        "type customerId updatedAt",
        "type emailHash updatedAt",
        "type userId",
        "type userId updatedAt",
        "userId",
    ),
    "catalog": (
        "active",
        "contentCollection",
        "contentId",
        "type",
        "type active",
    ),
    "ledger": (
        "createdAt",
        "currency",
        "customerId",
        "customerId createdAt",
        "emailHash",
        "emailHash createdAt",
        "paidAt",
        "paymentStatus",
        "provider",
        "providerCheckoutId",
        "providerOrderId",
        "providerPaymentId",
        "status",
        "status createdAt",
        "totalAmount",
        "type",
        "type customerId createdAt",
    ),
    "ops": (
        "action",
        "actorId",
        "createdAt",
        "customerId",
        "eventType",
        "expiresAt",
        "idempotencyKey",
        "kind",
        "kind status",
        "leaseExpiresAt",
        "nextAttemptAt",
        "payloadHash",
        "provider",
        "providerEventId",
        "receivedAt",
        "status",
        "status leaseExpiresAt",
        "status nextAttemptAt",
        "subjectId",
        "subjectType",
        "subjectType subjectId",
        "targetId",
        "targetType",
        "targetType targetId",
        "type",
        "type customerId",
        "type expiresAt",
        "type kind status nextAttemptAt",
        "type status",
        "type userId",
        "userId",
    ),
    "session": (
        "cartId",
        "checkoutIdempotencyKey",
        "currency",
        "customerId",
        "expiresAt",
        "orderId",
        "provider",
        "providerCheckoutId",
        "providerStatus",
        "redirectUrl",
        "sessionId",
        "status",
        "status expiresAt",
        "type",
        "type customerId",
        "type orderId",
        "type sessionId",
        "type sessionId currency",
        "type status",
    ),
}
"""The expression indexes that EmDash keeps for Mika, by collection: the fields of each."""


UNIQUE_DOCUMENT_INDEXES: Final[dict[Collection, tuple[str, ...]]] = {
    "account": (
        "type provider providerCustomerId",
        "type provider providerSubscriptionId",
    ),
    "catalog": (
        "codeHash",
        "contentCollection contentId",
    ),
    "ledger": (
        "checkoutSessionId",
        "orderNumber",
        "provider providerOrderId",
        "provider providerPaymentId",
    ),
    "ops": (
        "provider payloadHash",
        "provider providerEventId",
        "type action idempotencyKey",
        "type kind idempotencyKey",
        "type kind subjectType subjectId",
    ),
    "session": (
        "provider providerCheckoutId",
        "type checkoutIdempotencyKey",
        "type provider providerCheckoutId",
    ),
}
"""The unique ones among them."""


UNFINISHED_PREFIX: Final = "mika_ops_open_"
"""What the names of mika-ops' own indexes on documents start with."""


def unfinished_indexes(dialect: str) -> dict[str, str]:
    """Return our own two indexes on documents, by name, with the statement that creates each.

    They hold what is unfinished: emails with attempts left and webhooks with a raw payload, so that a query costs the
    same however much is finished. The name changes with the definition: no statement uses one of another version.
    """
    json_sql = JsonSql(dialect)
    found = {}
    for what, selection, fields in (
        ("emails", email.DUE, ("type", "status")),
        ("webhooks", webhook.PURGEABLE, ("type",)),
    ):
        # SQLite takes the index that it knows most of the columns of: one more makes ours the best.
        known = [json_sql.finished(selection)] if dialect == "sqlite" else []
        columns = ", ".join([*(json_sql.indexed(field) for field in fields), *known])
        definition = f"ON _plugin_storage (plugin_id, collection, {columns}) WHERE {json_sql.unfinished(selection)}"
        name = f"{UNFINISHED_PREFIX}{what}_{hashlib.sha256(definition.encode()).hexdigest()[:8]}"
        concurrently = " CONCURRENTLY" if dialect == "postgresql" else ""
        found[name] = f"CREATE INDEX{concurrently} IF NOT EXISTS {name} {definition}"
    return found


def document_indexes(plugin_id: str) -> Iterator[tuple[str, Collection, tuple[str, ...], bool]]:
    """Yield every expression index of the document table: name, collection, fields, whether it is unique."""
    for indexes, prefix, unique in ((DOCUMENT_INDEXES, "idx", False), (UNIQUE_DOCUMENT_INDEXES, "uidx", True)):
        for collection, entries in indexes.items():
            for entry in entries:
                fields = tuple(entry.split())
                yield f"{prefix}_plugin_{plugin_id}_{collection}_{'_'.join(fields)}", collection, fields, unique


def document_index_statements(dialect: str, plugin_id: str) -> Iterator[str]:
    """Yield the statement that creates each expression index, as EmDash spells it on this dialect."""
    json_sql = JsonSql(dialect)
    for name, _collection, fields, unique in document_indexes(plugin_id):
        expressions = ", ".join(json_sql.indexed(field) for field in fields)
        quoted = name if dialect == "sqlite" else f'"{name}"'
        yield (
            f"CREATE {'UNIQUE ' if unique else ''}INDEX IF NOT EXISTS {quoted} "
            f"ON _plugin_storage(plugin_id, collection, {expressions})"
        )
