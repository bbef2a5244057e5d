"""The demo's shop: a few hundred documents and rows, dated relative to now, with work for every subtask."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from mika_ops.demo.dataset import DemoShop
from mika_ops.documents.document import Document

NAMES: Final = ("Ada Lind", "Bo Ek", "Cem Arslan", "Dina Ruiz", "Eve Okoye", "Finn Dahl", "Gül Ünal", "Hana Sato")

LEAVING: Final = ("Ida Berg", "Jon Aas", "Kim Lau")
"""The customers who asked to be deleted. No email waits for them: it would be withheld."""


PRODUCTS: Final = (
    ("Oak desk lamp", 8_900),
    ("Linen apron", 3_450),
    ("Walnut bowl", 5_200),
    ("Enamel mug", 1_890),
    ("Wool blanket “Fjäll”", 12_900),
    ("Brass bookmark", 1_250),
    ("Beeswax candle", 990),
    ("Notebook, dotted", 1_490),
)


def demo_shop(now: datetime) -> DemoShop:
    """Return the demo's shop as of ``now``."""
    shop = DemoShop(now)
    for add in (
        _customers_and_orders,
        _emails_due,
        _emails_finished_and_stuck,
        _webhooks,
        _workflows,
        _account_delete_requests,
        _carts,
        _stock,
        _ephemeral,
        _acp_sessions,
    ):
        add(shop)
    return shop


def _customers_and_orders(shop: DemoShop) -> None:
    for number, name in enumerate((*NAMES, *LEAVING), 1):
        at = shop.ago(days=200 - number)
        address = f"{name.split()[0].lower()}@example.test"
        shop.add(
            "account",
            "customer",
            f"cus_{number}",
            at,
            customerId=f"cus_{number}",
            userId=f"user_{number}",
            emailHash=f"hash_{number}",
            aggregate={"schemaVersion": 1, "email": address, "emailHash": f"hash_{number}", "name": name},
        )
        shop.add(
            "account",
            "entitlement",
            f"ent_{number}",
            at,
            customerId=f"cus_{number}",
            entitlementKey="newsletter",
            status="active",
            record={"id": f"ent_{number}", "entitlementKey": "newsletter", "status": "active", "grantedAt": at},
        )
        for order in range(1, 4):
            _order(shop, number, order, name, address)


def _order(shop: DemoShop, customer: int, order: int, name: str, address: str) -> None:
    chosen = [PRODUCTS[(customer + order * step) % len(PRODUCTS)] for step in range(1, 3)]
    lines = [
        {
            "id": f"line_{index}",
            "item": {"sellableId": f"sellable_{index}", "titleSnapshot": title, "unitAmount": price, "currency": "EUR"},
            "quantity": index,
            "totalAmount": price * index,
        }
        for index, (title, price) in enumerate(chosen, 1)
    ]
    subtotal = sum(price * index for index, (_title, price) in enumerate(chosen, 1))
    discount = subtotal // 10 if order == 1 else 0
    totals: Document = {"subtotal": _money(subtotal), "total": _money(subtotal - discount)}
    if discount:
        totals["discount"] = _money(discount)
    shop.add(
        "ledger",
        "order",
        f"order_{customer}_{order}",
        shop.ago(days=10 * order, hours=customer),
        orderNumber=f"M-{1000 + customer * 10 + order}",
        customerId=f"cus_{customer}",
        emailHash=f"hash_{customer}",
        status="refunded" if (customer, order) == (4, 3) else "paid",
        paymentStatus="paid",
        currency="EUR",
        totalAmount=subtotal - discount,
        aggregate={
            "schemaVersion": 1,
            "customer": {"email": address, "emailHash": f"hash_{customer}", "name": name, "userId": f"user_{customer}"},
            "totals": totals,
            "lines": lines,
        },
    )


def _money(amount: int) -> Document:
    return {"amount": amount, "currency": "EUR"}


