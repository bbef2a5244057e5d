"""Account exports: expired, without the file and the token that fetches it, and in the end without the keys."""

from collections.abc import Iterator
from typing import Final

from mika_ops.documents.selection import OneOf, Selection, record, top
from mika_ops.rules import order_documents, person, personal_data
from mika_ops.subtasks.account_delete.owned_documents import OwnedType, Requests, by_keys, named_inside


def _select(requests: Requests) -> Iterator[Selection]:
    named = named_inside(
        requests, customerId=record("customerId"), userId=record("userId"), emailHash=record("emailHash")
    )
    if named is not None:
        yield Selection("ops", OneOf(top("type"), ("accountExport",)), named, reports_malformed=False)


def _select_all(requests: Requests) -> Iterator[Selection]:
    yield from _select(requests)
    yield from by_keys("ops", ("accountExport",), requests, keys=("customerId", "userId"))


ACCOUNT_EXPORTS: Final = OwnedType(
    collection="ops",
    select=_select,
    owns=personal_data.owns_export,
    without=lambda export, _owner, now: personal_data.redacted_export(export, now=now),
)

KEYS: Final = OwnedType(
    collection="ops",
    select=_select_all,
    owns=person.owns,
    without=lambda export, _owner, now: order_documents.nameless_export(export, now=now),
    leftovers=True,
)
"""Exports that still name a person by a user id or an email hash."""
