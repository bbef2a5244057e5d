"""EmDash's and Mika's tables as they stand in a site's database, and the tables of our own.

mika-ops does not own EmDash's and Mika's tables and never alters them; it creates them only where there is no site
yet: in the demo, the tests and the benchmark. Its own are those of the ACP session store, and one for their version.

Source: behaviour, section 1.
"""

import hashlib
from collections.abc import Iterator
from typing import Final

from sqlalchemy import (
    DDL,
    Column,
    Connection,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    event,
    text,
)

from mika_ops.rules import email, webhook
from mika_ops.rules.selection import Collection
from mika_ops.store.json_sql import JsonSql
from mika_ops.timestamps import EARLIEST

site: Final = MetaData()
"""EmDash's tables and Mika's."""

own: Final = MetaData()
"""The tables that are ours."""

plugin_storage: Final = Table(
    "_plugin_storage",
    site,
    Column("plugin_id", Text, nullable=False),
    Column("collection", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("created_at", Text, server_default=text("CURRENT_TIMESTAMP")),
    Column("updated_at", Text, server_default=text("CURRENT_TIMESTAMP")),
    PrimaryKeyConstraint("plugin_id", "collection", "id", name="pk_plugin_storage"),
    Index("idx_plugin_storage_list", "plugin_id", "collection", "created_at"),
)

plugin_indexes: Final = Table(
    "_plugin_indexes",
    site,
    Column("plugin_id", Text, nullable=False),
    Column("collection", Text, nullable=False),
    Column("index_name", Text, nullable=False),
    Column("fields", Text, nullable=False),
    Column("created_at", Text, server_default=text("CURRENT_TIMESTAMP")),
    PrimaryKeyConstraint("plugin_id", "collection", "index_name", name="pk_plugin_indexes"),
)

stock_items: Final = Table(
    "mika_stock_items",
    site,
    Column("id", Text, primary_key=True),
    Column("sellable_id", Text, nullable=False, unique=True),
    Column("policy", Text, nullable=False),
    Column("quantity_on_hand", Integer, nullable=False, server_default=text("0")),
    Column("quantity_reserved", Integer, nullable=False, server_default=text("0")),
    Column("low_stock_threshold", Integer),
    Column("allow_backorder", Integer, nullable=False, server_default=text("0")),
    Column("available_override", Integer),
    Column("metadata_json", Text),
    Column("created_at", Text, nullable=False),
    Column("updated_at", Text, nullable=False),
    Index("idx_mika_stock_items_policy_quantities", "policy", "quantity_on_hand", "quantity_reserved"),
)

stock_events: Final = Table(
    "mika_stock_events",
    site,
    Column("id", Text, primary_key=True),
    Column("stock_item_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("reservation_event_id", Text),
    Column("cart_id", Text),
    Column("checkout_session_id", Text),
    Column("customer_id", Text),
    Column("session_id", Text),
    Column("order_id", Text),
    Column("order_line_id", Text),
    Column("admin_audit_id", Text),
    Column("idempotency_key", Text),
    Column("quantity_delta", Integer, nullable=False),
    Column("expires_at", Text),
    Column("metadata_json", Text),
    Column("created_at", Text, nullable=False),
    Column("updated_at", Text, nullable=False),
    Index("idx_mika_stock_events_checkout_status", "checkout_session_id", "status"),
    Index("idx_mika_stock_events_idempotency", "idempotency_key", unique=True),
    Index("idx_mika_stock_events_item_status_expires", "stock_item_id", "status", "expires_at"),
    Index("idx_mika_stock_events_order_line", "order_line_id"),
    Index("idx_mika_stock_events_status_expires", "status", "expires_at"),
)

ephemeral_records: Final = Table(
    "mika_ephemeral_records",
    site,
    Column("key", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("subject_hash", Text),
    Column("status", Text, nullable=False),
    Column("count", Integer, nullable=False, server_default=text("0")),
    Column("expires_at", Text, nullable=False),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("data_json", Text),
    Column("created_at", Text, nullable=False),
    Column("updated_at", Text, nullable=False),
    Index("idx_mika_ephemeral_expires", "expires_at"),
    Index("idx_mika_ephemeral_kind_status_expires", "kind", "status", "expires_at"),
    Index("idx_mika_ephemeral_subject_kind_status", "subject_hash", "kind", "status"),
)

acp_sessions: Final = Table(
    "mika_acp_sessions",
    own,
    Column("id", Text, primary_key=True, comment="The session's id."),
    Column("status", Text, nullable=False, comment="The session record's status."),
    Column("expires_at", Text, comment="The record's expiresAt."),
    Column("expired_at", Text, comment="The record's expiredAt."),
    Column("purge_at", Text, comment="The record's purgeAt."),
    Column("updated_at", Text, nullable=False, comment="The record's updatedAt."),
    Column("version", Integer, comment="The record's version: compare it when writing, and raise it by one."),
    Column("data", Text, nullable=False, comment="The whole session record, as JSON text."),
    Index("idx_mika_acp_sessions_purge", "purge_at"),
    Index("idx_mika_acp_sessions_expires", "expired_at", "expires_at"),
)

acp_idempotency_keys: Final = Table(
    "mika_acp_idempotency_keys",
    own,
    Column("key", Text, primary_key=True, comment="The idempotency key of a request."),
    Column("session_id", Text, nullable=False, comment="The session that the request was about."),
    Column("response_json", Text, comment="The answer to give again, as JSON text."),
    Column("created_at", Text, nullable=False, comment="When the request was first answered."),
    Index("idx_mika_acp_idempotency_keys_session", "session_id"),
)

OWN_VERSION: Final = 1
"""The version of our own tables that this mika-ops reads and writes."""

own_version: Final = Table(
    "mika_ops_schema",
    own,
    Column("version", Integer, primary_key=True, autoincrement=False, comment="The version of mika-ops' own tables."),
)
event.listen(
    own_version,
    "after_create",
    DDL("INSERT INTO mika_ops_schema VALUES (%(version)s)", context={"version": OWN_VERSION}),  # type: ignore[no-untyped-call]
)

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


OPEN_WORK_PREFIX: Final = "mika_ops_open_"
"""What the names of our own indexes on documents start with."""


def open_work_indexes(dialect: str) -> dict[str, str]:
    """Return our own two indexes on documents, by name, with the statement that creates each.

    They hold what is not over: emails with attempts left and webhooks with a raw payload, so that a look costs the same
    however much is finished. The name changes with the definition: an index of another version serves no statement.
    """
    json_sql = JsonSql(dialect)
    found = {}
    for what, selection, fields in (
        ("emails", email.due(EARLIEST), ("type", "status")),
        ("webhooks", webhook.purgeable(EARLIEST), ("type",)),
    ):
        # SQLite takes the index that it knows most of the columns of: one more makes ours the best.
        known = [json_sql.over(selection)] if dialect == "sqlite" else []
        columns = ", ".join([*(json_sql.indexed(field) for field in fields), *known])
        definition = f"ON _plugin_storage (plugin_id, collection, {columns}) WHERE {json_sql.not_over(selection)}"
        name = f"{OPEN_WORK_PREFIX}{what}_{hashlib.sha256(definition.encode()).hexdigest()[:8]}"
        concurrently = " CONCURRENTLY" if dialect == "postgresql" else ""
        found[name] = f"CREATE INDEX{concurrently} IF NOT EXISTS {name} {definition}"
    return found


def create_site(connection: Connection, plugin_id: str = "mika") -> None:
    """Lay out a new site: EmDash's and Mika's tables with all of their indexes. For an empty database only."""
    site.create_all(connection)
    for statement in document_index_statements(connection.dialect.name, plugin_id):
        connection.exec_driver_sql(statement)
    rows = [
        {"plugin_id": plugin_id, "collection": collection, "index_name": name, "fields": ",".join(fields)}
        for name, collection, fields, _unique in document_indexes(plugin_id)
    ]
    connection.execute(plugin_indexes.insert(), rows)


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
