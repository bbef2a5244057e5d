"""A selection means the same in Python and as SQL: what it takes, what it calls malformed, and in which order."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import Any, Final

import pytest
from hypothesis import given
from sqlalchemy import delete

from mika_ops.clock import Clock
from mika_ops.documents.document import Document, MalformedDocument
from mika_ops.documents.repository import Candidate, Changes, Note, Rule
from mika_ops.documents.selection import Collection, Selection
from mika_ops.host.host import Host
from mika_ops.ports.stock import CustomerReservations
from mika_ops.rules import account_delete, email, webhook, workflow
from mika_ops.rules.account_delete import Identity
from mika_ops.rules.person import Handle, Person
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents
from mika_ops.store.json_sql import JsonSql
from mika_ops.store.schema.site import plugin_storage
from mika_ops.subtasks.account_delete.blockers import blocked_requests
from mika_ops.subtasks.account_delete.people import find_people
from mika_ops.subtasks.account_delete.steps import steps_of
from mika_ops.subtasks.subtask import AccountDeleteScope
from mika_ops_testing import builders
from mika_ops_testing.builders import BEFORE, NOW, put_raw
from mika_ops_tests.store.arbitrary import Build, batches, on_a_database

OUT_OF_ATTEMPTS: Final[Document] = {"attemptCount": 5, "maxAttempts": 5}
REDACTED: Final[Document] = {"redactedAt": BEFORE}
LEASE_LAPSED: Final[Document] = {"status": "running", "leaseExpiresAt": BEFORE}

DUE: Final[dict[str, tuple[Selection, tuple[Build, ...], tuple[str, ...]]]] = {
    "emails that are due": (
        email.DUE.at(NOW),
        (builders.email, partial(builders.email, nextAttemptAt=BEFORE)),
        ("nextAttemptAt", "leaseExpiresAt", "attemptCount"),
    ),
    "stuck emails": (
        email.STUCK.at(NOW),
        (partial(builders.email, **OUT_OF_ATTEMPTS, leaseExpiresAt=BEFORE),),
        ("nextAttemptAt", "leaseExpiresAt", "attemptCount", "lastError"),
    ),
    "dead letters": (
        email.dead_letters(("magic_link", "download")).at(NOW),
        (
            partial(builders.email, **OUT_OF_ATTEMPTS, status="failed"),
            partial(builders.email, **OUT_OF_ATTEMPTS, status="failed", metadata=REDACTED),
        ),
        ("leaseExpiresAt", "attemptCount", "maxAttempts"),
    ),
    "skipped emails": (
        email.skipped_letters(),
        (
            partial(builders.email, status="skipped"),
            partial(builders.email, status="skipped", metadata=REDACTED),
        ),
        ("metadata",),
    ),
    "purgeable webhooks": (
        webhook.PURGEABLE.at(NOW),
        (builders.webhook, partial(builders.webhook, status="failed", normalizedPayloadJson="{}")),
        ("receivedAt", "rawPayloadJson", "normalizedPayloadJson", "rawPayloadPurgedAt"),
    ),
    "stuck workflows": (
        workflow.STUCK.at(NOW),
        (partial(builders.workflow, **OUT_OF_ATTEMPTS, **LEASE_LAPSED),),
        ("leaseExpiresAt", "attemptCount", "maxAttempts"),
    ),
    "retryable webhooks": (
        workflow.RETRYABLE_WEBHOOKS.at(NOW),
        (partial(builders.workflow, nextAttemptAt=BEFORE), partial(builders.workflow, **LEASE_LAPSED)),
        ("nextAttemptAt", "leaseExpiresAt", "updatedAt"),
    ),
    "queued account deletes": (account_delete.QUEUED, (builders.delete_request,), ("status",)),
}
"""Every selection of work, the documents that it takes, and the fields of theirs that decide."""


def of_ada(type_: str, status: str | None, id_: str) -> Document:
    """Return a document with everything by which a person's documents are found."""
    keys = {"customerId": "ada", "userId": "ada", "emailHash": "ada"}
    related = {"relatedCustomerId": "ada", "relatedOrderId": "ada", "relatedSubscriptionId": "ada", "orderId": "ada"}
    payload = {"providerCheckoutId": "ada", "customer": {"email": "ada"}}
    record = {**keys, **related, "status": "active", "metadata": {"userId": "ada", "emailHash": "ada"}}
    record |= {"toEmail": "ada", "normalizedPayloadJson": payload}
    aggregate = {"customer": {"userId": "ada", "emailHash": "ada"}, "metadata": {"checkoutCustomerEmail": "ada"}}
    return {"id": id_, "type": type_, "status": status, **keys, "record": record, "aggregate": aggregate}


PEOPLES: Final[dict[Collection, tuple[str, ...]]] = {
    "ops": ("email", "accountExport", "webhook", "accountDeleteRequest"),
    "ledger": ("order",),
    "account": ("subscription", "customer", "entitlement", "license", "providerAccount"),
    "session": ("cart", "checkout", "wishlist"),
}
ORDER_PLACES: Final = (("nextAttemptAt",), ("leaseExpiresAt",), ("receivedAt",), ("createdAt",))
STATUSES: Final = ("queued", "sent", "received", "checkout_pending", None)
KEYS: Final = ("customerId", "userId", "emailHash")
KEY_PLACES: Final = (
    ("status",),
    *((key,) for key in KEYS),
    *(("record", key) for key in KEYS),
    *(("record", "metadata", key) for key in KEYS[1:]),
    *(("aggregate", "customer", key) for key in KEYS[1:]),
    *(("record", key) for key in ("relatedCustomerId", "relatedOrderId", "orderId", "toEmail")),
    ("record", "normalizedPayloadJson", "customer", "email"),
    ("aggregate", "metadata", "checkoutCustomerEmail"),
)


