"""EmDash's and Mika's tables as they stand in a site's database, and mika-ops' own tables.

mika-ops does not own EmDash's and Mika's tables and never alters them; it creates them only where there is no site
yet: in the demo, the tests and the benchmark. Its own are those of the ACP session store, and one for their version.

Source: behaviour, section 1.
"""

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

from mika_ops.store.schema.indexes import document_index_statements, document_indexes
from mika_ops.store.schema.own import OWN_VERSION, own_version

site: Final = MetaData()
"""EmDash's tables and Mika's."""


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


event.listen(
    own_version,
    "after_create",
    DDL("INSERT INTO mika_ops_schema VALUES (%(version)s)", context={"version": OWN_VERSION}),  # type: ignore[no-untyped-call]
)


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
