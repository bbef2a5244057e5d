"""The backlog: how much waits for each subtask and since when, in one look that changes nothing."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event

from mika_ops.documents.document import ABSENT
from mika_ops.documents.selection import Selection
from mika_ops.documents.sweep import IDS_NAMED
from mika_ops.ports.backlog import Backlog, BacklogReader, Due, NamesRows
from mika_ops.store.acp_sessions import AcpSessionStore
from mika_ops.store.backlog import DatabaseBacklog
from mika_ops.store.database import Database
from mika_ops.store.schema.site import ephemeral_records, stock_events
from mika_ops.subtasks.registry import SUBTASKS, permanently_failed
from mika_ops.subtasks.subtask import RunOptions
from mika_ops_testing.builders import (
    AFTER,
    BEFORE,
    EARLIER,
    LATER,
    NOW,
    acp_session,
    delete_request,
    email,
    ephemeral,
    order,
    put,
    put_raw,
    put_rows,
    reservation,
    webhook,
    workflow,
)

OF_DOCUMENTS = (
    "email_outbox",
    "stuck_emails",
    "raw_provider_payloads",
    "account_delete_requests",
    "stuck_workflows",
    "webhook_retries",
)
OF_ROWS = ("acp_sessions", "stock_reservations", "ephemeral_records")


def selections() -> Mapping[str, Selection]:
    return {subtask.name: subtask.due(NOW, RunOptions()) for subtask in SUBTASKS if subtask.due is not None}


def backlog(database: Database) -> Backlog:
    return DatabaseBacklog(database).read(selections(), now=NOW)


def test_the_backlog_fits_the_port(database: Database) -> None:
    assert isinstance(DatabaseBacklog(database), BacklogReader)
    assert isinstance(DatabaseBacklog(database), NamesRows)


def test_an_empty_site_has_no_backlog(database: Database) -> None:
    assert backlog(database) == Backlog({name: Due() for name in (*OF_DOCUMENTS, *OF_ROWS)})


def test_a_site_without_acp_tables_has_no_backlog_of_sessions(database: Database) -> None:
    assert "acp_sessions" not in backlog(replace(database, has_acp_sessions=False)).due


@pytest.mark.parametrize(
    ("subtask", "document", "oldest"),
    [
        ("email_outbox", email(nextAttemptAt=BEFORE), BEFORE),
        ("stuck_emails", email(nextAttemptAt=EARLIER, leaseExpiresAt=BEFORE, attemptCount=5), EARLIER),
        ("raw_provider_payloads", webhook(receivedAt=EARLIER[:5] + "01-01T00:00:00.000Z"), "2026-01-01T00:00:00.000Z"),
        ("account_delete_requests", delete_request(), EARLIER),
        ("stuck_workflows", workflow(status="running", leaseExpiresAt=BEFORE, attemptCount=5), BEFORE),
        ("webhook_retries", workflow(status="failed", nextAttemptAt=BEFORE), BEFORE),
        ("webhook_retries", workflow(status="running", leaseExpiresAt=BEFORE), BEFORE),
    ],
)
def test_a_document_that_is_due_is_counted_for_its_subtask_alone(
    subtask: str, document: Any, oldest: str, database: Database
) -> None:
    put(database, "ops", document)
    found = backlog(database)
    assert found.due[subtask] == Due(1, oldest)
    assert found.total == 1


def test_what_is_not_due_is_not_counted(database: Database) -> None:
    put(database, "ops", email(nextAttemptAt=AFTER), email("sent", status="sent"), webhook(receivedAt=NOW))
    put(database, "ledger", order())
    put_rows(database, stock_events, reservation(expires_at=AFTER), reservation("done", status="released"))
    put_rows(database, ephemeral_records, ephemeral(expires_at=LATER))
    AcpSessionStore(database).put([acp_session(expiresAt=LATER), acp_session("done", status="completed")])
    assert backlog(database).total == 0


def test_rows_that_are_due_are_counted_since_their_oldest(database: Database) -> None:
    put_rows(database, stock_events, reservation("a"), reservation("b", expires_at=EARLIER))
    put_rows(database, ephemeral_records, ephemeral("a"), ephemeral("b"), ephemeral("c", expires_at=NOW))
    AcpSessionStore(database).put([acp_session(), acp_session("purge", purgeAt=NOW, updatedAt=BEFORE)])
    found = backlog(database)
    assert {name: found.due[name] for name in OF_ROWS} == {
        "stock_reservations": Due(2, EARLIER),
        "ephemeral_records": Due(3, BEFORE),
        "acp_sessions": Due(2, EARLIER),
    }
    assert found.total == 7


def test_the_oldest_of_several_is_reported(database: Database) -> None:
    put(database, "ops", *(email(time, nextAttemptAt=time) for time in (NOW, EARLIER, BEFORE)))
    assert backlog(database).due["email_outbox"] == Due(3, EARLIER)


def test_what_does_not_say_since_when_it_is_due_waits_since_it_was_made(database: Database) -> None:
    put(database, "ops", email(top={"createdAt": EARLIER}))
    assert backlog(database).due["email_outbox"] == Due(1, EARLIER)


def test_what_waits_since_nobody_knows_when_has_no_oldest(database: Database) -> None:
    put(database, "ops", email(top={"createdAt": ABSENT}), email("b", top={"createdAt": 5}))
    assert backlog(database).due["email_outbox"] == Due(2, None)


def test_what_waits_since_a_known_time_tells_it_beside_one_that_does_not(database: Database) -> None:
    put(database, "ops", email(top={"createdAt": ABSENT}), email("b", nextAttemptAt=BEFORE))
    assert backlog(database).due["email_outbox"] == Due(2, BEFORE)


def failed(database: Database) -> Mapping[str, Due]:
    return DatabaseBacklog(database).read(permanently_failed(NOW), now=NOW).due


@pytest.mark.parametrize(
    ("subtask", "document"),
    [
        ("email_outbox", email(status="failed", attemptCount=5)),
        ("account_delete_requests", delete_request(status="failed")),
        ("stuck_workflows", workflow(status="failed", attemptCount=5, nextAttemptAt=BEFORE)),
        ("stuck_workflows", workflow(status="failed", attemptCount=1)),
    ],
)
def test_a_permanent_failure_needs_manual_action_since_it_was_created(
    subtask: str, document: Any, database: Database
) -> None:
    put(database, "ops", document)
    found = failed(database)
    assert {name: due for name, due in found.items() if due.count} == {subtask: Due(1, EARLIER)}
    assert backlog(database).total == 0


def test_what_is_tried_again_or_is_done_waits_for_nobody(database: Database) -> None:
    put(
        database,
        "ops",
        email(status="failed", attemptCount=4),
        email("sent", status="sent", attemptCount=5),
        delete_request(),
        delete_request("done", status="completed"),
        workflow(status="failed", attemptCount=1, nextAttemptAt=AFTER),
        workflow("queued", attemptCount=5),
        workflow("running", status="running", attemptCount=5),
    )
    assert not any(due.count for due in failed(database).values())


def test_malformed_documents_are_named_by_what_would_take_them(database: Database) -> None:
    put(
        database,
        "ops",
        email("whole"),
        *(email(id_, attemptCount="one") for id_ in ("c", "B", "a")),
        email("sent", status="sent", attemptCount="one"),
    )
    reader = DatabaseBacklog(database)
    assert list(reader.malformed_ids(selections()["email_outbox"])) == ["B", "a", "c"]
    assert list(reader.malformed_ids(selections()["email_outbox"], limit=2)) == ["B", "a"]
    assert list(reader.malformed_ids(selections()["stuck_workflows"])) == []


def test_rows_are_named_in_the_order_of_their_turn(database: Database) -> None:
    put_rows(database, stock_events, *(reservation(id_) for id_ in ("b", "C", "a")), reservation("d", expires_at=AFTER))
    AcpSessionStore(database).put([acp_session("a", updatedAt=NOW), acp_session("b"), acp_session("C")])
    reader = DatabaseBacklog(database)
    assert list(reader.first_ids("stock_reservations", now=NOW, limit=2)) == ["C", "a"]
    assert list(reader.first_ids("acp_sessions", now=NOW, limit=9)) == ["C", "b", "a"]


def test_rows_that_are_known_by_a_secret_are_not_named(database: Database) -> None:
    put_rows(database, ephemeral_records, ephemeral("token:canary"))
    assert list(DatabaseBacklog(database).first_ids("ephemeral_records", now=NOW, limit=9)) == []


def test_without_acp_tables_no_session_is_named(database: Database) -> None:
    reader = DatabaseBacklog(replace(database, has_acp_sessions=False))
    assert list(reader.first_ids("acp_sessions", now=NOW, limit=9)) == []


def test_malformed_documents_are_counted_apart(database: Database) -> None:
    broken = email("b", attemptCount="one", nextAttemptAt=EARLIER)
    put(database, "ops", email("a", nextAttemptAt=BEFORE), broken, email("c", top={"record": None}))
    found = backlog(database)
    assert found.due["email_outbox"] == Due(1, BEFORE, malformed=2)
    assert found.total == 1


@pytest.mark.parametrize("collection", ["account", "ledger", "ops", "session"])
@pytest.mark.parametrize("stored", ["[]", "null", "5", '"text"', "{}", '{"type":null}'])
def test_what_is_no_document_at_all_is_counted_as_unreadable_and_named(
    stored: str, collection: str, database: Database
) -> None:
    put_raw(database, collection, ("a", stored), ("b", '{"type":"whatever"}'))
    found = backlog(database)
    assert (found.unreadable, found.unreadable_ids) == (1, ("a",))


def test_of_many_unreadable_documents_the_first_are_named(database: Database) -> None:
    ids = [f"broken_{number:02}" for number in range(IDS_NAMED + 5)]
    put_raw(database, "ops", *((id_, "[]") for id_ in reversed(ids)))
    found = backlog(database)
    assert (found.unreadable, list(found.unreadable_ids)) == (len(ids), ids[:IDS_NAMED])


def test_what_the_shop_keeps_in_its_catalog_is_not_ours_to_judge(database: Database) -> None:
    put_raw(database, "catalog", ("a", "[]"))
    assert backlog(database).unreadable == 0


def test_another_plugins_documents_are_not_counted(database: Database) -> None:
    other = replace(database, plugin_id="other")
    put(other, "ops", email())
    put_raw(other, "ops", ("x", "[]"))
    found = backlog(database)
    assert (found.total, found.unreadable) == (0, 0)


def test_the_whole_backlog_is_one_question(database: Database) -> None:
    with statements_of(database) as statements:
        backlog(database)
    assert len([statement for statement in statements if "SELECT" in statement]) == 1


@contextmanager
def statements_of(database: Database) -> Iterator[list[str]]:
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    yield asked
    event.remove(database.engine, "before_cursor_execute", note)
