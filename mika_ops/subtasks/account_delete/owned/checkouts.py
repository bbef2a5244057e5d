"""Checkouts: kept for the orders that came of them, without the customer; those of guests, too."""

from collections.abc import Iterator
from typing import Final

from mika_ops.documents.selection import Field, Has, Not, OneOf, Selection, all_of, top
from mika_ops.rules import order_documents, person
from mika_ops.subtasks.account_delete.owned_documents import OwnedType, Requests, by_handles, key_values, sentinel_of

_ADDRESS: Final = Field(("aggregate", "metadata", "checkoutCustomerEmail"))


def _select(requests: Requests) -> Iterator[Selection]:
    yield from by_handles(
        "session",
        "checkout",
        requests,
        ("customerId", top("customerId")),
        ("orderId", top("orderId")),
        ("address", _ADDRESS),
        ("userId", Field(("aggregate", "customer", "userId"))),
        ("emailHash", Field(("aggregate", "customer", "emailHash"))),
    )
    if key_values(requests, "emailHash"):
        # A guest's checkout that became no order has the address alone, and the request only its hash.
        abandoned = (Has(_ADDRESS), Not(Has(top("customerId"))), Not(Has(top("orderId"))))
        yield Selection("session", all_of(OneOf(top("type"), ("checkout",)), *abandoned))


CHECKOUTS: Final = OwnedType(
    collection="session",
    select=_select,
    ids=lambda requests: key_values(requests, "checkoutId"),
    owns=person.owns,
    without=lambda checkout, owner, now: order_documents.anonymized_checkout(checkout, sentinel_of(owner), now=now),
    leftovers=True,
)