def _email(shop: DemoShop, id_: str, kind: str, customer: int, at: str, /, **record: Any) -> None:
    shop.add_recorded(
        "email",
        ("status", "nextAttemptAt", "orderId", "kind"),
        at,
        {
            "id": id_,
            "kind": kind,
            "toEmail": f"{NAMES[customer - 1].split()[0].lower()}@example.test",
            "subject": "Your order" if kind == "order_confirmation" else "Your link",
            "status": "queued",
            "attemptCount": 0,
            "maxAttempts": 5,
            "createdAt": at,
            "customerId": f"cus_{customer}",
            **record,
        },
    )


def _emails_due(shop: DemoShop) -> None:
    purposes = ("sign_in", "checkout", "account_delete")
    for number in range(1, 31):
        _email(
            shop,
            f"email_link_{number:02}",
            "magic_link",
            (number - 1) % len(NAMES) + 1,
            shop.ago(minutes=number),
            nextAttemptAt=shop.ago(minutes=number),
            metadata={
                "link": f"https://shop.example.test/magic/{number:02}",
                "purpose": purposes[number % 3],
                "expiresAt": shop.ahead(hours=1),
            },
        )
    for customer in range(1, len(NAMES) + 1):
        for order in range(1, 4):
            _email(
                shop,
                f"email_order_{customer}_{order}",
                "order_confirmation",
                customer,
                shop.ago(minutes=customer * 3 + order),
                orderId=f"order_{customer}_{order}",
                idempotencyKey=f"order-confirmation:order_{customer}_{order}",
            )
    _email(shop, "email_download_1", "download", 1, shop.ago(minutes=4))


def _emails_finished_and_stuck(shop: DemoShop) -> None:
    for number in range(1, 41):
        at = shop.ago(days=number)
        _email(
            shop,
            f"email_sent_{number:02}",
            "magic_link",
            number % len(NAMES) + 1,
            at,
            status="sent",
            attemptCount=1,
            sentAt=at,
            metadata={"purpose": "sign_in", "linkRedactedAt": at},
        )
    for number in range(1, 5):
        _email(
            shop,
            f"email_stuck_{number}",
            "magic_link",
            number,
            shop.ago(hours=number),
            attemptCount=5,
            leaseKey=f"worker_{number}",
            leasedAt=shop.ago(minutes=20),
            leaseExpiresAt=shop.ago(minutes=15),
            nextAttemptAt=shop.ago(minutes=15),
            metadata={"link": f"https://shop.example.test/magic/stuck-{number}"},
        )


def _webhooks(shop: DemoShop) -> None:
    for number in range(1, 41):
        at = shop.ago(days=number, hours=1)
        shop.add_recorded(
            "webhook",
            ("status", "receivedAt"),
            at,
            {
                "id": f"webhook_{number:02}",
                "provider": "stripe",
                "providerEventId": f"evt_{number:02}",
                "status": "processed",
                "attemptCount": 1,
                "receivedAt": at,
                "rawPayloadJson": {"id": f"evt_{number:02}", "data": {"object": {"amount_total": 100 * number}}},
            },
            provider="stripe",
            providerEventId=f"evt_{number:02}",
            payloadHash=f"sha256:{number:02}",
        )


def _workflow(shop: DemoShop, id_: str, /, **record: Any) -> None:
    at = shop.ago(hours=2)
    fields = ("kind", "status", "subjectType", "subjectId", "idempotencyKey", "nextAttemptAt", "leaseExpiresAt")
    shop.add_recorded(
        "workflow",
        fields,
        at,
        {
            "id": id_,
            "kind": "payment_webhook_fulfillment",
            "subjectType": "webhook",
            "subjectId": f"webhook_of_{id_}",
            "idempotencyKey": f"fulfil:{id_}",
            "attemptCount": 1,
            "maxAttempts": 5,
            "steps": [],
            "createdAt": at,
            "updatedAt": at,
            **record,
        },
    )


