"""Backlogs that the benchmarks fill a shop with, one for each subtask."""

from collections.abc import Callable, Iterator
from typing import Final

from sqlalchemy import insert, text

from bench.shops import LINES, fill
from mika_ops.documents.document import Document
from mika_ops.store.database import Database
from mika_ops.store.schema.site import ephemeral_records, stock_events, stock_items
from mika_ops_testing.builders import (
    BEFORE,
    EARLIER,
    aggregated,
    delete_request,
    email,
    ephemeral,
    order,
    reservation,
    stock_item,
    webhook,
    workflow,
)


def _documents(count: int, make: Callable[[int], Document]) -> Iterator[Document]:
    return (make(number) for number in range(count))


def _beside(count: int) -> Iterator[Document]:
    """Yield documents that are due for nobody: three for each that is due."""
    return _documents(
        3 * count, lambda n: email(f"done_{n:06}", status="sent", sentAt=EARLIER, metadata={"note": LINES})
    )


def stuck_emails(shop: Database, count: int) -> None:
    leased: Document = {"attemptCount": 5, "leaseKey": "key", "leasedAt": EARLIER, "leaseExpiresAt": BEFORE}
    due = {**leased, "nextAttemptAt": BEFORE, "metadata": {"link": "https://shop.example.test/x", "note": LINES}}
    fill(shop, "ops", _documents(count, lambda n: email(f"stuck_{n:06}", **due)))
    fill(shop, "ops", _beside(count))


def raw_payloads(shop: Database, count: int) -> None:
    fill(shop, "ops", _documents(count, lambda n: webhook(f"raw_{n:06}", rawPayloadJson={"id": n, "text": LINES * 18})))
    fill(shop, "ops", _beside(count))


def stuck_workflows(shop: Database, count: int) -> None:
    lost: Document = {"status": "running", "attemptCount": 5, "leaseKey": "key", "leaseExpiresAt": BEFORE}
    fill(shop, "ops", _documents(count, lambda n: workflow(f"stuck_{n:06}", **lost)))
    fill(shop, "ops", _beside(count))


def stock(shop: Database, count: int) -> None:
    items = max(1, count // 40)
    with shop.engine.begin() as connection:
        connection.execute(
            insert(stock_items),
            [stock_item(f"item_{n:05}", sellable_id=f"s{n}", quantity_reserved=40) for n in range(items)],
        )
        connection.execute(
            insert(stock_events),
            [reservation(f"event_{n:06}", stock_item_id=f"item_{n % items:05}") for n in range(count)],
        )
    analyze(shop)


def ephemeral_rows(shop: Database, count: int) -> None:
    with shop.engine.begin() as connection:
        for start in range(0, count, ROWS_AT_ONCE):
            rows = [ephemeral(f"token:{n}", subject_hash=f"hash-{n}") for n in range(start, start + ROWS_AT_ONCE)]
            connection.execute(insert(ephemeral_records), rows[: count - start])
    analyze(shop)


def account_deletes(shop: Database, people: int) -> None:
    def who(n: int) -> Document:
        return {"customerId": f"cust_{n:05}", "emailHash": f"hash_{n:05}", "userId": f"user_{n:05}"}

    def person(n: int) -> Document:
        return {"email": f"p{n}@example.test", "name": f"Person {n}", "phone": "1", "address": {"line1": LINES}}

    fill(shop, "ops", _documents(people, lambda n: delete_request(f"delete_{n:05}", **who(n))))
    fill(shop, "account", _documents(people, lambda n: aggregated("customer", f"cust_{n:05}", person(n), **who(n))))
    orders = _documents(
        people * 12, lambda n: order(f"order_{n:06}", customer=person(n // 12), createdAt=EARLIER, **who(n // 12))
    )
    fill(shop, "ledger", orders)
    carts = _documents(
        people * 4, lambda n: aggregated("cart", f"cart_{n:06}", person(n // 4), status="open", **who(n // 4))
    )
    fill(shop, "session", carts)
    mails = _documents(
        people * 12,
        lambda n: email(
            f"mail_{n:06}",
            toEmail=f"p{n // 12}@example.test",
            customerId=f"cust_{n // 12:05}",
            orderId=f"order_{n:06}",
            status="queued" if n % 3 else "sent",
        ),
    )
    fill(shop, "ops", mails)


ROWS_AT_ONCE: Final = 10_000


def analyze(shop: Database) -> None:
    if shop.dialect == "postgresql":
        with shop.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
