"""Releasing stock reservations (behaviour, section 7; deviations, number 2), in bounded batches."""

import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, update

from mika_ops.deadline import never_out_of_time
from mika_ops.documents.document import Document
from mika_ops.ports.stock import CustomerReservations, ReleasedReservations
from mika_ops.store import stock
from mika_ops.store.database import Database
from mika_ops.store.schema.site import stock_events, stock_items
from mika_ops.store.stock import StockRows
from mika_ops_testing.builders import AFTER, BEFORE, EARLIER, LATER, NOW, put_rows, reservation, rows_of, stock_item
from mika_ops_tests.store.arbitrary import on_a_database


@pytest.fixture
def rows(database: Database) -> StockRows:
    return StockRows(database)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock, "BATCH", 2)
    monkeypatch.setattr(stock, "PAGE", 4)


def release(rows: StockRows) -> ReleasedReservations:
    return rows.release_expired(due=NOW, now=LATER, out_of_time=never_out_of_time)


def fill(rows: StockRows, items: list[Document], events: list[Document]) -> None:
    put_rows(rows.database, stock_items, *items)
    put_rows(rows.database, stock_events, *events)


def event(rows: StockRows, id_: str = "event_1") -> Document:
    return rows_of(rows.database, stock_events)[id_]


def item(rows: StockRows, id_: str = "stock_1") -> Document:
    return rows_of(rows.database, stock_items)[id_]


@pytest.mark.parametrize(("expires_at", "released"), [(BEFORE, 1), (NOW, 1), (AFTER, 0), (None, 0)])
def test_a_reservation_is_released_at_its_end(expires_at: str | None, released: int, rows: StockRows) -> None:
    fill(rows, [stock_item(quantity_reserved=1)], [reservation(expires_at=expires_at)])
    assert release(rows) == ReleasedReservations(scanned=released, released=released, stock_items=released)


@pytest.mark.parametrize(
    "columns",
    [{"status": status} for status in ("released", "consumed", "expired", "recorded")] + [{"kind": "movement"}],
    ids=str,
)
def test_what_is_no_active_reservation_is_left_alone(columns: Document, rows: StockRows) -> None:
    fill(rows, [stock_item(quantity_reserved=1)], [reservation(**columns)])
    before = event(rows), item(rows)
    assert release(rows) == ReleasedReservations()
    assert (event(rows), item(rows)) == before


def test_a_released_reservation_is_expired_and_gives_its_key_back(rows: StockRows) -> None:
    fill(rows, [stock_item(quantity_reserved=1)], [reservation(cart_id="cart_1")])
    before = event(rows)
    release(rows)
    changed = {"status": "expired", "idempotency_key": None, "updated_at": LATER}
    assert event(rows) == {**before, **changed}


def test_an_items_reserved_quantity_goes_down_by_the_reservations(rows: StockRows) -> None:
    events = [
        reservation("a", quantity_delta=2),
        reservation("b", quantity_delta=3),
        reservation("c", expires_at=LATER),
    ]
    fill(rows, [stock_item(quantity_reserved=6)], events)
    before = item(rows)
    assert release(rows) == ReleasedReservations(scanned=2, released=2, stock_items=1)
    assert item(rows) == {**before, "quantity_reserved": 1, "updated_at": LATER}


def test_an_items_reserved_quantity_never_goes_below_zero(rows: StockRows) -> None:
    fill(rows, [stock_item(quantity_reserved=1)], [reservation(quantity_delta=5)])
    release(rows)
    assert item(rows)["quantity_reserved"] == 0


def test_items_without_a_released_reservation_are_not_touched(rows: StockRows) -> None:
    fill(rows, [stock_item(quantity_reserved=1), stock_item("stock_2", quantity_reserved=1)], [reservation()])
    before = item(rows, "stock_2")
    release(rows)
    assert item(rows, "stock_2") == before


def test_orphans_are_left_alone_and_named_while_all_others_are_released(rows: StockRows) -> None:
    orphans = [reservation("a", stock_item_id="gone"), reservation("c", stock_item_id="gone_too")]
    fill(rows, [stock_item(quantity_reserved=1)], [*orphans, reservation("b")])
    before = event(rows, "a"), event(rows, "c")
    assert release(rows) == ReleasedReservations(scanned=3, released=1, stock_items=1, orphans=("a", "c"))
    assert (event(rows, "a"), event(rows, "c")) == before
    assert item(rows)["quantity_reserved"] == 0


