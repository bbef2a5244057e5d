"""Orders: kept for the books, without the customer."""

from collections.abc import Iterator
from functools import partial
from typing import Final

from mika_ops.documents.selection import Field, OneOf, Selection, all_of, top
from mika_ops.rules import personal_data
from mika_ops.subtasks.account_delete.owned_documents import OwnedType, Requests, by_keys, key_values, sentinel_of


def of_scope(*, complete: bool) -> OwnedType:
    """Return the people's orders, found by customer and by email hash."""
    return OwnedType(
        collection="ledger",
        select=partial(by_keys, "ledger", ("order",), keys=("customerId", "emailHash")),
        owns=personal_data.owns_order,
        without=lambda order, identity, now: personal_data.anonymized_order(
            order, sentinel_of(identity), now=now, complete=complete
        ),
    )


def _select_by_user(requests: Requests) -> Iterator[Selection]:
    users = key_values(requests, "userId")
    if users:
        inside = OneOf(Field(("aggregate", "customer", "userId")), users)
        yield Selection("ledger", all_of(OneOf(top("type"), ("order",)), inside))
    yield from by_keys("ledger", ("order",), requests, keys=("customerId",))


BY_USER: Final = OwnedType(
    collection="ledger",
    select=_select_by_user,
    owns=personal_data.names_user_in_order,
    without=lambda order, identity, now: personal_data.anonymized_order(
        order, sentinel_of(identity), now=now, complete=True
    ),
)
"""Orders that name a person only by the user id in their customer block, and that id in others."""
