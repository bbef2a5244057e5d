"""A sample email of each kind, as the storefront would write it, to preview templates."""

from datetime import datetime, timedelta
from typing import Any, Final

from mika_ops.documents.document import Document
from mika_ops.email import kinds
from mika_ops.timestamps import to_timestamp

ORDER_ID: Final = "order_sample"

_METADATA: Final[dict[str, dict[str, Any]]] = {
    kinds.MAGIC_LINK: {"link": "https://shop.example/mika/account/magic?token=7f3c9e2ab5d84410"},
    kinds.ORDER_CONFIRMATION: {},
    kinds.DOWNLOAD: {"link": "https://shop.example/mika/downloads/5b21c07e94?signature=d2f8a6"},
    kinds.ADMIN_NOTIFICATION: {
        "message": "Three walnut bowls are left, and eleven were sold in the last seven days.\n\n"
        "At this rate they are sold out on Thursday.",
        "link": "https://shop.example/admin/stock/walnut-bowl",
    },
}

_SUBJECTS: Final = {kinds.ADMIN_NOTIFICATION: "Walnut bowls are running low"}


def sample_email(kind: str, *, purpose: str = "sign_in", now: datetime) -> Document:
    """Return an email of one of the kinds; a link that expires does so an hour after ``now``."""
    metadata = dict(_METADATA[kind])
    if kind == kinds.MAGIC_LINK:
        metadata["purpose"] = purpose
    if kind in (kinds.MAGIC_LINK, kinds.DOWNLOAD):
        metadata["expiresAt"] = to_timestamp(now + timedelta(hours=1))
    record = {
        "id": "email_sample",
        "kind": kind,
        "toEmail": "customer@shop.example",
        "subject": _SUBJECTS.get(kind, "A sample"),
        "orderId": ORDER_ID if kind in (kinds.ORDER_CONFIRMATION, kinds.DOWNLOAD) else None,
        "metadata": metadata,
    }
    return {"id": "email_sample", "type": "email", "kind": kind, "record": record}


def sample_order(kind: str) -> Document | None:
    """Return the order that the sample of this kind is about, or ``None`` if there is none."""
    if kind == kinds.DOWNLOAD:
        return _order(_line("Field recordings, volume 2 (FLAC)", 1, 1400), _line("Booklet (PDF)", 1, 0))
    if kind == kinds.ORDER_CONFIRMATION:
        return _order(
            _line("Walnut bowl", 2, 7800), _line("Linen tea towel, undyed", 3, 4350), _line("Beeswax polish", 1, 1250)
        )
    return None


def _order(*lines: Document) -> Document:
    subtotal = sum(line["totalAmount"] for line in lines)
    discount = subtotal // 10
    return {
        "id": ORDER_ID,
        "type": "order",
        "orderNumber": "N-1001",
        "status": "paid",
        "aggregate": {
            "lines": list(lines),
            "totals": {
                "subtotal": _money(subtotal),
                "discount": _money(discount),
                "total": _money(subtotal - discount),
            },
        },
    }


def _line(title: str, quantity: int, total: int) -> Document:
    return {"quantity": quantity, "totalAmount": total, "item": {"titleSnapshot": title, "currency": "EUR"}}


def _money(amount: int) -> Document:
    return {"amount": amount, "currency": "EUR"}
