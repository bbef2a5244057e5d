"""Subscriptions, carts, checkouts and wishlists: what their aggregates repeat of a person goes."""

from collections.abc import Iterator
from functools import partial
from typing import Final

from mika_ops.documents.selection import Collection, Field, OneOf, Selection, all_of, top
from mika_ops.rules import personal_data
from mika_ops.subtasks.account_delete.owned_documents import OwnedType, Requests, by_keys, named_inside, sentinel_of


def _aggregates(collection: Collection, types: tuple[str, ...], keys: tuple[str, ...]) -> OwnedType:
    return OwnedType(
        collection=collection,
        select=partial(_select, collection, types, keys),
        owns=personal_data.owns_aggregate,
        without=lambda document, identity, now: personal_data.anonymized_aggregate(
            document, sentinel_of(identity), now=now
        ),
    )


def _select(
    collection: Collection, types: tuple[str, ...], keys: tuple[str, ...], requests: Requests
) -> Iterator[Selection]:
    yield from by_keys(collection, types, requests, keys=keys)
    inside = named_inside(
        requests,
        userId=Field(("aggregate", "customer", "userId")),
        emailHash=Field(("aggregate", "customer", "emailHash")),
    )
    if inside is not None:
        yield Selection(collection, all_of(OneOf(top("type"), types), inside))


SUBSCRIPTIONS: Final = _aggregates("account", ("subscription",), ("customerId", "userId", "emailHash"))
CARTS: Final = _aggregates("session", ("cart", "checkout", "wishlist"), ("customerId",))
