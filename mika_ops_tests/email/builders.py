"""Documents and envelopes as the storefront writes them; a test states only what matters to it."""

from typing import Any

from mika_ops.documents.document import Document
from mika_ops.ports.email import Envelope


def email_document(kind: str, metadata: object = None, **record: Any) -> Document:
    return {
        "id": "email_1",
        "type": "email",
        "kind": kind,
        "record": {"id": "email_1", "kind": kind, "toEmail": "ada@example.test", "metadata": metadata, **record},
    }


def magic_link(metadata: object = None, **record: Any) -> Document:
    return email_document("magic_link", {"link": "https://shop.test/in"} if metadata is None else metadata, **record)


def order_confirmation(metadata: object = None, **record: Any) -> Document:
    return email_document("order_confirmation", metadata, **{"orderId": "order_1", **record})


def line(id_: str = "line_1", **fields: Any) -> Document:
    return {
        "id": id_,
        "item": {"titleSnapshot": f"Product {id_}", "currency": "EUR"},
        "quantity": 2,
        "totalAmount": 3000,
        **fields,
    }


def titled(title: object) -> Document:
    return line(item={"titleSnapshot": title, "currency": "EUR"})


def money(amount: object, currency: object = "EUR") -> Document:
    return {"amount": amount, "currency": currency}


def order(*lines: object, totals: object = None, **fields: Any) -> Document:
    return {
        "id": "order_1",
        "type": "order",
        "orderNumber": "N-1001",
        "status": "paid",
        "aggregate": {
            "lines": list(lines) or [line()],
            "totals": {"subtotal": money(3000), "total": money(3000)} if totals is None else totals,
        },
        **fields,
    }


def envelope(**fields: Any) -> Envelope:
    return Envelope(
        **{
            "email_id": "email_1",
            "kind": "magic_link",
            "to": "ada@example.test",
            "subject": "Sign in",
            "text": "Hello Ada\n",
            "html": "<p>Hello Ada</p>\n",
            **fields,
        }
    )
