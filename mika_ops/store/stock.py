"""Stock reservations: releasing those that expired, and those of a customer.

Source: behaviour, section 7; orphans: deviations, number 2.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, TextClause, and_, select, text

from mika_ops.deadline import OutOfTime
from mika_ops.ports.stock import CustomerReservations, ReleasedReservations
from mika_ops.store.database import Database
from mika_ops.store.in_list import in_list
from mika_ops.store.schema.site import stock_events, stock_items
from mika_ops.timestamps import Timestamp

PAGE: Final = 20_000
"""Ids looked up by one query: many, since the database sorts all that is due for each."""

BATCH: Final = 8_000
"""Reservations released by one transaction: few enough that the storefront's writes never wait for long."""

_event = stock_events.c
_item = stock_items.c


@dataclass(frozen=True)
class StockRows:
    """Mika's stock tables. Fits ``ReservationRelease`` and ``StockRepository``."""

    database: Database

    def release_expired(self, *, due: Timestamp, now: Timestamp, out_of_time: OutOfTime) -> ReleasedReservations:
        """Release what expired, oldest first; reservations without an item are left untouched and named."""
        expired = and_(_active(), _event.expires_at <= due)
        released, has_more = 0, False
        items: set[str] = set()
        while True:
            if out_of_time():
                has_more = self._any(expired)
                break
            count, touched = self.database.write(partial(self._release_expired, due=due, now=now))
            released += count
            items.update(touched)
            if count < BATCH:
                break
        # Once the others are released, or the time is up: there may be many, and they are looked up by one index less.
        orphans = () if has_more else tuple(id_ for ids in self._orphans(expired).values() for id_ in ids)
        return ReleasedReservations(released + len(orphans), released, len(items), orphans, has_more=has_more)

    def release_customers(self, customer_ids: Sequence[str], *, now: Timestamp) -> Mapping[str, CustomerReservations]:
        """Release these customers' active reservations; a customer with an orphan keeps all of theirs."""
        theirs = and_(_active(), in_list(self.database.dialect, _event.customer_id, customer_ids))
        orphaned = self._orphans(theirs)
        result = {customer: CustomerReservations(orphans=tuple(ids)) for customer, ids in orphaned.items()}
        free = [customer for customer in customer_ids if customer not in orphaned]
        counts = Counter[str]()
        after = ""
        while True:
            page = self._ids(theirs, after=after)
            for start in range(0, len(page), BATCH):
                ids = page[start : start + BATCH]
                counts += self.database.write(partial(self._release_theirs, ids=ids, customers=free, now=now))
            if len(page) < PAGE:
                break
            after = page[-1]
        return {**{customer: CustomerReservations(count) for customer, count in counts.items()}, **result}

    def _any(self, condition: ColumnElement[bool]) -> bool:
        has_item = select(_item.id).where(_item.id == _event.stock_item_id).exists()
        one = select(_event.id).where(condition, has_item).limit(1)
        return self.database.read(lambda connection: connection.execute(one).first()) is not None

    def _release_expired(self, connection: Connection, *, due: Timestamp, now: Timestamp) -> tuple[int, Sequence[str]]:
        """Release one batch: events and items' sums change together. Return how many, and on which items."""
        values = {"due": due, "now": now, "limit": BATCH}
        if self.database.dialect == "postgresql":
            row = connection.execute(_EXPIRE, values).one()
            return row.released, row.items
        items = connection.execute(_LOWER_EXPIRED, values).scalars().all()
        return connection.execute(_MARK_EXPIRED, values).rowcount, items

    def _ids(self, condition: ColumnElement[bool], *, after: str) -> list[str]:
        id_ = self.database.json_sql.by_code_point(_event.id)
        statement = select(_event.id).where(condition, id_ > after).order_by(id_).limit(PAGE)
        return self.database.read(lambda connection: list(connection.execute(statement).scalars()))

    def _orphans(self, condition: ColumnElement[bool]) -> dict[str, list[str]]:
        no_item = ~select(_item.id).where(_item.id == _event.stock_item_id).exists()
        statement = select(_event.customer_id, _event.id).where(condition, no_item).order_by(_event.id)
        orphans: dict[str, list[str]] = {}
        for customer, id_ in self.database.read(lambda connection: connection.execute(statement).all()):
            orphans.setdefault(customer, []).append(id_)
        return orphans

    def _release_theirs(
        self, connection: Connection, *, ids: Sequence[str], customers: Sequence[str], now: Timestamp
    ) -> Counter[str]:
        """Release those of the ids that are still active and these customers': return how many of whom."""
        dialect = self.database.dialect
        values = {"ids": _listed(dialect, ids), "customers": _listed(dialect, customers), "now": now}
        if dialect == "postgresql":
            return Counter(connection.execute(_RELEASE_THEIRS, values).one().customers)
        connection.execute(_LOWER_THEIRS, values)
        return Counter(connection.execute(_MARK_THEIRS, values).scalars())


