"""The documents and rows of a demo shop, while they are put together."""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert

from mika_ops.documents.document import Document
from mika_ops.documents.selection import Collection
from mika_ops.store.acp_sessions import insert_sessions
from mika_ops.store.schema.site import ephemeral_records, plugin_storage, stock_events, stock_items
from mika_ops.timestamps import to_timestamp


@dataclass
class DemoShop:
    """The rows of the shop, by table. ``now`` is when it is made: what is due was due shortly before."""

    now: datetime
    documents: list[dict[str, Any]] = field(default_factory=list)
    stock_items: list[dict[str, Any]] = field(default_factory=list)
    stock_events: list[dict[str, Any]] = field(default_factory=list)
    ephemeral_records: list[dict[str, Any]] = field(default_factory=list)
    acp_sessions: list[Document] = field(default_factory=list)

    def ago(self, **by: float) -> str:
        """Return the time so long before the shop was made."""
        return to_timestamp(self.now - timedelta(**by))

    def ahead(self, **by: float) -> str:
        """Return the time so long after the shop was made."""
        return to_timestamp(self.now + timedelta(**by))

    def add(self, collection: Collection, type_: str, id_: str, at: str, /, **fields: Any) -> None:
        """Add a document that was created, and last changed, at a time."""
        document = {"id": id_, "type": type_, "schemaVersion": 1, **fields, "createdAt": at, "updatedAt": at}
        self.documents.append(
            {
                "plugin_id": "mika",
                "collection": collection,
                "id": id_,
                "data": json.dumps(document, ensure_ascii=False, separators=(",", ":")),
                "created_at": at,
                "updated_at": at,
            }
        )

    def add_recorded(self, type_: str, mirrored: tuple[str, ...], at: str, record: Document, /, **fields: Any) -> None:
        """Add an ops document with a record, and the record's fields that are mirrored at the top."""
        top = {name: record[name] for name in mirrored if name in record}
        self.add("ops", type_, record["id"], at, **fields, **top, record=record)

    def write(self, connection: Connection) -> None:
        """Write the rows into a site that is laid out and empty."""
        for table, rows in (
            (plugin_storage, self.documents),
            (stock_items, self.stock_items),
            (stock_events, self.stock_events),
            (ephemeral_records, self.ephemeral_records),
        ):
            connection.execute(insert(table), rows)
        insert_sessions(connection, self.acp_sessions)
