"""Customers: the document of each is reduced to its number."""

from dataclasses import replace
from functools import partial
from typing import Final

from mika_ops.clock import Clock
from mika_ops.documents.document import Document
from mika_ops.documents.sweep import Sweep
from mika_ops.host.host import Host
from mika_ops.rules import order_documents, person, personal_data
from mika_ops.rules.person import HandleKind, Person
from mika_ops.subtasks.account_delete.owned_documents import (
    OwnedType,
    Requests,
    StepOutcome,
    by_keys,
    change_owned,
)
from mika_ops.subtasks.subtask import required


def anonymize(
    host: Host, requests: Requests, clock: Clock, *, keys: tuple[HandleKind, ...], complete: bool
) -> StepOutcome:
    """Anonymize each person's customer document, found by the first of these keys that finds one."""
    account = required(host.account)
    select = partial(by_keys, "account", ("customer",), keys=keys)
    existing: dict[HandleKind, set[object]] = {key: set() for key in keys}
    for selection in select(requests):
        for ids in Sweep(account, selection, "account_delete_requests").batches():
            for customer in account.read(ids).values():
                for key in keys:
                    existing[key].update([customer[key]] if isinstance(customer.get(key), str) else ())

    def owns(owner: Person, customer: Document) -> bool:
        finder = next((key for key in keys if owner.values(key) & existing[key]), None)
        return finder is not None and customer.get(finder) in owner.values(finder)

    customers = OwnedType(
        collection="account",
        select=select,
        owns=owns,
        without=lambda customer, _owner, now: personal_data.anonymized_customer(customer, now=now, complete=complete),
    )
    outcome = change_owned(host, customers, requests, clock)
    return StepOutcome({request_id: bool(count) for request_id, count in outcome.values.items()}, outcome.errors)


CUSTOMERS: Final = OwnedType(
    collection="account",
    select=partial(by_keys, "account", ("customer",), keys=("customerId", "emailHash", "userId")),
    owns=person.owns,
    without=lambda customer, _owner, now: order_documents.nameless_customer(customer, now=now),
    leftovers=True,
)
"""The customer documents of people whose customer ids are known."""

BY_ANY_KEY: Final = replace(CUSTOMERS, owns=person.is_named_by)
"""The customer documents that name people by any key, whatever customer id they have."""
