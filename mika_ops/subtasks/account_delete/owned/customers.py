"""Customers: the document of each is reduced to its number."""

from functools import partial

from mika_ops.clock import Clock
from mika_ops.documents.document import Document
from mika_ops.documents.sweep import Sweep
from mika_ops.host.host import Host
from mika_ops.rules import personal_data
from mika_ops.rules.account_delete import Identity
from mika_ops.subtasks.account_delete.owned_documents import (
    OwnedType,
    Requests,
    StepOutcome,
    by_keys,
    change_owned,
)
from mika_ops.subtasks.subtask import required


def anonymize(host: Host, requests: Requests, clock: Clock, *, keys: tuple[str, ...], complete: bool) -> StepOutcome:
    """Anonymize each person's customer document, found by the first of these keys that finds one."""
    account = required(host.account)
    select = partial(by_keys, "account", ("customer",), keys=keys)
    existing: dict[str, set[object]] = {key: set() for key in keys}
    for selection in select(requests):
        for ids in Sweep(account, selection, "account_delete_requests").batches():
            for customer in account.read(ids).values():
                for key in keys:
                    existing[key].update([customer[key]] if isinstance(customer.get(key), str) else [])

    def owns(identity: Identity, customer: Document) -> bool:
        own = {"customerId": identity.customer_id, "emailHash": identity.email_hash, "userId": identity.user_id}
        finder = next((key for key in keys if own[key] is not None and own[key] in existing[key]), None)
        return finder is not None and customer.get(finder) == own[finder]

    customers = OwnedType(
        collection="account",
        select=select,
        owns=owns,
        without=lambda customer, _identity, now: personal_data.anonymized_customer(
            customer, now=now, complete=complete
        ),
    )
    outcome = change_owned(host, customers, requests, clock)
    return StepOutcome({request_id: bool(count) for request_id, count in outcome.values.items()}, outcome.errors)
