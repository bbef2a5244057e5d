"""The conformance suites of ``ReservationRelease`` and ``StockRepository``."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from mika_ops.deadline import never_out_of_time
from mika_ops.ports.stock import CustomerReservations, ReleasedReservations, ReservationRelease, StockRepository
from mika_ops_testing.builders import AFTER, BEFORE, EARLIER, LATER, NOW
from mika_ops_testing.conformance.expectations import expect_equal, expect_port, expect_type, required
from mika_ops_testing.conformance.shop_data import Reservation

MakeStock = Callable[[Mapping[str, int], Sequence[Reservation]], Any]
"""Takes the reserved quantity of each item and the active reservations; returns the component that holds them."""


class StockConformance:
    """What both suites of stock need from the host."""

    @pytest.fixture
    def make_stock(self) -> Any:
        """Return a function that takes reserved quantities and reservations, and returns the component."""
        required(
            "make_stock",
            "a function that takes the reserved quantity of each item, by id, and a list of Reservation, and returns "
            "your component, which holds only these",
        )

    def reserved(self, stock: Any) -> Mapping[str, int]:
        """Return the reserved quantity of each item, by id, as it is stored now."""
        raise NotImplementedError("define reserved(self, stock): it returns the reserved quantity of each item, by id")


class ReservationReleaseConformance(StockConformance):
    """Holds a ``ReservationRelease`` against its port.

    A host defines the fixture ``make_stock`` and the method ``reserved``, which reads the stored quantities.
    """

    def test_it_has_the_methods_of_the_port(self, make_stock: MakeStock) -> None:
        """The port: `release_expired` exists."""
        expect_port(make_stock({}, []), ReservationRelease)

    def test_nothing_expired_is_nothing_released(self, make_stock: MakeStock) -> None:
        """`release_expired`: without expired reservations, every count is zero."""
        stock = make_stock({"bowl": 1}, [Reservation("a", expires_at=LATER)])
        expect_equal(release(stock), ReleasedReservations(), "report zero counts if nothing has expired")

    @pytest.mark.parametrize(("expires_at", "released"), [(BEFORE, 1), (NOW, 1), (AFTER, 0)])
    def test_a_reservation_is_released_at_its_end(self, expires_at: str, released: int, make_stock: MakeStock) -> None:
        """`release_expired`: `expires_at <= due`, to the millisecond."""
        stock = make_stock({"bowl": 1}, [Reservation("a", expires_at=expires_at)])
        expected = ReleasedReservations(scanned=released, released=released, stock_items=released)
        expect_equal(release(stock), expected, "release a reservation if its expires_at <= due, also if they are equal")
        advice = "lower the reserved quantity of the item by what is released"
        expect_equal(dict(self.reserved(stock)), {"bowl": 1 - released}, advice)

    def test_an_items_quantity_goes_down_by_what_is_released(self, make_stock: MakeStock) -> None:
        """`release_expired`: an item's reserved quantity is the sum of its active reservations."""
        reservations = [
            Reservation("a", quantity=2),
            Reservation("b", quantity=3),
            Reservation("c", expires_at=LATER),
            Reservation("d", "cup"),
        ]
        stock = make_stock({"bowl": 6, "cup": 1, "pot": 4}, reservations)
        expected = ReleasedReservations(scanned=3, released=3, stock_items=2)
        expect_equal(release(stock), expected, "count the reservations released, and the items that they were on")
        advice = "an item's reserved quantity must be the sum of its active reservations"
        expect_equal(dict(self.reserved(stock)), {"bowl": 1, "cup": 0, "pot": 4}, advice)

    def test_a_released_reservation_is_not_released_again(self, make_stock: MakeStock) -> None:
        """The ports: a method may be called again; what is done stays as it is."""
        stock = make_stock({"bowl": 2}, [Reservation("a"), Reservation("b", expires_at=LATER)])
        release(stock)
        expect_equal(release(stock), ReleasedReservations(), "do not release a reservation twice")
        expect_equal(release(stock, due=LATER).released, 1, "keep a reservation that had not expired for a later run")
        expect_equal(dict(self.reserved(stock)), {"bowl": 0}, "do not lower the reserved quantity twice")

    def test_a_reservation_without_its_item_is_named_and_left(self, make_stock: MakeStock) -> None:
        """`ReleasedReservations.orphans`: left untouched and named; `scanned` includes them."""
        stock = make_stock({"bowl": 1}, [Reservation("a", "gone"), Reservation("b"), Reservation("c", "gone")])
        done = release(stock)
        advice = "name each reservation whose item does not exist in orphans, and release the others"
        expect_equal((sorted(done.orphans), done.released, done.scanned), (["a", "c"], 1, 3), advice)
        expect_equal(sorted(release(stock).orphans), ["a", "c"], "leave an orphan untouched: the next run names it")

    def test_a_release_without_time_leaves_the_rest_for_the_next_run(self, make_stock: MakeStock) -> None:
        """`out_of_time`: asked between batches; `has_more` says that some are left."""
        stock = make_stock({"bowl": 2}, [Reservation("a"), Reservation("b", expires_at=EARLIER)])
        done = release(stock, out_of_time=lambda: True)
        advice = "ask out_of_time() before each batch; if it is true, return with has_more"
        expect_equal((done.released, done.has_more), (0, True), advice)
        expect_equal(dict(self.reserved(stock)), {"bowl": 2}, "release nothing if there is no time")
        expect_equal(release(stock).released, 2, "the next run must find what was left")


