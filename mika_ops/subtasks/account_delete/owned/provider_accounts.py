"""Accounts at payment providers: redacted. Their copies in the customer documents are those documents' own."""

from functools import partial
from typing import Final

from mika_ops.rules import person, personal_data
from mika_ops.subtasks.account_delete.owned_documents import OwnedType, by_keys, sentinel_of

PROVIDER_ACCOUNTS: Final = OwnedType(
    collection="account",
    select=partial(by_keys, "account", ("providerAccount",), keys=("customerId", "userId", "emailHash")),
    owns=person.owns,
    without=lambda account, owner, now: personal_data.anonymized_aggregate(account, sentinel_of(owner), now=now),
    leftovers=True,
)
