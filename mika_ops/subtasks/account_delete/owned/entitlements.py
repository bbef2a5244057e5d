"""Entitlements: what was granted stays, without to whom."""

from dataclasses import replace
from functools import partial
from typing import Final

from mika_ops.rules import person, personal_data
from mika_ops.subtasks.account_delete.owned_documents import OwnedType, by_keys, sentinel_of

ENTITLEMENTS: Final = OwnedType(
    collection="account",
    select=partial(by_keys, "account", ("entitlement",), keys=("customerId", "emailHash", "userId")),
    owns=personal_data.owns_by_keys,
    without=lambda entitlement, owner, now: personal_data.anonymized_entitlement(
        entitlement, sentinel_of(owner), now=now
    ),
)

KEYS: Final = replace(ENTITLEMENTS, owns=person.owns, leftovers=True)
"""Entitlements that still name a person: by a sentinel that repeats their key."""
