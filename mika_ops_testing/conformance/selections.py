"""The selections that the suite asks a repository for, and the documents that they are asked about.

Each operator of a selection is tried on documents with every kind of value in the fields that it reads. The expected
candidates follow from ``Selection.takes`` and ``Selection.sort_key``, the definition that a repository must agree with.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

from mika_ops.documents.document import ABSENT, Document, MalformedDocument, patched
from mika_ops.documents.repository import Candidate, DocumentRepository
from mika_ops.documents.selection import (
    AtMost,
    Below,
    Blank,
    Condition,
    Field,
    Has,
    NoneOf,
    Not,
    OneOf,
    Selection,
    all_of,
    any_of,
    record,
    record_number,
    top,
)
from mika_ops.rules import account_delete, email, webhook, workflow
from mika_ops_testing import builders
from mika_ops_testing.builders import AFTER, BEFORE, EARLIER, LATER, NOW

_EMAIL: Final = OneOf(top("type"), ("email",))


def due_emails(at: str) -> Selection:
    """Return the selection of the emails that are due at a time."""
    return email.DUE.at(at)


def selecting(record_: Condition | None = None, *, top_: Condition = _EMAIL, **options: Any) -> Selection:
    """Return a selection of ops documents, at ``NOW``."""
    return Selection("ops", top_, record_, **options).at(NOW)


def at_most_now(field: Field, *, if_absent: bool = False) -> Condition:
    """Return the condition that a time is reached at ``NOW``."""
    return AtMost(field, if_absent=if_absent)


DUE_EMAILS: Final = due_emails(NOW)

OF_MAINTENANCE: Final[Mapping[str, Selection]] = {
    "due emails": DUE_EMAILS,
    "stuck emails": email.STUCK.at(NOW),
    "dead letters": email.dead_letters().at(NOW),
    "skipped emails": email.skipped_letters(),
    "purgeable webhooks": webhook.PURGEABLE.at(NOW),
    "stuck workflows": workflow.STUCK.at(NOW),
    "retryable webhooks": workflow.RETRYABLE_WEBHOOKS.at(NOW),
    "account deletes": account_delete.QUEUED,
    "a person's emails": Selection(
        "ops", _EMAIL, OneOf(record("customerId"), ("customer_1",)), reports_malformed=False
    ),
}
"""What the subtasks and the commands look for in the ops documents, with a time only where it is compared."""

_OUT_OF_ATTEMPTS: Final[Document] = {"attemptCount": 5, "maxAttempts": 5}

SHOP: Final[tuple[Document, ...]] = (
    builders.email("email_1"),
    builders.email("email_2", nextAttemptAt=BEFORE),
    builders.email("email_3", nextAttemptAt=NOW, status="failed"),
    builders.email("email_4", nextAttemptAt=AFTER),
    builders.email("email_ä", nextAttemptAt=BEFORE),
    builders.email("email_5", status="sent", customerId="customer_1"),
    builders.email("email_6", **_OUT_OF_ATTEMPTS, leaseExpiresAt=BEFORE),
    builders.email("email_7", **_OUT_OF_ATTEMPTS, status="failed"),
    builders.email("email_8", attemptCount="none"),
    builders.email("email_9", nextAttemptAt=5),
    builders.email("email_10", top={"record": "torn"}),
    builders.email("email_11", top={"record": None, "status": "sent"}),
    builders.email("email_12", status="skipped"),
    builders.webhook("webhook_1"),
    builders.webhook("webhook_2", receivedAt=EARLIER),
    builders.webhook("webhook_3", receivedAt=None),
    builders.workflow("workflow_1", **_OUT_OF_ATTEMPTS, status="running", leaseExpiresAt=BEFORE),
    builders.workflow("workflow_2", nextAttemptAt=BEFORE),
    builders.workflow("workflow_3", status="running", leaseExpiresAt=BEFORE),
    builders.workflow("workflow_4", nextAttemptAt=BEFORE, maxAttempts=None),
    builders.delete_request("delete_1"),
    builders.delete_request("delete_2", top={"createdAt": BEFORE}),
    {"id": "bare"},
)
"""A small shop: documents of every type that is swept, due and not due, and such as cannot be read."""

_ODD: Final[tuple[Any, ...]] = (
    ABSENT,
    None,
    True,
    False,
    0,
    5,
    2.5,
    -1,
    10**20,
    "",
    "text",
    "5",
    "~",
    [],
    {},
    [NOW],
    {"a": 1},
)
_TIMES: Final = (EARLIER, BEFORE, NOW, AFTER, LATER)
_STATUSES: Final = ("queued", "failed", "sent", "Queued")
_FEW: Final[tuple[Any, ...]] = (ABSENT, None, True, 4, 4.5, 5, "", "4", AFTER, [])

Place = tuple[str, ...]


@dataclass(frozen=True)
class Operator:
    """A selection that uses one operator, and what stands in the places that it reads, in every combination."""

    selection: Selection
    values: Mapping[Place, Sequence[Any]]

    def documents(self) -> list[Document]:
        """Return one email for every combination of the values."""
        combinations = list(product(*self.values.values()))
        return [
            _with_values(builders.email(f"email_{number:03}"), dict(zip(self.values, values, strict=True)))
            for number, values in enumerate(combinations)
        ]


def _with_values(document: Document, values: Mapping[Place, Any]) -> Document:
    for path, value in values.items():
        document = _with_value(document, path, value)
    return document


def _with_value(block: Document, path: Place, value: Any) -> Document:
    key, *rest = path
    if not rest:
        return patched(block, {key: value})
    inner = block.get(key)
    return {**block, key: _with_value(inner if isinstance(inner, dict) else {}, tuple(rest), value)}


_STATUS, _NEXT, _ERROR = top("status"), record("nextAttemptAt"), record("lastError")
_ATTEMPTS_LEFT: Final = Below(record_number("attemptCount"), record_number("maxAttempts"))
_COUNTS: Final[Mapping[Place, Sequence[Any]]] = {
    ("record", "attemptCount"): _FEW,
    ("record", "maxAttempts"): _FEW,
}
_TWO: Final[Mapping[Place, Sequence[Any]]] = {
    ("record", "nextAttemptAt"): _FEW,
    ("record", "lastError"): _FEW,
}
_ANY_TIME: Final = (*_ODD, *_TIMES)

OPERATORS: Final[Mapping[str, Operator]] = {
    "OneOf beside the record": Operator(
        selecting(top_=all_of(_EMAIL, OneOf(_STATUS, ("queued", "failed")))), {("status",): (*_ODD, *_STATUSES)}
    ),
    "OneOf in the record": Operator(
        selecting(OneOf(record("status"), ("queued",))), {("record", "status"): (*_ODD, *_STATUSES)}
    ),
    "NoneOf beside the record": Operator(
        selecting(top_=all_of(_EMAIL, NoneOf(_STATUS, ("queued",)))), {("status",): (*_ODD, *_STATUSES)}
    ),
    "NoneOf in the record": Operator(
        selecting(NoneOf(record("status"), ("queued",))), {("record", "status"): (*_ODD, *_STATUSES)}
    ),
    "AtMost": Operator(selecting(at_most_now(_NEXT)), {("record", "nextAttemptAt"): _ANY_TIME}),
    "AtMost where absent counts": Operator(
        selecting(at_most_now(_NEXT, if_absent=True)), {("record", "nextAttemptAt"): _ANY_TIME}
    ),
    "AtMost beside the record": Operator(
        selecting(top_=all_of(_EMAIL, at_most_now(top("nextAttemptAt")))), {("nextAttemptAt",): _ANY_TIME}
    ),
    "Below": Operator(selecting(_ATTEMPTS_LEFT), _COUNTS),
    "Blank": Operator(selecting(Blank(_ERROR)), {("record", "lastError"): _ODD}),
    "Has": Operator(
        selecting(Has(record("metadata", "redactedAt"))), {("record", "metadata", "redactedAt"): _ANY_TIME}
    ),
    "Has below something else than an object": Operator(
        selecting(Has(record("metadata", "redactedAt"))), {("record", "metadata"): _ODD}
    ),
    "Not of a condition": Operator(selecting(Not(Blank(_ERROR))), {("record", "lastError"): _ODD}),
    "Not of a comparison": Operator(selecting(Not(_ATTEMPTS_LEFT)), _COUNTS),
    "AllOf": Operator(selecting(all_of(at_most_now(_NEXT, if_absent=True), Blank(_ERROR))), _TWO),
    "AllOf in the other order": Operator(selecting(all_of(Blank(_ERROR), at_most_now(_NEXT, if_absent=True))), _TWO),
    "AnyOf": Operator(selecting(any_of(at_most_now(_NEXT), Has(_ERROR))), _TWO),
    "AnyOf in the other order": Operator(selecting(any_of(Has(_ERROR), at_most_now(_NEXT))), _TWO),
    "a record that is no object": Operator(selecting(Blank(_ERROR)), {("record",): (*_ODD, {"lastError": "text"})}),
    "a record that is no object, ignored": Operator(
        selecting(Blank(_ERROR), reports_malformed=False), {("record",): (*_ODD, {"lastError": "text"})}
    ),
    "a record that is not read": Operator(selecting(), {("record",): _ODD}),
    "another type": Operator(selecting(_ATTEMPTS_LEFT), {("type",): (*_ODD, "email", "Email", "webhook")}),
    "order_by": Operator(selecting(order_by=(top("nextAttemptAt"),)), {("nextAttemptAt",): _ANY_TIME}),
    "order_by with a second field": Operator(
        selecting(order_by=(top("nextAttemptAt"), record("createdAt"))),
        {("nextAttemptAt",): (ABSENT, None, 5, BEFORE), ("record", "createdAt"): (ABSENT, "", EARLIER, NOW, [])},
    ),
    "order_by with a preference": Operator(
        selecting(order_by=(top("nextAttemptAt"),), first_if=NoneOf(_STATUS, ("running",))),
        {("nextAttemptAt",): (ABSENT, BEFORE, NOW), ("status",): ("queued", "running", None)},
    ),
}
"""Every operator and every option of a selection."""

ODD_IDS: Final = ("a", "B", "é", "z", "Z", "_", "0", "10", "9", "\uffff", "𝄞", "a b", "~")
"""Ids whose order by code point is not that of a language, a number or UTF-16."""


def id_of(document: Document) -> str:
    """Return the id of a document."""
    return str(document["id"])


def candidates(
    repository: DocumentRepository, selection: Selection, *, after: Candidate | None = None, limit: int
) -> list[Candidate]:
    """Ask a repository for candidates: the one place in which the suite does so."""
    return list(repository.candidates(selection, after=after, limit=limit))


def all_candidates(repository: DocumentRepository, selection: Selection, documents: Sequence[Document]) -> list[Any]:
    """Return all candidates of a selection in one page with room for more."""
    return candidates(repository, selection, limit=len(documents) + 1)


def pages(repository: DocumentRepository, selection: Selection, limit: int) -> Iterator[list[Candidate]]:
    """Read page by page, as a sweep does: until one is not full."""
    after: Candidate | None = None
    while True:
        page = candidates(repository, selection, after=after, limit=limit)
        yield page
        if len(page) < limit:
            return
        after = page[-1]


def expected_candidates(selection: Selection, documents: Iterable[Document]) -> list[Candidate]:
    """Return the candidates by the definition of the port: ``takes`` filters, ``sort_key`` sorts."""
    found = []
    for document in documents:
        try:
            if not selection.takes(document):
                continue
            malformed = False
        except MalformedDocument:
            malformed = True
        found.append(Candidate(id_of(document), selection.sort_key(document, id_of(document))[0], malformed))
    return sorted(found, key=lambda candidate: (candidate.sorted_by, candidate.id))