_EXPIRED: Final = (
    "FROM mika_stock_events AS e WHERE e.status = 'active' AND e.kind = 'reservation' AND e.expires_at <= :due "
    "AND EXISTS (SELECT 1 FROM mika_stock_items AS i WHERE i.id = e.stock_item_id)"
)
_LITE_BATCH: Final = f"SELECT e.rowid {_EXPIRED} ORDER BY e.expires_at, e.rowid LIMIT :limit"
_LOWER_EXPIRED: Final = text(
    "UPDATE mika_stock_items AS i "  # noqa: S608 - our own words
    "SET updated_at = :now, quantity_reserved = max(0, i.quantity_reserved - due.quantity) "
    "FROM (SELECT stock_item_id, sum(quantity_delta) AS quantity FROM mika_stock_events "
    f"WHERE rowid IN ({_LITE_BATCH}) GROUP BY stock_item_id) AS due WHERE i.id = due.stock_item_id RETURNING id"
)
_MARK_EXPIRED: Final = text(
    "UPDATE mika_stock_events SET status = 'expired', idempotency_key = NULL, updated_at = :now "  # noqa: S608
    f"WHERE rowid IN ({_LITE_BATCH})"
)
"""SQLite has one writer at a time: nothing changes between the two, and both find the same batch."""

_LITE_THEIRS: Final = (
    "FROM mika_stock_events AS e WHERE e.id IN (SELECT value FROM json_each(:ids)) "
    "AND e.kind = 'reservation' AND e.status = 'active' AND e.customer_id IN (SELECT value FROM json_each(:customers)) "
    "AND EXISTS (SELECT 1 FROM mika_stock_items AS i WHERE i.id = e.stock_item_id)"
)
_LOWER_THEIRS: Final = text(
    "UPDATE mika_stock_items AS i "  # noqa: S608 - our own words
    "SET updated_at = :now, quantity_reserved = max(0, i.quantity_reserved - due.quantity) "
    f"FROM (SELECT e.stock_item_id, sum(e.quantity_delta) AS quantity {_LITE_THEIRS} GROUP BY e.stock_item_id) AS due "
    "WHERE i.id = due.stock_item_id"
)
_MARK_THEIRS: Final = text(
    "UPDATE mika_stock_events SET status = 'released', idempotency_key = NULL, updated_at = :now "  # noqa: S608
    f"WHERE id IN (SELECT e.id {_LITE_THEIRS}) RETURNING customer_id"
)


def _on_postgres(due: str, status: str, *, customers: str) -> TextClause:
    """Return a release as one statement: the events that are ``due`` are locked, then their items by id, and changed.

    Items are locked in one order, so that two workers cannot wait for each other. Events are looked up by an array:
    joined with what is due, Postgres would read through all that there ever were, for each batch.
    """
    return text(
        f"WITH due AS MATERIALIZED (SELECT e.id, e.stock_item_id, e.quantity_delta {due}), "  # noqa: S608
        "sums AS (SELECT stock_item_id, sum(quantity_delta) AS quantity FROM due GROUP BY stock_item_id), "
        "held AS MATERIALIZED (SELECT i.id FROM mika_stock_items AS i WHERE i.id IN (SELECT stock_item_id FROM sums) "
        'ORDER BY i.id COLLATE "C" FOR UPDATE), '
        "lowered AS (UPDATE mika_stock_items AS i SET updated_at = :now, "
        "quantity_reserved = greatest(0, i.quantity_reserved - sums.quantity) "
        "FROM sums, held WHERE held.id = sums.stock_item_id AND i.id = held.id RETURNING i.id), "
        f"marked AS (UPDATE mika_stock_events AS e SET status = '{status}', idempotency_key = NULL, updated_at = :now "
        "WHERE e.id = ANY(ARRAY(SELECT due.id FROM due, held WHERE held.id = due.stock_item_id)) "
        "RETURNING e.customer_id) "
        "SELECT (SELECT count(*) FROM marked) AS released, ARRAY(SELECT id FROM lowered) AS items, "
        f"ARRAY({customers}) AS customers"
    )


_EXPIRE: Final = _on_postgres(
    f"{_EXPIRED} ORDER BY e.expires_at LIMIT :limit FOR UPDATE SKIP LOCKED",
    "expired",
    customers="SELECT NULL::text WHERE false",
)
_RELEASE_THEIRS: Final = _on_postgres(
    "FROM mika_stock_events AS e WHERE e.id = ANY(CAST(:ids AS text[])) AND e.kind = 'reservation' "
    "AND e.status = 'active' AND e.customer_id = ANY(CAST(:customers AS text[])) "
    'ORDER BY e.id COLLATE "C" FOR UPDATE',
    "released",
    customers="SELECT customer_id FROM marked",
)


def _listed(dialect: str, texts: Sequence[str] | None) -> Any:
    """Return texts as each dialect takes a list."""
    if texts is None:
        return None
    return json.dumps(list(texts)) if dialect == "sqlite" else list(texts)


def _active() -> ColumnElement[bool]:
    return and_(_event.kind == "reservation", _event.status == "active")
