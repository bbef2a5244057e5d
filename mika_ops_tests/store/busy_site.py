"""A site that has been in business for a while: thousands of documents, of which few are due."""

from collections.abc import Iterator
from typing import Any

from mika_ops.documents.document import ABSENT, Document
from mika_ops.documents.selection import Collection
from mika_ops.store.acp_sessions import AcpSessionStore
from mika_ops.store.database import Database
from mika_ops.store.schema.site import ephemeral_records, stock_events, stock_items
from mika_ops_testing.builders import (
    BEFORE,
    EARLIER,
    LATER,
    acp_session,
    aggregated,
    delete_request,
    email,
    ephemeral,
    order,
    put,
    put_rows,
    recorded,
    reservation,
    stock_item,
    webhook,
    workflow,
)

CUSTOMERS = 250
LEASE_LAPSED: Document = {"attemptCount": 5, "leaseExpiresAt": BEFORE, "leaseKey": "k"}


def fill(database: Database) -> int:
    """Fill an empty site; return how many documents it has."""
    documents: dict[Collection, list[Document]] = {
        "ops": [*_emails(), *_webhooks(), *_workflows(), *_requests(), *_exports()],
        "ledger": [
            order(f"order_{n}", customer={"email": "a", "userId": f"user_{n}"}, **_keys(n, "customerId", "emailHash"))
            for n in range(500)
        ],
        "account": list(_accounts()),
        "session": [
            aggregated(
                ("cart", "checkout", "wishlist")[n % 3],
                f"session_{n}",
                {"customer": _keys(n, "userId", "emailHash")},
                status="active",
                **_keys(n, "customerId"),
            )
            for n in range(400)
        ],
        "catalog": [{"id": f"product_{n}", "type": "product", "active": True} for n in range(100)],
    }
    for collection, of_it in documents.items():
        put(database, collection, *of_it)
    put_rows(database, stock_items, *(stock_item(f"stock_{n}", quantity_reserved=1) for n in range(50)))
    put_rows(
        database,
        stock_events,
        *(
            reservation(f"event_{n}", stock_item_id=f"stock_{n % 50}", status="expired" if n % 10 else "active")
            for n in range(500)
        ),
    )
    put_rows(database, ephemeral_records, *(ephemeral(f"t:{n}", subject_hash=f"user:user_{n}") for n in range(300)))
    AcpSessionStore(database).put([acp_session(f"acp_{n}", expiresAt=BEFORE if n < 5 else LATER) for n in range(200)])
    return sum(map(len, documents.values()))


def _keys(number: int, *keys: str) -> dict[str, Any]:
    person = number % CUSTOMERS
    every = {"customerId": f"customer_{person}", "userId": f"user_{person}", "emailHash": f"hash_{person}"}
    return {key: every[key] for key in keys}


def _emails() -> Iterator[Document]:
    for n in range(900):
        fields: Document = {"customerId": f"customer_{n % CUSTOMERS}"}
        match n:
            case _ if n < 20:
                yield email(f"email_{n}", **fields, nextAttemptAt=BEFORE)
            case _ if n < 30:
                yield email(f"email_{n}", **fields, **LEASE_LAPSED)
            case _ if n < 60:
                yield email(f"email_{n}", **fields, status="failed", attemptCount=5)
            case _:
                yield email(f"email_{n}", **fields, status="sent", sentAt=EARLIER)


def _webhooks() -> Iterator[Document]:
    for n in range(500):
        purged: Document = {} if n < 30 else {"rawPayloadJson": ABSENT, "rawPayloadPurgedAt": EARLIER}
        yield webhook(f"webhook_{n}", **purged)


def _workflows() -> Iterator[Document]:
    for n in range(500):
        match n:
            case _ if n < 10:
                yield workflow(f"workflow_{n}", status="failed", nextAttemptAt=BEFORE)
            case _ if n < 20:
                yield workflow(f"workflow_{n}", status="running", leaseExpiresAt=BEFORE)
            case _ if n < 25:
                yield workflow(f"workflow_{n}", status="running", **LEASE_LAPSED)
            case _:
                yield workflow(f"workflow_{n}", status="completed")


def _requests() -> Iterator[Document]:
    for n in range(50):
        status = "queued" if n < 8 else "completed"
        yield delete_request(f"request_{n}", status=status, **_keys(n, "customerId", "userId", "emailHash"))


def _exports() -> Iterator[Document]:
    for n in range(100):
        fields = {"id": f"export_{n}", "status": "expired" if n > 9 else "ready", **_keys(n, "customerId")}
        yield recorded("accountExport", ("status", "expiresAt"), fields)


def _accounts() -> Iterator[Document]:
    for n in range(CUSTOMERS):
        keys = _keys(n, "customerId", "userId", "emailHash")
        yield aggregated("customer", f"customer_{n}", {"email": "a"}, **keys)
        yield recorded("entitlement", (), {"id": f"entitlement_{n}", **keys}, **keys)
        if n % 2:
            yield recorded("license", (), {"id": f"license_{n}", "status": "active"}, status="active", **keys)
            yield aggregated("subscription", f"subscription_{n}", {"email": "a"}, status="cancelled", **keys)
            yield recorded("providerAccount", (), {"id": f"account_{n}", "emailSnapshot": "a"}, **keys)
