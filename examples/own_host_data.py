"""What is in the shop of ``examples.own_host`` at first: documents as Mika stores them, with work for each subtask."""

from datetime import timedelta
from typing import Any, Final

from mika_ops.clock import utc_now
from mika_ops.documents.document import Document
from mika_ops.timestamps import Timestamp, to_timestamp


def in_days(days: float) -> Timestamp:
    """Return a time before or after the shop was made."""
    return to_timestamp(_MADE_AT + timedelta(days=days))


def recorded(type_: str, id_: str, *mirrored: str, **record: Any) -> Document:
    """Return a document as Mika stores most: a record, some of whose fields are repeated beside it."""
    beside = {name: record[name] for name in mirrored if name in record}
    return {"id": id_, "type": type_, "createdAt": LONG_AGO, **beside, "record": {"id": id_, **record}}


def email(id_: str, to: str, **record: Any) -> Document:
    """Return an email of the outbox, due now unless ``record`` sets another time."""
    fields = {"status": "queued", "toEmail": to, "subject": "From our shop", **NEW, **record}
    return recorded("email", id_, "status", "kind", **fields)


def webhook(id_: str, **record: Any) -> Document:
    """Return a payment webhook as the provider sent it."""
    return recorded("webhook", id_, "status", "receivedAt", **record)


def workflow(webhook_id: str, **record: Any) -> Document:
    """Return the workflow that fulfils a payment webhook."""
    fields = {"kind": "payment_webhook_fulfillment", "subjectId": webhook_id, **record}
    mirrored = ("kind", "subjectId", "status", "nextAttemptAt", "leaseExpiresAt")
    return recorded("workflow", f"workflow_of_{webhook_id}", *mirrored, **fields)


def aggregated(type_: str, id_: str, aggregate: Document, **beside: Any) -> Document:
    """Return a document as Mika stores orders, customers and carts: an aggregate."""
    return {"id": id_, "type": type_, "createdAt": LONG_AGO, **beside, "aggregate": aggregate}


_MADE_AT: Final = utc_now()
LONG_AGO, JUST_NOW, TOMORROW = in_days(-30), in_days(-0.01), in_days(1)
NEW: Final = {"attemptCount": 0, "maxAttempts": 5}
WORN_OUT: Final = {"attemptCount": 5, "maxAttempts": 5, "leaseExpiresAt": JUST_NOW}
ADA: Final = {"email": "ada@shop.example", "name": "Ada Lind"}
BO: Final = {"email": "bo@shop.example", "name": "Bo Ek"}
PRICE: Final = {"amount": 3000, "currency": "EUR"}
BOWL: Final = {
    "id": "line_1",
    "item": {"titleSnapshot": "Walnut bowl", "currency": "EUR", "unitAmount": 1500},
    "quantity": 2,
    "totalAmount": 3000,
}
ORDERED: Final = {"lines": [BOWL], "totals": {"subtotal": PRICE, "total": PRICE}}

OPS: Final = (
    email("email_link", ADA["email"], kind="magic_link", metadata={"link": "https://shop.example/in/1"}),
    email("email_order", ADA["email"], kind="order_confirmation", orderId="order_ada"),
    email("email_stuck", ADA["email"], kind="magic_link", **WORN_OUT),
    email("email_of_bo", BO["email"], kind="order_confirmation", status="sent", customerId="customer_bo"),
    webhook("webhook_old", status="processed", receivedAt=LONG_AGO, rawPayloadJson={"id": "evt_1"}),
    workflow("webhook_due", status="failed", nextAttemptAt=JUST_NOW, **NEW),
    workflow("webhook_stuck", status="running", **WORN_OUT),
    recorded("accountDeleteRequest", "delete_bo", "customerId", "status", customerId="customer_bo", status="queued"),
)
ACCOUNT: Final = (aggregated("customer", "customer_bo", BO, customerId="customer_bo"),)
LEDGER: Final = (
    aggregated("order", "order_ada", {"customer": ADA, **ORDERED}, orderNumber="1001", status="paid"),
    aggregated("order", "order_bo", {"customer": BO, **ORDERED}, orderNumber="1002", customerId="customer_bo"),
)
SESSION: Final = (aggregated("cart", "cart_bo", {"customer": BO}, customerId="customer_bo", status="active"),)

TOKENS: Final = {
    "token_old": ("customer:customer_ada", JUST_NOW),
    "token_ada": ("customer:customer_ada", TOMORROW),
    "token_bo": ("customer:customer_bo", TOMORROW),
}
RATE_LIMITS: Final = {"limit_old": JUST_NOW, "limit_new": TOMORROW}

ACP_SESSIONS: Final = {
    "acp_live": {"status": "ready_for_payment", "expiresAt": TOMORROW, "updatedAt": JUST_NOW},
    "acp_abandoned": {"status": "ready_for_payment", "expiresAt": JUST_NOW, "updatedAt": LONG_AGO},
    "acp_old": {"status": "completed", "purgeAt": JUST_NOW, "updatedAt": LONG_AGO},
}