def expected(selection: Selection, batch: Mapping[str, Any]) -> list[Candidate]:
    """Return the candidates of a batch as the selection's own words have it."""
    found = []
    for id_, document in batch.items():
        if not isinstance(document, dict):
            continue
        try:
            if not selection.takes(document):
                continue
            malformed = False
        except MalformedDocument:
            malformed = True
        found.append(Candidate(id_, selection.sort_key(document, id_)[0], malformed))
    return sorted(found, key=lambda candidate: (candidate.sorted_by, candidate.id))


def fill(database: Database, collection: str, batch: Mapping[str, Any]) -> None:
    with database.engine.begin() as connection:
        connection.execute(delete(plugin_storage))
    if batch:
        put_raw(database, collection, *((id_, json.dumps(document)) for id_, document in batch.items()))


def page_by_page(documents: Documents, selection: Selection, size: int) -> Iterator[Candidate]:
    after: Candidate | None = None
    while True:
        page = documents.candidates(selection, after=after, limit=size)
        assert len(page) <= size
        yield from page
        if not page:
            return
        after = page[-1]


@dataclass
class SelectionsAsked:
    """A repository of nothing, which notes the selections that it is asked for."""

    selections: list[Selection] = field(default_factory=list)

    def candidates(self, selection: Selection, *, after: Candidate | None, limit: int) -> Sequence[Candidate]:
        self.selections.append(selection)
        return []

    def read(self, ids: Sequence[str]) -> Mapping[str, Document]:
        return {}

    def change(self, ids: Sequence[str], rule: Rule[Note], **_options: object) -> Changes[Note]:
        return Changes()

    def release_customers(self, customer_ids: Sequence[str], *, now: str) -> Mapping[str, CustomerReservations]:
        return {}

    def purge_expired(self, *, due: str, out_of_time: object) -> int:
        return 0

    def delete_tokens(self, subjects: Sequence[str]) -> Mapping[str, int]:
        return {}


def selections_of_people(clock: Clock) -> list[Selection]:
    """Return every selection by which an account delete looks for somebody's documents."""
    asked = SelectionsAsked()
    host = Host(ops=asked, account=asked, ledger=asked, session=asked, stock=asked, ephemeral=asked)
    identities = {"all": Identity("ada", "ada", "ada"), "one": Identity("bob"), "other": Identity(None, None, "eve")}
    by_keys = {id_: Person.of_keys(identity) for id_, identity in identities.items()}
    more: tuple[Handle, ...] = (("orderId", "ada"), ("subscriptionId", "ada"), ("providerCheckoutId", "ada"))
    known = {id_: Person.of_request(id_, identity, ("address", "ada"), *more) for id_, identity in identities.items()}
    blocked_requests(host, by_keys)
    find_people(host, known)
    scopes: tuple[tuple[AccountDeleteScope, Mapping[str, Person]], ...] = (("reference", by_keys), ("complete", known))
    for scope, requests in scopes:
        for step in steps_of(scope):
            step.run(host, requests, clock)
    return asked.selections


@pytest.mark.parametrize(("selection", "builds", "fields"), DUE.values(), ids=DUE)
def test_the_database_takes_what_the_selection_says(
    selection: Selection, builds: tuple[Build, ...], fields: tuple[str, ...], database: Database
) -> None:
    documents = Documents(database, selection.collection)
    guarded = Documents(replace(database, json_sql=JsonSql(database.dialect, guarded=True)), selection.collection)

    @on_a_database
    @given(batches(*builds, likely=(("record",), *(("record", name) for name in fields), *ORDER_PLACES)))
    def holds(batch: Mapping[str, Any]) -> None:
        fill(database, selection.collection, batch)
        taken = expected(selection, batch)
        assert documents.candidates(selection, after=None, limit=len(batch) + 1) == taken
        assert list(page_by_page(documents, selection, 2)) == taken
        assert guarded.candidates(selection, after=None, limit=len(batch) + 1) == taken

    holds()


@pytest.mark.parametrize(("collection", "types"), PEOPLES.items(), ids=PEOPLES)
def test_the_database_finds_a_persons_documents_by_what_the_selection_says(
    collection: Collection, types: tuple[str, ...], database: Database, clock: Clock
) -> None:
    documents = Documents(database, collection)
    asked = selections_of_people(clock)
    selections = [selection for selection in dict.fromkeys(asked) if selection.collection == collection]
    assert selections, "an account delete looks into every collection"

    @on_a_database
    @given(batches(*(partial(of_ada, *pair) for pair in product(types, STATUSES)), likely=KEY_PLACES))
    def holds(batch: Mapping[str, Any]) -> None:
        fill(database, collection, batch)
        for selection in selections:
            found = documents.candidates(selection, after=None, limit=len(batch) + 1)
            assert found == expected(selection, batch)

    holds()
