"""Subscriptions, carts and wishlists: what their aggregates repeat of a person goes."""

from collections.abc import Iterator
from functools import partial
from typing import Final

from mika_ops.documents.selection import Collection, Field, Selection
from mika_ops.rules import person, personal_data
from mika_ops.rules.person import HandleKind
from mika_ops.subtasks.account_delete.owned_documents import OwnedType, Requests, by_handles, by_keys, sentinel_of


def _aggregates(collection: Collection, types: tuple[str, ...], keys: tuple[HandleKind, ...]) -> OwnedType:
    return OwnedType(
        collection=collection,
        select=partial(_select, collection, types, keys),
        owns=person.owns,
        without=lambda document, owner, now: personal_data.anonymized_aggregate(document, sentinel_of(owner), now=now),
        leftovers=True,
    )


def _select(
    collection: Collection, types: tuple[str, ...], keys: tuple[HandleKind, ...], requests: Requests
) -> Iterator[Selection]:
    yield from by_keys(collection, types, requests, keys=keys)
    for type_ in types:
        yield from by_handles(
            collection,
            type_,
            requests,
            ("userId", Field(("aggregate", "customer", "userId"))),
            ("emailHash", Field(("aggregate", "customer", "emailHash"))),
        )


SUBSCRIPTIONS: Final = _aggregates("account", ("subscription",), ("customerId", "userId", "emailHash"))
CARTS: Final = _aggregates("session", ("cart", "wishlist"), ("customerId", "userId"))
