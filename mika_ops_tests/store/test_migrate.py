"""What `mika-ops db prepare` makes: two indexes on what is not over, without which everything works as well."""

from collections.abc import Mapping
from contextlib import suppress
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from sqlalchemy import event, text

from mika_ops.documents.document import MalformedDocument
from mika_ops.documents.selection import Selection
from mika_ops.rules import email as emails
from mika_ops.rules import webhook as webhooks
from mika_ops.store.backlog import DatabaseBacklog
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents
from mika_ops.store.introspection import document_indexes_of
from mika_ops.store.migrate import missing_indexes, prepare_indexes
from mika_ops.store.schema.indexes import UNFINISHED_PREFIX, unfinished_indexes
from mika_ops_testing.builders import BEFORE, EARLIER, NOW, email, put, put_raw, webhook
from mika_ops_tests.store.arbitrary import batches

SELECTIONS = {"emails": emails.DUE.at(NOW), "webhooks": webhooks.PURGEABLE.at(NOW)}


def fill(database: Database, finished: int) -> None:
    """Store what is due, what is malformed, and so much that is over."""
    put(database, "ops", email("due", nextAttemptAt=BEFORE), webhook("due_webhook"))
    put_raw(
        database, "ops", ("bad", '{"type":"email","status":"failed","record":{"attemptCount":"9","maxAttempts":5}}')
    )
    put_raw(
        database,
        "ops",
        ("bad_webhook", f'{{"type":"webhook","record":{{"receivedAt":5,"rawPayloadPurgedAt":"{EARLIER}"}}}}'),
    )
    put(database, "ops", *(email(f"dead_{n}", status="failed", attemptCount=5) for n in range(finished)))
    put(database, "ops", *(webhook(f"purged_{n}", rawPayloadPurgedAt=EARLIER) for n in range(finished)))


def taken(database: Database) -> dict[str, list[tuple[str, bool]]]:
    ops = Documents(database, "ops")
    return {
        name: [(found.id, found.malformed) for found in ops.candidates(selection, after=None, limit=99)]
        for name, selection in SELECTIONS.items()
    }


def names_of(database: Database) -> set[str]:
    catalog = "sqlite_master WHERE name" if database.dialect == "sqlite" else "pg_indexes WHERE indexname"
    column = "name" if database.dialect == "sqlite" else "indexname"
    with database.reading() as connection:
        found = connection.execute(text(f"SELECT {column} FROM {catalog} LIKE '{UNFINISHED_PREFIX}%'"))
        return set(found.scalars())


def plan_of(database: Database, selection: Selection) -> str:
    """Return the plan of the statement that looks for a selection."""
    sent: list[tuple[str, Any]] = []
    event.listen(database.engine, "before_cursor_execute", lambda *asked: sent.append((asked[2], asked[3])))
    Documents(database, "ops").candidates(selection, after=None, limit=5)
    statement, parameters = next(each for each in sent if "_plugin_storage" in each[0])
    explain = "EXPLAIN QUERY PLAN" if database.dialect == "sqlite" else "EXPLAIN"
    with database.reading() as connection:
        return str(connection.exec_driver_sql(f"{explain} {statement}", parameters).all())


def test_both_are_made_once(database: Database) -> None:
    assert set(missing_indexes(database)) == set(unfinished_indexes(database.dialect))

    assert prepare_indexes(database) == tuple(unfinished_indexes(database.dialect))
    assert names_of(database) == set(unfinished_indexes(database.dialect))
    assert missing_indexes(database) == {}
    assert prepare_indexes(database) == ()


def test_what_is_due_and_what_is_malformed_is_found_with_them_as_without(database: Database) -> None:
    fill(database, 3)
    before = taken(database)

    prepare_indexes(database)

    assert taken(database) == before
    assert before == {
        "emails": [("bad", True), ("due", False)],
        "webhooks": [("bad_webhook", True), ("due_webhook", False)],
    }


@pytest.mark.parametrize("name", list(SELECTIONS))
def test_a_look_goes_by_them_and_not_by_all_that_is_over(name: str, database: Database) -> None:
    fill(database, 400)
    prepare_indexes(database)

    assert f"{UNFINISHED_PREFIX}{name}" in plan_of(database, SELECTIONS[name])


def test_those_of_another_version_are_dropped(database: Database) -> None:
    stale = f"{UNFINISHED_PREFIX}emails_0ld0ld00"
    with database.engine.connect().execution_options(mika_writes=True) as connection, connection.begin():
        connection.exec_driver_sql(f"CREATE INDEX {stale} ON _plugin_storage (id) WHERE collection = 'ops'")

    prepare_indexes(database)

    assert names_of(database) == set(unfinished_indexes(database.dialect))


def test_they_are_not_taken_for_the_sites_own(database: Database) -> None:
    before = document_indexes_of(database).found

    prepare_indexes(database)

    assert document_indexes_of(database).found == before


def test_a_site_without_indexes_on_documents_is_not_given_ours(database: Database) -> None:
    bare = Database(database.engine, database.plugin_id, type(database.json_sql)(database.dialect, guarded=True), False)

    assert missing_indexes(bare) == {}
    assert prepare_indexes(bare) == ()


def test_the_backlog_counts_the_same_with_them(database: Database) -> None:
    fill(database, 3)
    selections = {"email_outbox": SELECTIONS["emails"], "raw_provider_payloads": SELECTIONS["webhooks"]}
    before = DatabaseBacklog(database).read(selections, now=NOW)

    prepare_indexes(database)

    assert DatabaseBacklog(database).read(selections, now=NOW) == before


PLACES = (
    ("record", "attemptCount"),
    ("record", "maxAttempts"),
    ("record", "rawPayloadPurgedAt"),
    ("record", "nextAttemptAt"),
    ("record", "receivedAt"),
    ("status",),
)


@given(batches(email, webhook, likely=PLACES))
def test_what_is_finished_is_never_taken(batch: Mapping[str, Any]) -> None:
    for document, selection in product(batch.values(), SELECTIONS.values()):
        assert selection.finished is not None
        # A malformed document is reported, finished or not.
        with suppress(MalformedDocument):
            assert not (selection.finished.holds(document) and selection.takes(document))
