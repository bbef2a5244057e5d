"""Finds out by which handles a batch of people is known, before anything of theirs is changed.

A request names a person by their customer id, user id and email hash, or by fewer. Their own documents reveal the rest:
the ids of orders, checkouts and subscriptions, further keys, and addresses. A key that belongs to another customer's
document is left out.
"""

from collections.abc import Mapping
from typing import Final

from mika_ops.documents.document import Document
from mika_ops.host.host import Host
from mika_ops.rules import person
from mika_ops.rules.person import KEYS, Handle, Person, handles_in, revealed_by
from mika_ops.subtasks.account_delete.owned import (
    account_exports,
    aggregates,
    checkouts,
    customers,
    emails,
    orders,
    provider_accounts,
)
from mika_ops.subtasks.account_delete.owned_documents import OwnedType, Requests, read_owned

ROUNDS: Final = 3
"""How often documents are looked up by what the last round found. Two suffice for what Mika stores."""

_REVEALING: Final[tuple[OwnedType, ...]] = (
    customers.CUSTOMERS,
    provider_accounts.PROVIDER_ACCOUNTS,
    aggregates.SUBSCRIPTIONS,
    orders.ORDERS,
    checkouts.CHECKOUTS,
    aggregates.CARTS,
    account_exports.KEYS,
    emails.EMAILS,
)
"""The types whose documents reveal more about a person, in the order of how much."""


def find_people(host: Host, requests: Requests) -> dict[str, Person]:
    """Return the people of the requests with all handles by which their documents can be found."""
    people = _with_customers(host, requests)
    searched: Requests = people
    for _round in range(ROUNDS):
        found: dict[str, set[Handle]] = {}
        for owned in _REVEALING:
            for request_id, document in read_owned(host, owned, searched):
                found.setdefault(request_id, set()).update(revealed_by(document))
        new = {
            request_id: {handle for handle in handles if not people[request_id].is_known_by(handle)}
            for request_id, handles in found.items()
        }
        learned = _without_other_customers(host, people, new)
        searched = {id_: one for id_, one in learned.items() if _has_more_keys(one, people[id_])}
        people |= learned
        if not searched:
            break
    return people


def _has_more_keys(one: Person, before: Person) -> bool:
    """Say whether there are new keys to look up: what hangs on an order reveals nothing more."""
    return any(one.values(key) != before.values(key) for key in KEYS)


def _with_customers(host: Host, requests: Requests) -> dict[str, Person]:
    """Return the people with the customer that they are, where the request does not say."""
    people = dict(requests)
    nameless = {request_id: one for request_id, one in people.items() if not one.values("customerId")}
    for request_id, customer in read_owned(host, customers.BY_ANY_KEY, nameless):
        people[request_id] = people[request_id].knowing(revealed_by(customer))
    return people


def _without_other_customers(host: Host, people: Requests, new: Mapping[str, set[Handle]]) -> dict[str, Person]:
    """Return the people who have new handles, without handles of other customers. Addresses follow their hash."""
    candidates = {
        request_id: Person(request_id=request_id).knowing(handles) for request_id, handles in new.items() if handles
    }
    others: dict[str, set[Handle]] = {}
    for request_id, customer in read_owned(host, customers.BY_ANY_KEY, candidates):
        if not _is_own(people[request_id], customer):
            others.setdefault(request_id, set()).update(handles_in(customer))
    kept = {
        request_id: [handle for handle in handles if not _is_anothers(handle, others.get(request_id, set()))]
        for request_id, handles in new.items()
    }
    return {request_id: people[request_id].knowing(handles) for request_id, handles in kept.items() if handles}


def _is_own(one: Person, customer: Document) -> bool:
    return customer.get("customerId") in one.values("customerId")


def _is_anothers(handle: Handle, others: set[Handle]) -> bool:
    kind, value = handle
    return handle in others or (kind == "address" and ("emailHash", person.hash_of_address(value)) in others)
