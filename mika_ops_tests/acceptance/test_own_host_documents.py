"""The example's documents in memory behave as those of the database."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pytest

from examples.own_host_documents import Documents as InMemory
from mika_ops.documents.document import Document, MalformedDocument
from mika_ops.documents.repository import Candidate, Change, Changes, DocumentRepository
from mika_ops.documents.selection import OneOf, Selection, record, top
from mika_ops.rules import account_delete, email, webhook, workflow
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents as InDatabase
from mika_ops.store.opening import open_database
from mika_ops_testing import builders
from mika_ops_testing.builders import AFTER, BEFORE, EARLIER, NOW
from mika_ops_testing.sites import Sites
from mika_ops_tests.acceptance.test_own_host import document


@pytest.fixture
def database(sqlite_sites: Sites) -> Iterator[Database]:
    with open_database(sqlite_sites.new()) as opened:
        yield opened


OUT_OF_ATTEMPTS: Document = {"attemptCount": 5, "maxAttempts": 5}


STORED: tuple[Document, ...] = (
    builders.email("email_1"),
    builders.email("email_2", nextAttemptAt=BEFORE),
    builders.email("email_3", nextAttemptAt=NOW, status="failed"),
    builders.email("email_4", nextAttemptAt=AFTER),
    builders.email("email_ä", nextAttemptAt=BEFORE),
    builders.email("email_5", status="sent", customerId="customer_1"),
    builders.email("email_6", **OUT_OF_ATTEMPTS, leaseExpiresAt=BEFORE),
    builders.email("email_7", **OUT_OF_ATTEMPTS, status="failed"),
    builders.email("email_8", attemptCount="none"),
    builders.email("email_9", nextAttemptAt=5),
    builders.email("email_10", top={"record": "torn"}),
    builders.email("email_11", top={"record": None, "status": "sent"}),
    builders.webhook("webhook_1"),
    builders.webhook("webhook_2", receivedAt=EARLIER),
    builders.webhook("webhook_3", receivedAt=None),
    builders.workflow("workflow_1", **OUT_OF_ATTEMPTS, status="running", leaseExpiresAt=BEFORE),
    builders.workflow("workflow_2", nextAttemptAt=BEFORE),
    builders.workflow("workflow_3", status="running", leaseExpiresAt=BEFORE),
    builders.workflow("workflow_4", nextAttemptAt=BEFORE, maxAttempts=None),
    builders.delete_request("delete_1"),
    builders.delete_request("delete_2", top={"createdAt": BEFORE}),
    {"id": "bare"},
)


SELECTIONS: Mapping[str, Selection] = {
    "due emails": email.DUE.at(NOW),
    "stuck emails": email.STUCK.at(NOW),
    "dead letters": email.dead_letters().at(NOW),
    "purgeable webhooks": webhook.PURGEABLE.at(NOW),
    "stuck workflows": workflow.STUCK.at(NOW),
    "retryable webhooks": workflow.RETRYABLE_WEBHOOKS.at(NOW),
    "account deletes": account_delete.QUEUED,
    "somebody's emails": Selection(
        "ops", OneOf(top("type"), ("email",)), OneOf(record("customerId"), ("customer_1",)), reports_malformed=False
    ),
}


@pytest.fixture
def both(database: Database) -> tuple[InMemory, InDatabase]:
    builders.put(database, "ops", *STORED)
    return InMemory(*STORED), InDatabase(database, "ops")


def pages(documents: DocumentRepository, selection: Selection, limit: int) -> list[list[Candidate]]:
    """Read the candidates page by page, until one is not full."""
    read: list[list[Candidate]] = []
    while not read or len(read[-1]) == limit:
        read.append(list(documents.candidates(selection, after=read[-1][-1] if read else None, limit=limit)))
    return read


@pytest.mark.parametrize(("selection", "limit"), list(product(SELECTIONS, (1, 2, 100))))
def test_the_candidates_are_those_of_the_database(
    both: tuple[InMemory, InDatabase], selection: str, limit: int
) -> None:
    in_memory, in_database = both

    found = pages(in_memory, SELECTIONS[selection], limit)

    assert found[0]
    assert found == pages(in_database, SELECTIONS[selection], limit)


def test_these_candidates_include_malformed_ones(both: tuple[InMemory, InDatabase]) -> None:
    due = both[0].candidates(email.DUE.at(NOW), after=None, limit=100)

    assert {candidate.id for candidate in due if candidate.malformed} == {"email_8", "email_9", "email_10"}


def test_the_same_documents_are_read(both: tuple[InMemory, InDatabase]) -> None:
    ids = ["email_2", "gone", "email_1", "email_10"]

    assert both[0].read(ids) == both[1].read(ids)
    assert sorted(both[0].read(ids)) == ["email_1", "email_10", "email_2"]


def rule(id_: str, document: Document) -> Change[str] | None:
    """Change, leave, note without changing, or refuse a document, by its id."""
    match id_:
        case "email_1" | "email_ä":
            return Change({**document, "status": "sent"}, f"sent {id_}")
        case "email_2":
            return None
        case "email_3":
            return Change(None, "seen only")
        case _:
            raise MalformedDocument(f"{id_} is not to my liking")


IDS = ("email_ä", "gone", "email_2", "email_10", "email_3", "email_1")


AS_STORED = {str(document["id"]): document for document in STORED}


WRITTEN = {id_: AS_STORED.get(id_, {"id": id_, "status": "queued"}) for id_ in IDS}


SEEN: Mapping[str, Mapping[str, Document] | None] = {
    "not given": None,
    "all but the one that is gone are as they were written": WRITTEN,
    "all have changed": {id_: {**document, "status": "skipped"} for id_, document in WRITTEN.items()},
}


def result_of(changes: Changes[str]) -> tuple[object, ...]:
    """Return the results of the documents, and their order."""
    return list(changes.changed.items()), sorted(changes.left), dict(changes.malformed)


@pytest.mark.parametrize(("seen", "wait"), list(product(SEEN, (False, True))))
def test_changes_are_those_of_the_database(both: tuple[InMemory, InDatabase], seen: str, wait: bool) -> None:
    in_memory, in_database = both

    changes = in_memory.change(IDS, rule, wait=wait, seen=SEEN[seen])

    assert result_of(changes) == result_of(in_database.change(IDS, rule, wait=wait, seen=SEEN[seen]))
    assert list(changes.changed) == ["email_ä", "email_3", "email_1"]
    assert changes.malformed == {"email_10": "email_10 is not to my liking"}
    assert in_memory.read(list(AS_STORED)) == in_database.read(list(AS_STORED))
    assert document(in_memory, "email_1")["status"] == "sent"


def test_a_rule_that_breaks_changes_nothing(both: tuple[InMemory, InDatabase]) -> None:
    def breaks(id_: str, document: Document) -> Change[None]:
        if id_ == "email_2":
            raise ZeroDivisionError
        return Change({**document, "status": "sent"}, None)

    for documents in both:
        with pytest.raises(ZeroDivisionError):
            documents.change(["email_1", "email_2"], breaks)

        assert document(documents, "email_1") == AS_STORED["email_1"]


def test_no_change_of_another_thread_is_lost() -> None:
    documents = InMemory({"id": "counter", "n": 0})

    def add(_turn: int) -> None:
        documents.change(["counter"], lambda _id, counter: Change({**counter, "n": counter["n"] + 1}, None))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(400)))

    assert document(documents, "counter")["n"] == 400