class StockRepositoryConformance(StockConformance):
    """Holds a ``StockRepository`` against its port.

    A host defines the fixture ``make_stock`` and the method ``reserved``, which reads the stored quantities.
    """

    def test_it_has_the_methods_of_the_port(self, make_stock: MakeStock) -> None:
        """The port: `release_customers` exists."""
        expect_port(make_stock({}, []), StockRepository)

    def test_all_reservations_of_a_customer_are_released(self, make_stock: MakeStock) -> None:
        """`release_customers`: all active reservations of these customers, whenever they end."""
        reservations = [
            Reservation("a", quantity=2, expires_at=LATER, customer_id="ada"),
            Reservation("b", customer_id="ada"),
            Reservation("c", expires_at=LATER, customer_id="bo"),
            Reservation("d"),
        ]
        stock = make_stock({"bowl": 5}, reservations)
        released = release_customers(stock, "ada")
        expect_equal(released, {"ada": CustomerReservations(2)}, "release all reservations of the customer, no others")
        expect_equal(dict(self.reserved(stock)), {"bowl": 2}, "lower the reserved quantity by what is released")
        expect_equal(release_customers(stock, "ada"), {}, "do not release a reservation twice")

    def test_each_customers_releases_are_counted_apart(self, make_stock: MakeStock) -> None:
        """`release_customers`: returns the counts by customer; one without reservations may be left out."""
        reservations = [Reservation(f"r{number}", customer_id="ada" if number else "bo") for number in range(4)]
        stock = make_stock({"bowl": 4}, reservations)
        expected = {"ada": CustomerReservations(3), "bo": CustomerReservations(1)}
        advice = "return how many were released, by customer"
        expect_equal(release_customers(stock, "ada", "bo", "nobody"), expected, advice)

    def test_a_customer_with_an_orphan_keeps_all(self, make_stock: MakeStock) -> None:
        """`release_customers`: one with an orphan keeps all reservations; the others are released."""
        reservations = [
            Reservation("a", customer_id="ada"),
            Reservation("b", "gone", customer_id="ada"),
            Reservation("c", customer_id="bo"),
        ]
        stock = make_stock({"bowl": 2}, reservations)
        expected = {"ada": CustomerReservations(orphans=("b",)), "bo": CustomerReservations(1)}
        advice = "if an item of a customer does not exist, release nothing of that customer and name the reservation"
        expect_equal(release_customers(stock, "ada", "bo"), expected, advice)
        expect_equal(dict(self.reserved(stock)), {"bowl": 1}, "keep what is reserved for a customer with an orphan")


def release(stock: Any, *, due: str = NOW, out_of_time: Callable[[], bool] = never_out_of_time) -> ReleasedReservations:
    """Release what has expired, and check the type of the result."""
    __tracebackhide__ = True
    done: Any = stock.release_expired(due=due, now=LATER, out_of_time=out_of_time)
    expect_type(done, ReleasedReservations, "release_expired must return mika_ops.ports.ReleasedReservations")
    assert isinstance(done, ReleasedReservations)
    return done


def release_customers(stock: StockRepository, *customers: str) -> dict[str, CustomerReservations]:
    """Release these customers' reservations; leave customers without any out of the result."""
    released = stock.release_customers(customers, now=NOW)
    return {customer: each for customer, each in released.items() if each != CustomerReservations()}
