"""Emails: redacted, so that only the fact remains that there was one."""

from collections.abc import Iterator
from functools import partial
from typing import Final

from mika_ops.documents.selection import Field, Selection, record
from mika_ops.rules import person, personal_data
from mika_ops.rules.person import HandleKind
from mika_ops.subtasks.account_delete.owned_documents import OwnedType, Requests, by_handles


def of_statuses(*statuses: str) -> OwnedType:
    """Return the emails of these statuses that name the people by their keys."""
    return OwnedType(
        collection="ops",
        # With the status, the database might read all emails that were ever sent.
        select=partial(_select, places=_BY_KEYS),
        owns=lambda owner, email: email.get("status") in statuses and personal_data.owns_email(owner, email),
        without=lambda email, _owner, now: personal_data.redacted_email(email, now=now),
    )


_BY_KEYS: Final[tuple[tuple[HandleKind, Field], ...]] = (
    ("customerId", record("customerId")),
    ("userId", record("metadata", "userId")),
    ("emailHash", record("metadata", "emailHash")),
)


def _select(requests: Requests, *, places: tuple[tuple[HandleKind, Field], ...]) -> Iterator[Selection]:
    yield from by_handles("ops", "email", requests, *places)


EMAILS: Final = OwnedType(
    collection="ops",
    select=partial(_select, places=(*_BY_KEYS, ("orderId", record("orderId")), ("address", record("toEmail")))),
    owns=person.owns,
    without=lambda email, _owner, now: personal_data.redacted_email(email, now=now),
    leftovers=True,
)
"""Emails of any status that name the people by whatever handle: by an order alone, or by their address."""
