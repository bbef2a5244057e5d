"""Licenses: revoked, without their key."""

from functools import partial
from typing import Final

from mika_ops.rules import personal_data
from mika_ops.subtasks.account_delete.owned_documents import OwnedType, by_keys, sentinel_of

LICENSES: Final = OwnedType(
    collection="account",
    select=partial(by_keys, "account", ("license",), keys=("customerId",)),
    owns=personal_data.owns_as_customer,
    without=lambda license_, owner, now: personal_data.anonymized_license(license_, sentinel_of(owner), now=now),
)
