"""Emails: redacted, so that only the fact remains that there was one."""

from collections.abc import Iterator
from functools import partial

from mika_ops.documents.selection import OneOf, Selection, all_of, record, top
from mika_ops.rules import personal_data
from mika_ops.subtasks.account_delete.owned_documents import OwnedType, Requests, named_inside


def of_statuses(*statuses: str) -> OwnedType:
    """Return the people's emails of these statuses."""
    return OwnedType(
        collection="ops",
        select=partial(_select, statuses=statuses),
        owns=personal_data.owns_email,
        without=lambda email, _identity, now: personal_data.redacted_email(email, now=now),
    )


def _select(requests: Requests, *, statuses: tuple[str, ...]) -> Iterator[Selection]:
    named = named_inside(
        requests,
        customerId=record("customerId"),
        userId=record("metadata", "userId"),
        emailHash=record("metadata", "emailHash"),
    )
    if named is not None:
        chosen = all_of(OneOf(top("type"), ("email",)), OneOf(top("status"), statuses))
        yield Selection("ops", chosen, named, reports_malformed=False)
