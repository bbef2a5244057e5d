"""Stock reservations: releasing those that expired, and those of a customer.

Source: behaviour, section 7; orphans: deviations, number 2.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, bindparam, select

from mika_ops.ports import CustomerReservations, ReleasedReservations, Spent
from mika_ops.store.engine import Database
from mika_ops.store.id_lists import among
from mika_ops.store.schema import stock_events, stock_items
from mika_ops.timestamps import Timestamp

PAGE: Final = 20_000
"""Ids looked up by one query: many, since the database sorts all that is due for each."""

BATCH: Final = 2_000
"""Reservations released by one transaction: few enough that the storefront's writes never wait for long."""

_event = stock_events.c
_item = stock_items.c


@dataclass(frozen=True)
class StockRows:
    """Mika's stock tables. Fits ``ReservationRelease`` and ``StockRepository``."""

    database: Database

    def release_expired(self, *, due: Timestamp, now: Timestamp, spent: Spent) -> ReleasedReservations:
        """Release what expired, in id order; reservations without an item are left untouched and named."""
        expired = and_(_active(), _event.expires_at <= due)
        scanned = released = 0
        items: set[str] = set()
        orphans: list[str] = []
        after = ""
        while True:
            page = self._ids(expired, after=after)
            for start in range(0, len(page), BATCH):
                if spent():
                    return ReleasedReservations(scanned, released, len(items), tuple(orphans), has_more=True)
                ids = page[start : start + BATCH]
                batch = self.database.write(partial(self._release, expired, ids=ids, status="expired", now=now))
                scanned += len(ids)
                released += batch.released
                items.update(batch.items)
                orphans += batch.orphans
            if len(page) < PAGE:
                return ReleasedReservations(scanned, released, len(items), tuple(orphans))
            after = page[-1]

    def release_customers(self, customer_ids: Sequence[str], *, now: Timestamp) -> Mapping[str, CustomerReservations]:
        """Release these customers' active reservations; a customer with an orphan keeps all of theirs."""
        theirs = and_(_active(), among(self.database.dialect, _event.customer_id, customer_ids))
        orphaned = self._orphans(theirs)
        result = {customer: CustomerReservations(orphans=tuple(ids)) for customer, ids in orphaned.items()}
        counts: dict[str, int] = {}
        after = ""
        while True:
            page = self._ids(theirs, after=after)
            for start in range(0, len(page), BATCH):
                ids = page[start : start + BATCH]
                batch = self.database.write(
                    partial(
                        self._release,
                        theirs,
                        ids=ids,
                        status="released",
                        now=now,
                        except_customers=frozenset(orphaned),
                        wait=True,
                    )
                )
                for customer, count in batch.by_customer.items():
                    counts[customer] = counts.get(customer, 0) + count
            if len(page) < PAGE:
                break
            after = page[-1]
        return {**{customer: CustomerReservations(count) for customer, count in counts.items()}, **result}

    def _ids(self, condition: ColumnElement[bool], *, after: str) -> list[str]:
        id_ = self.database.json_sql.by_code_point(_event.id)
        statement = select(_event.id).where(condition, id_ > after).order_by(id_).limit(PAGE)
        with self.database.reading() as connection:
            return list(connection.execute(statement).scalars())

    def _orphans(self, condition: ColumnElement[bool]) -> dict[str, list[str]]:
        no_item = ~select(_item.id).where(_item.id == _event.stock_item_id).exists()
        statement = select(_event.customer_id, _event.id).where(condition, no_item).order_by(_event.id)
        orphans: dict[str, list[str]] = {}
        with self.database.reading() as connection:
            for customer, id_ in connection.execute(statement):
                orphans.setdefault(customer, []).append(id_)
        return orphans

    def _release(
        self,
        condition: ColumnElement[bool],
        connection: Connection,
        *,
        ids: Sequence[str],
        status: str,
        now: Timestamp,
        except_customers: frozenset[str] = frozenset(),
        wait: bool = False,
    ) -> "_Batch":
        """Release those of the ids for which the condition still holds: events and items' sums change together."""
        dialect, by_code_point = self.database.dialect, self.database.json_sql.by_code_point
        locked = (
            select(_event.id, _event.stock_item_id, _event.quantity_delta, _event.customer_id)
            .where(condition, among(dialect, _event.id, ids))
            .order_by(by_code_point(_event.id))
            .with_for_update(skip_locked=not wait)
        )
        events = [row for row in connection.execute(locked) if row.customer_id not in except_customers]
        # Items by id, so that two workers that release from the same items cannot wait for each other.
        items = (
            select(_item.id, _item.quantity_reserved)
            .where(among(dialect, _item.id, sorted({event.stock_item_id for event in events})))
            .order_by(by_code_point(_item.id))
            .with_for_update()
        )
        reserved = {row.id: row.quantity_reserved for row in connection.execute(items)}
        released = [event for event in events if event.stock_item_id in reserved]
        by_customer: dict[str, int] = {}
        for event in released:
            reserved[event.stock_item_id] = max(0, reserved[event.stock_item_id] - event.quantity_delta)
            by_customer[event.customer_id] = by_customer.get(event.customer_id, 0) + 1
        if released:
            connection.execute(
                stock_events.update()
                .where(among(dialect, _event.id, [event.id for event in released]))
                .values(status=status, idempotency_key=None, updated_at=now)
            )
            connection.execute(
                stock_items.update()
                .where(_item.id == bindparam("an_id"))
                .values(quantity_reserved=bindparam("a_quantity"), updated_at=now),
                [{"an_id": item, "a_quantity": quantity} for item, quantity in reserved.items()],
            )
        orphans = [event.id for event in events if event.stock_item_id not in reserved]
        return _Batch(len(released), frozenset(reserved), orphans, by_customer)


@dataclass(frozen=True)
class _Batch:
    released: int
    items: frozenset[str]
    orphans: list[str]
    by_customer: Mapping[str, int]


def _active() -> ColumnElement[bool]:
    return and_(_event.kind == "reservation", _event.status == "active")
