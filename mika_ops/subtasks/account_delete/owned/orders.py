"""Orders: kept for the books, without the customer."""

from collections.abc import Iterator
from functools import partial
from typing import Final

from mika_ops.documents.selection import Field, Selection
from mika_ops.rules import person, personal_data
from mika_ops.subtasks.account_delete.owned_documents import OwnedType, Requests, by_handles, by_keys, sentinel_of


def of_scope(*, complete: bool) -> OwnedType:
    """Return the people's orders, found by customer and by email hash."""
    return OwnedType(
        collection="ledger",
        select=partial(by_keys, "ledger", ("order",), keys=("customerId", "emailHash")),
        owns=personal_data.owns_order,
        without=lambda order, owner, now: personal_data.anonymized_order(
            order, sentinel_of(owner), now=now, complete=complete
        ),
    )


def _select(requests: Requests) -> Iterator[Selection]:
    yield from by_keys("ledger", ("order",), requests, keys=("customerId", "emailHash"))
    yield from by_handles("ledger", "order", requests, ("userId", Field(("aggregate", "customer", "userId"))))


ORDERS: Final = OwnedType(
    collection="ledger",
    select=_select,
    owns=person.owns,
    without=lambda order, owner, now: personal_data.anonymized_order(order, sentinel_of(owner), now=now, complete=True),
    leftovers=True,
)
"""Orders that still name a person: by a user id in the customer block, or by a sentinel that repeats their key."""