def _workflows(shop: DemoShop) -> None:
    for number in range(1, 4):
        _workflow(
            shop,
            f"workflow_stuck_{number}",
            status="running",
            attemptCount=5,
            leaseKey=f"worker_{number}",
            leasedAt=shop.ago(minutes=40),
            leaseExpiresAt=shop.ago(minutes=30 + number),
        )
    for number in range(1, 6):
        _workflow(shop, f"workflow_retry_{number}", status="failed", nextAttemptAt=shop.ago(minutes=number))


def _account_delete_requests(shop: DemoShop) -> None:
    for number in range(len(NAMES) + 1, len(NAMES) + len(LEAVING) + 1):
        record = {
            "id": f"delete_{number}",
            "status": "queued",
            "requestedAt": shop.ago(days=1, hours=number),
            "confirmTokenHash": f"confirm_{number}",
            "customerId": f"cus_{number}",
            "userId": f"user_{number}",
            "emailHash": f"hash_{number}",
        }
        mirrored = ("customerId", "userId", "emailHash", "status")
        shop.add_recorded("accountDeleteRequest", mirrored, record["requestedAt"], record)


def _carts(shop: DemoShop) -> None:
    for number in range(1, len(NAMES) + 1):
        shop.add(
            "session",
            "cart",
            f"cart_{number}",
            shop.ago(days=number),
            status="open",
            customerId=f"cus_{number}",
            currency="EUR",
            aggregate={"schemaVersion": 1, "currency": "EUR", "items": [{"sellableId": "sellable_1", "quantity": 1}]},
        )


def _stock(shop: DemoShop) -> None:
    at = shop.ago(days=100)
    events = list(_reservations(shop))
    for number, (_title, _price) in enumerate(PRODUCTS, 1):
        reserved = sum(event["quantity_delta"] for event in events if event["stock_item_id"] == f"stock_{number}")
        shop.stock_items.append(
            {
                "id": f"stock_{number}",
                "sellable_id": f"sellable_{number}",
                "policy": "finite",
                "quantity_on_hand": 40,
                "quantity_reserved": reserved,
                "allow_backorder": 0,
                "created_at": at,
                "updated_at": at,
            }
        )
    shop.stock_events += events


def _reservations(shop: DemoShop) -> Iterator[dict[str, Any]]:
    for number in range(1, 41):
        expired = number <= 24
        yield {
            "id": f"event_{number:02}",
            "stock_item_id": f"stock_{number % len(PRODUCTS) + 1}",
            "kind": "reservation",
            "status": "active",
            "cart_id": f"cart_{number % len(NAMES) + 1}",
            "customer_id": f"cus_{number % len(NAMES) + 1}",
            "idempotency_key": f"reserve:{number:02}",
            "quantity_delta": number % 3 + 1,
            "expires_at": shop.ago(minutes=number) if expired else shop.ahead(days=2),
            "created_at": shop.ago(hours=2),
            "updated_at": shop.ago(hours=2),
        }


def _ephemeral(shop: DemoShop) -> None:
    kinds = ("token", "rate_limit", "lock", "nonce", "cache_marker")
    for number in range(1, 121):
        kind = kinds[number % len(kinds)]
        shop.ephemeral_records.append(
            {
                "key": f"{kind}:{number:03}",
                "kind": kind,
                "subject_hash": f"customer:cus_{number % len(NAMES) + 1}",
                "status": "pending",
                "count": 1,
                "expires_at": shop.ago(minutes=number) if number <= 80 else shop.ahead(days=2),
                "created_at": shop.ago(hours=3),
                "updated_at": shop.ago(hours=3),
            }
        )


def _acp_sessions(shop: DemoShop) -> None:
    for number in range(1, 21):
        session: Document = {
            "id": f"acp_{number:02}",
            "status": "ready_for_payment",
            "currency": "EUR",
            "expiresAt": shop.ahead(days=1),
            "createdAt": shop.ago(days=2),
            "updatedAt": shop.ago(days=1, minutes=number),
            "version": 1,
        }
        if number <= 8:
            session["expiresAt"] = shop.ago(minutes=number)
        elif number <= 12:
            session |= {"status": "completed", "purgeAt": shop.ago(hours=number)}
        shop.acp_sessions.append(session)
