"""Account exports: expired, without the file and the token that fetches it."""

from collections.abc import Iterator
from typing import Final

from mika_ops.documents.selection import OneOf, Selection, record, top
from mika_ops.rules import personal_data
from mika_ops.subtasks.account_delete.owned_documents import OwnedType, Requests, named_inside


def _select(requests: Requests) -> Iterator[Selection]:
    named = named_inside(
        requests, customerId=record("customerId"), userId=record("userId"), emailHash=record("emailHash")
    )
    if named is not None:
        yield Selection("ops", OneOf(top("type"), ("accountExport",)), named, reports_malformed=False)


ACCOUNT_EXPORTS: Final = OwnedType(
    collection="ops",
    select=_select,
    owns=personal_data.owns_export,
    without=lambda export, _identity, now: personal_data.redacted_export(export, now=now),
)
