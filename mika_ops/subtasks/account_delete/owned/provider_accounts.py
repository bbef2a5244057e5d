"""Accounts at payment providers, and their copies in the customer documents: redacted."""

from collections.abc import Iterator
from typing import Final

from mika_ops.documents.document import Document
from mika_ops.documents.selection import Selection
from mika_ops.rules import personal_data
from mika_ops.rules.account_delete import Identity
from mika_ops.subtasks.account_delete.owned_documents import OwnedType, Requests, by_keys, sentinel_of
from mika_ops.timestamps import Timestamp


def _select(requests: Requests) -> Iterator[Selection]:
    yield from by_keys("account", ("providerAccount",), requests, keys=("customerId", "userId", "emailHash"))
    yield from by_keys("account", ("customer",), requests, keys=("customerId",))


def _without(document: Document, identity: Identity, now: Timestamp) -> Document:
    if document.get("type") == "customer":
        return personal_data.anonymized_customer(document, now=now, complete=True)
    return personal_data.anonymized_aggregate(document, sentinel_of(identity), now=now)


PROVIDER_ACCOUNTS: Final = OwnedType(
    collection="account", select=_select, owns=personal_data.owns_provider_account, without=_without
)