@pytest.mark.usefixtures("small_batches")
def test_orphans_do_not_keep_the_release_from_going_on(rows: StockRows) -> None:
    orphans = [reservation(f"a{number}", stock_item_id="gone") for number in range(9)]
    fill(rows, [stock_item(quantity_reserved=3)], [*orphans, *(reservation(f"b{number}") for number in range(3))])
    done = release(rows)
    assert (done.scanned, done.released, len(done.orphans), done.has_more) == (12, 3, 9, False)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 9])
def test_every_reservation_is_released_however_the_batches_fall(count: int, rows: StockRows) -> None:
    fill(rows, [stock_item(quantity_reserved=count)], [reservation(f"event_{number}") for number in range(count)])
    assert release(rows) == ReleasedReservations(scanned=count, released=count, stock_items=1)
    assert item(rows)["quantity_reserved"] == 0
    assert release(rows) == ReleasedReservations()


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize(("batches", "released"), [(0, 0), (1, 2), (2, 4)])
def test_time_that_is_spent_half_way_leaves_the_rest_for_the_next_run(
    batches: int, released: int, rows: StockRows
) -> None:
    fill(rows, [stock_item(quantity_reserved=5)], [reservation(f"event_{number}") for number in range(5)])
    asked = iter([False] * batches + [True])
    done = rows.release_expired(due=NOW, now=LATER, out_of_time=lambda: next(asked))
    assert done == ReleasedReservations(released, released, min(1, released), has_more=True)
    assert item(rows)["quantity_reserved"] == 5 - released
    assert release(rows).released == 5 - released


def test_time_that_is_spent_is_no_reason_to_speak_of_more_where_there_is_none(rows: StockRows) -> None:
    assert not rows.release_expired(due=NOW, now=LATER, out_of_time=lambda: True).has_more


@pytest.mark.usefixtures("small_batches")
def test_the_oldest_reservations_are_released_first(rows: StockRows) -> None:
    times = [NOW, EARLIER, BEFORE, "2026-02-01T00:00:00.000Z"]
    fill(rows, [stock_item(quantity_reserved=4)], [reservation(time, expires_at=time) for time in times])
    asked = iter([False, True])
    rows.release_expired(due=NOW, now=LATER, out_of_time=lambda: next(asked))
    released = {id_ for id_, row in rows_of(rows.database, stock_events).items() if row["status"] == "expired"}
    assert released == {EARLIER, "2026-02-01T00:00:00.000Z"}


def test_a_reservation_that_was_prolonged_in_the_meantime_is_not_released(rows: StockRows) -> None:
    fill(rows, [stock_item(quantity_reserved=2)], [reservation("a"), reservation("b")])

    def prolonged() -> bool:
        with rows.database.engine.begin() as connection:
            connection.execute(update(stock_events).where(stock_events.c.id == "a").values(expires_at=LATER))
        return False

    done = rows.release_expired(due=NOW, now=NOW, out_of_time=prolonged)
    assert (done.released, event(rows, "a")["status"], item(rows)["quantity_reserved"]) == (1, "active", 1)


EVENTS = st.lists(
    st.fixed_dictionaries(
        {
            "stock_item_id": st.sampled_from(["stock_1", "stock_2", "gone"]),
            "status": st.sampled_from(["active", "active", "active", "released", "consumed"]),
            "kind": st.sampled_from(["reservation", "reservation", "reservation", "movement"]),
            "quantity_delta": st.integers(1, 9),
            "customer_id": st.sampled_from(["ada", "bob", None]),
            "expires_at": st.sampled_from([EARLIER, BEFORE, NOW, AFTER, LATER, None]),
        }
    ),
    min_size=1,
    max_size=12,
)


def still_reserved(rows: StockRows, item_id: str) -> int:
    """Return the sum of an item's active reservations."""
    return sum(
        row["quantity_delta"]
        for row in rows_of(rows.database, stock_events).values()
        if (row["stock_item_id"], row["kind"], row["status"]) == (item_id, "reservation", "active")
    )


