"""The ports of stock reservations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from mika_ops.deadline import OutOfTime
from mika_ops.timestamps import Timestamp


@dataclass(frozen=True)
class ReleasedReservations:
    """How many expired reservations were found and released, on how many stock items.

    ``orphans`` are the ids of reservations whose stock item does not exist; ``scanned`` includes them.
    """

    scanned: int = 0
    released: int = 0
    stock_items: int = 0
    orphans: tuple[str, ...] = ()
    has_more: bool = False


@dataclass(frozen=True)
class CustomerReservations:
    """How many reservations of a customer were released; none if there are ``orphans``."""

    released: int = 0
    orphans: tuple[str, ...] = ()


@runtime_checkable
class ReservationRelease(Protocol):
    """Releases expired stock reservations."""

    def release_expired(self, *, due: Timestamp, now: Timestamp, out_of_time: OutOfTime) -> ReleasedReservations:
        """Release every active reservation with ``expires_at <= due``, stamped ``now``, in bounded transactions.

        A reservation whose stock item does not exist is left untouched and named in ``orphans``.
        """
        ...


@runtime_checkable
class StockRepository(Protocol):
    """The shop's stock reservations, by customer."""

    def release_customers(self, customer_ids: Sequence[str], *, now: Timestamp) -> Mapping[str, CustomerReservations]:
        """Release all active reservations of these customers, stamped ``now``.

        A customer with a reservation whose stock item does not exist keeps all reservations; ``orphans`` names them. A
        customer without reservations may be left out.
        """
        ...
