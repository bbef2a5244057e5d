"""Documents and rows for tests: valid as they are, so that a test shows only what matters to it."""

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Table, insert, select

from mika_ops.documents.document import Document, patched
from mika_ops.rules.account_delete import MIRRORED as DELETE_MIRRORED
from mika_ops.rules.email import MIRRORED as EMAIL_MIRRORED
from mika_ops.rules.webhook import MIRRORED as WEBHOOK_MIRRORED
from mika_ops.rules.workflow import MIRRORED as WORKFLOW_MIRRORED
from mika_ops.store.database import Database
from mika_ops.store.schema.site import plugin_storage

EARLIER = "2026-02-26T12:00:00.000Z"
BEFORE = "2026-03-01T11:59:59.999Z"
NOW = "2026-03-01T12:00:00.000Z"
AFTER = "2026-03-01T12:00:00.001Z"
LATER = "2026-03-02T12:00:00.000Z"


def recorded(type_: str, mirrored: Iterable[str], record: Document, /, **top: Any) -> Document:
    """Return a document with a record, its mirrored fields copied up; ``top`` overrides top-level fields."""
    copied_up = {name: record[name] for name in mirrored if name in record}
    base = {"id": record.get("id"), "type": type_, "schemaVersion": 1, "createdAt": EARLIER, "updatedAt": EARLIER}
    return patched({**base, **copied_up, "record": record}, top)


def email(id_: str = "email_1", /, *, top: Document | None = None, **record: Any) -> Document:
    fields = {
        "id": id_,
        "kind": "magic_link",
        "toEmail": f"{id_}@example.test",
        "subject": "Your link",
        "status": "queued",
        "attemptCount": 0,
        "maxAttempts": 5,
        "createdAt": EARLIER,
        "metadata": {"link": f"https://shop.example.test/magic/{id_}"},
    }
    return recorded("email", EMAIL_MIRRORED, patched(fields, record), **(top or {}))


def webhook(id_: str = "webhook_1", /, *, top: Document | None = None, **record: Any) -> Document:
    fields = {
        "id": id_,
        "provider": "stripe",
        "providerEventId": f"evt_{id_}",
        "status": "processed",
        "attemptCount": 1,
        "receivedAt": "2026-02-01T12:00:00.000Z",
        "rawPayloadJson": {"id": f"evt_{id_}"},
    }
    indexed = {"provider": "stripe", "providerEventId": f"evt_{id_}", "payloadHash": f"sha256:{id_}"}
    return recorded("webhook", WEBHOOK_MIRRORED, patched(fields, record), **{**indexed, **(top or {})})


def workflow(id_: str = "workflow_1", /, *, top: Document | None = None, **record: Any) -> Document:
    fields = {
        "id": id_,
        "kind": "payment_webhook_fulfillment",
        "status": "queued",
        "subjectType": "webhook",
        "subjectId": f"webhook_of_{id_}",
        "idempotencyKey": f"idem_{id_}",
        "attemptCount": 0,
        "maxAttempts": 5,
        "steps": [],
        "createdAt": EARLIER,
        "updatedAt": EARLIER,
    }
    return recorded("workflow", WORKFLOW_MIRRORED, patched(fields, record), **(top or {}))


def delete_request(id_: str = "delete_1", /, *, top: Document | None = None, **record: Any) -> Document:
    fields = {"id": id_, "status": "queued", "requestedAt": EARLIER, "confirmTokenHash": f"confirm_{id_}"}
    return recorded("accountDeleteRequest", DELETE_MIRRORED, patched(fields, record), **(top or {}))


def aggregated(type_: str, id_: str, aggregate: Document, /, **top: Any) -> Document:
    """Return a document with an aggregate: an order, a customer, a subscription, a cart."""
    base = {"id": id_, "type": type_, "schemaVersion": 1, "createdAt": EARLIER, "updatedAt": EARLIER}
    return {**base, **top, "aggregate": {"schemaVersion": 1, **aggregate}}


def order(id_: str = "order_1", /, *, customer: Document | None = None, **top: Any) -> Document:
    line = {
        "id": "line_1",
        "item": {"titleSnapshot": "Walnut bowl", "currency": "EUR", "unitAmount": 1500},
        "quantity": 1,
        "totalAmount": 1500,
    }
    money = {"amount": 1500, "currency": "EUR"}
    aggregate = {
        "customer": {"email": "ada@example.test", "name": "Ada Lind"} if customer is None else customer,
        "totals": {"subtotal": money, "total": money},
        "lines": [line],
    }
    return aggregated("order", id_, aggregate, **{"orderNumber": f"N-{id_}", "status": "paid", **top})


def put(database: Database, collection: str, *documents: Document) -> None:
    """Store documents in a collection, as the site would."""
    put_raw(database, collection, *((str(document["id"]), json.dumps(document)) for document in documents))


def put_raw(database: Database, collection: str, *texts: tuple[str, str]) -> None:
    """Store texts as documents, by id, whether or not they are documents."""
    rows = [
        {"plugin_id": database.plugin_id, "collection": collection, "id": id_, "data": text, "created_at": EARLIER}
        for id_, text in texts
    ]
    with database.engine.begin() as connection:
        connection.execute(insert(plugin_storage), rows)


def get(database: Database, collection: str, id_: str) -> Document:
    """Return a stored document."""
    found = plugin_storage.c
    statement = select(found.data).where(
        found.plugin_id == database.plugin_id, found.collection == collection, found.id == id_
    )
    with database.reading() as connection:
        document: Document = json.loads(connection.execute(statement).scalar_one())
    return document


def put_rows(database: Database, table: Table, *rows: Document) -> None:
    """Store rows in one of Mika's tables."""
    with database.engine.begin() as connection:
        connection.execute(insert(table), list(rows))


def rows_of(database: Database, table: Table) -> dict[str, Document]:
    """Return a table's rows by primary key."""
    (key,) = table.primary_key.columns
    with database.reading() as connection:
        return {row[key.name]: dict(row) for row in connection.execute(select(table)).mappings()}


def stock_item(id_: str = "stock_1", /, **columns: Any) -> Document:
    fields = {"id": id_, "sellable_id": f"sellable_{id_}", "policy": "finite", "quantity_on_hand": 10}
    return {**fields, "quantity_reserved": 0, "created_at": EARLIER, "updated_at": EARLIER, **columns}


def reservation(id_: str = "event_1", /, **columns: Any) -> Document:
    fields = {"id": id_, "stock_item_id": "stock_1", "kind": "reservation", "status": "active", "quantity_delta": 1}
    times = {"expires_at": BEFORE, "created_at": EARLIER, "updated_at": EARLIER}
    return {**fields, "customer_id": None, "idempotency_key": f"key_{id_}", **times, **columns}


def ephemeral(key: str = "token:1", /, **columns: Any) -> Document:
    fields = {"key": key, "kind": "token", "subject_hash": None, "status": "pending", "expires_at": BEFORE}
    return {**fields, "created_at": EARLIER, "updated_at": EARLIER, **columns}


def acp_session(id_: str = "acp_1", /, **fields: Any) -> Document:
    session = {"id": id_, "status": "ready_for_payment", "expiresAt": BEFORE, "updatedAt": EARLIER, "version": 1}
    return patched(session, fields)


def documents_of(database: Database, collection: str) -> dict[str, Document]:
    """Return all documents of a collection, by id."""
    found = plugin_storage.c
    statement = select(found.id, found.data).where(
        found.plugin_id == database.plugin_id, found.collection == collection
    )
    with database.reading() as connection:
        return {row.id: json.loads(row.data) for row in connection.execute(statement)}