def refill(rows: StockRows, drawn: list[Mapping[str, Any]]) -> None:
    """Fill the tables so that each item's reserved quantity is the sum of its active reservations."""
    with rows.database.engine.begin() as connection:
        connection.execute(delete(stock_events))
        connection.execute(delete(stock_items))
    put_rows(rows.database, stock_events, *(reservation(f"event_{n:02}", **columns) for n, columns in enumerate(drawn)))
    reserved = {id_: still_reserved(rows, id_) for id_ in ("stock_1", "stock_2")}
    put_rows(rows.database, stock_items, *(stock_item(id_, quantity_reserved=sum_) for id_, sum_ in reserved.items()))


@pytest.mark.usefixtures("small_batches")
def test_an_items_reserved_quantity_stays_the_sum_of_its_active_reservations(rows: StockRows) -> None:
    @on_a_database
    @given(drawn=EVENTS, batches=st.integers(0, 8))
    def holds(drawn: list[Mapping[str, Any]], batches: int) -> None:
        refill(rows, drawn)
        asked = iter([False] * batches)
        rows.release_expired(due=NOW, now=NOW, out_of_time=lambda: next(asked, True))
        rows.release_customers(["ada"], now=NOW)
        for id_ in ("stock_1", "stock_2"):
            assert item(rows, id_)["quantity_reserved"] == still_reserved(rows, id_) >= 0

    holds()


def test_a_customers_reservations_are_released_whenever_they_end(rows: StockRows) -> None:
    events = [
        reservation("a", customer_id="ada", expires_at=LATER, quantity_delta=2),
        reservation("b", customer_id="ada", expires_at=None),
        reservation("c", customer_id="bob", expires_at=LATER),
        reservation("d", customer_id="ada", status="consumed"),
    ]
    fill(rows, [stock_item(quantity_reserved=4)], events)
    assert rows.release_customers(["ada"], now=NOW) == {"ada": CustomerReservations(2)}
    assert [event(rows, id_)["status"] for id_ in "abcd"] == ["released", "released", "active", "consumed"]
    assert event(rows, "a")["idempotency_key"] is None
    assert event(rows, "a")["updated_at"] == item(rows)["updated_at"] == NOW
    assert item(rows)["quantity_reserved"] == 1


def test_customers_without_reservations_are_not_listed(rows: StockRows) -> None:
    assert rows.release_customers(["ada", "bob"], now=NOW) == {}


def test_a_customer_with_an_orphan_keeps_all_and_keeps_nobody_else(rows: StockRows) -> None:
    events = [
        reservation("a", customer_id="ada"),
        reservation("b", customer_id="ada", stock_item_id="gone"),
        reservation("c", customer_id="bob"),
    ]
    fill(rows, [stock_item(quantity_reserved=2)], events)
    assert rows.release_customers(["ada", "bob"], now=NOW) == {
        "ada": CustomerReservations(orphans=("b",)),
        "bob": CustomerReservations(1),
    }
    assert [event(rows, id_)["status"] for id_ in "abc"] == ["active", "active", "released"]
    assert item(rows)["quantity_reserved"] == 1


@pytest.mark.usefixtures("small_batches")
def test_a_customers_reservations_are_all_released_however_many(rows: StockRows) -> None:
    ids = [f"event_{number}" for number in range(11)]
    random.Random(1).shuffle(ids)  # noqa: S311 - an order, not a secret
    fill(rows, [stock_item(quantity_reserved=11)], [reservation(id_, customer_id="ada") for id_ in ids])
    assert rows.release_customers(["ada"], now=NOW) == {"ada": CustomerReservations(11)}
    assert item(rows)["quantity_reserved"] == 0


@pytest.mark.usefixtures("small_batches")
def test_what_was_bought_in_the_meantime_is_not_released(rows: StockRows) -> None:
    fill(rows, [stock_item(quantity_reserved=2)], [reservation("a"), reservation("b")])

    def bought() -> bool:
        with rows.database.engine.begin() as connection:
            connection.execute(update(stock_events).where(stock_events.c.id == "b").values(status="consumed"))
            connection.execute(update(stock_items).values(quantity_reserved=1))
        return False

    done = rows.release_expired(due=NOW, now=NOW, out_of_time=bought)
    assert (done.released, event(rows, "b")["status"], item(rows)["quantity_reserved"]) == (1, "consumed", 0)
