"""The dry run predicts by ids what a run then does, with the same rules, on both databases."""

from collections.abc import Collection, Mapping
from dataclasses import replace

import pytest

from mika_ops.clock import Clock
from mika_ops.documents.document import Document
from mika_ops.documents.sweep import IDS_NAMED
from mika_ops.host.host import Host
from mika_ops.store.acp_sessions import AcpSessionStore
from mika_ops.store.backlog import DatabaseBacklog
from mika_ops.store.database import Database
from mika_ops.store.schema.site import ephemeral_records, stock_events, stock_items
from mika_ops.subtasks.dry_run import PAGE, Preview, preview
from mika_ops.subtasks.outcome import Completed, NotChosen, Skipped
from mika_ops.subtasks.registry import SUBTASK_NAMES, SUBTASKS
from mika_ops.subtasks.subtask import RunOptions, outcome_of, skip_reason
from mika_ops_testing.builders import (
    AFTER,
    BEFORE,
    EARLIER,
    NOW,
    acp_session,
    delete_request,
    documents_of,
    email,
    ephemeral,
    put,
    put_rows,
    reservation,
    rows_of,
    stock_item,
    webhook,
    workflow,
)
from mika_ops_testing.fakes import Api, Provider, host_of

NO_ATTEMPT_LEFT: Document = {"attemptCount": 5, "leaseExpiresAt": BEFORE, "leaseKey": "key"}

OPS: Mapping[str, list[Document]] = {
    "email_outbox": [
        email("b", nextAttemptAt=BEFORE),
        email("c", nextAttemptAt=EARLIER, status="failed", attemptCount=1),
        email("a"),
        email("later", nextAttemptAt=AFTER),
        email("done", status="sent"),
        email("broken", attemptCount="one"),
    ],
    "stuck_emails": [
        email("b", **NO_ATTEMPT_LEFT),
        email("c", nextAttemptAt=EARLIER, **NO_ATTEMPT_LEFT),
        email("a", nextAttemptAt=BEFORE, **NO_ATTEMPT_LEFT),
        email("held", **{**NO_ATTEMPT_LEFT, "leaseExpiresAt": AFTER}),
    ],
    "raw_provider_payloads": [
        webhook("b"),
        webhook("c", receivedAt="2026-01-01T12:00:00.000Z"),
        webhook("a"),
        webhook("fresh", receivedAt=NOW),
        webhook("unprocessed", status="received"),
    ],
    "account_delete_requests": [
        delete_request("b"),
        delete_request("c", top={"createdAt": "2026-01-01T12:00:00.000Z"}),
        delete_request("a"),
        delete_request("done", status="completed"),
    ],
    "stuck_workflows": [
        workflow("b", status="running", **NO_ATTEMPT_LEFT),
        workflow("c", status="running", **{**NO_ATTEMPT_LEFT, "leaseExpiresAt": EARLIER}),
        workflow("a", status="running", **NO_ATTEMPT_LEFT),
        workflow("at_work", status="running", leaseExpiresAt=AFTER, attemptCount=5),
    ],
    "webhook_retries": [
        workflow("b", status="failed", nextAttemptAt=BEFORE),
        workflow("c", nextAttemptAt=EARLIER),
        workflow("a", status="running", leaseExpiresAt=BEFORE),
        workflow("later", status="failed", nextAttemptAt=AFTER),
        workflow("other", kind="export", nextAttemptAt=BEFORE),
    ],
}
"""For each subtask that works on documents, three due documents, and some that are not due."""


def whole_host(database: Database, provider: Provider | None = None, api: Api | None = None) -> Host:
    return replace(
        host_of(database, provider or Provider(), api or Api()),
        backlog=DatabaseBacklog(database),
    )


def plan_of(
    host: Host, subtasks: Collection[str] = SUBTASK_NAMES, limits: Mapping[str, int] | None = None
) -> Mapping[str, Preview | Skipped]:
    return preview(host, now=NOW, subtasks=subtasks, limits=limits or {}, bounds=RunOptions())


def intent_of(name: str, database: Database, limits: Mapping[str, int] | None = None) -> Preview:
    intent = plan_of(whole_host(database), limits=limits)[name]
    assert isinstance(intent, Preview)
    return intent


def done_by(name: str, database: Database, clock: Clock, limit: int | None) -> set[str]:
    """Run a subtask; return the ids of what it did."""
    api = Api()
    before = documents_of(database, "ops")
    (subtask,) = (subtask for subtask in SUBTASKS if subtask.name == name)
    outcome = outcome_of(subtask, whole_host(database, api=api), clock, RunOptions(limit=limit))
    assert isinstance(outcome, Completed)
    if name == "webhook_retries":
        return {webhook_id.removeprefix("webhook_of_") for webhook_id, _key in api.replayed}
    return {id_ for id_, document in documents_of(database, "ops").items() if document != before[id_]}


@pytest.mark.parametrize("limit", [None, 0, 1, 2])
@pytest.mark.parametrize("name", list(OPS))
def test_what_it_names_is_exactly_what_the_run_then_does(
    name: str, limit: int | None, database: Database, clock: Clock
) -> None:
    put(database, "ops", *OPS[name])

    intent = intent_of(name, database, {} if limit is None else {name: limit})

    assert (intent.due, intent.taken) == (3, 3 if limit is None else limit)
    assert len(intent.ids) == intent.taken
    assert set(intent.ids) == done_by(name, database, clock, limit)


def test_ids_stand_in_the_order_of_their_turn(database: Database) -> None:
    put(database, "ops", *OPS["email_outbox"])
    assert intent_of("email_outbox", database).ids == ("a", "c", "b")


def test_of_many_the_first_are_named_and_all_are_counted(database: Database) -> None:
    ids = [f"webhook_{number:02}" for number in range(IDS_NAMED + 5)]
    put(database, "ops", *(webhook(id_) for id_ in reversed(ids)))

    intent = intent_of("raw_provider_payloads", database, {"raw_provider_payloads": len(ids) - 1})

    assert (intent.due, intent.taken, list(intent.ids)) == (len(ids), len(ids) - 1, ids[:IDS_NAMED])


def test_malformed_documents_are_named_and_never_among_what_is_taken(database: Database) -> None:
    put(database, "ops", *OPS["email_outbox"])

    intent = intent_of("email_outbox", database, {"email_outbox": 1})

    assert intent == Preview(3, 1, ("a",), malformed=1, malformed_ids=("broken",))


def test_malformed_documents_hide_nothing_however_many_there_are(database: Database) -> None:
    put(database, "ops", *(email(f"broken_{number}", attemptCount="one") for number in range(PAGE + 1)), email("whole"))

    intent = intent_of("email_outbox", database)

    assert (intent.ids, intent.malformed, len(intent.malformed_ids)) == (("whole",), PAGE + 1, IDS_NAMED)


def test_where_only_malformed_documents_wait_they_are_named_too(database: Database) -> None:
    put(database, "ops", email("broken", attemptCount="one"))
    assert intent_of("email_outbox", database) == Preview(0, 0, malformed=1, malformed_ids=("broken",))


def test_reservations_and_sessions_are_named_as_the_run_takes_them(database: Database, clock: Clock) -> None:
    put_rows(database, stock_items, stock_item(quantity_reserved=3))
    put_rows(
        database,
        stock_events,
        reservation("b"),
        reservation("a", expires_at=NOW),
        reservation("held", expires_at=AFTER),
    )
    sessions = [
        acp_session("b"),
        acp_session("c", updatedAt=BEFORE),
        acp_session("a"),
        acp_session("new", expiresAt=AFTER),
    ]
    AcpSessionStore(database).put(sessions)

    stock, acp = (intent_of(name, database, {"acp_sessions": 2}) for name in ("stock_reservations", "acp_sessions"))
    assert stock == Preview(2, 2, ("a", "b"))
    assert acp == Preview(3, 2, ("a", "b"))

    host = whole_host(database)
    for subtask in SUBTASKS:
        outcome_of(subtask, host, clock, RunOptions(limit=2 if subtask.name == "acp_sessions" else None))
    assert {id_ for id_, row in rows_of(database, stock_events).items() if row["status"] != "active"} == {"a", "b"}


def test_ephemeral_rows_are_counted_and_never_named(database: Database) -> None:
    put_rows(database, ephemeral_records, ephemeral("token:canary"), ephemeral("live", expires_at=AFTER))

    intent = intent_of("ephemeral_records", database)

    assert (intent.due, intent.taken, intent.ids) == (1, 1, ())
    assert "canary" not in repr(intent)


def test_where_the_site_releases_its_stock_the_site_decides(database: Database) -> None:
    host = replace(whole_host(database), reservation_release=None)
    assert plan_of(host)["stock_reservations"] == Preview(note="the site decides what is due")


def test_what_is_missing_is_reported_as_by_the_run() -> None:
    plan = plan_of(Host())
    assert plan == {subtask.name: Skipped(reason=skip_reason(subtask, ()) or "") for subtask in SUBTASKS}


def test_what_was_not_chosen_is_reported_whether_or_not_it_is_configured(database: Database) -> None:
    plan = plan_of(replace(whole_host(database), admin_api=None), ["stuck_emails"])

    skipped = dict.fromkeys(SUBTASK_NAMES, NotChosen())
    assert plan == {**skipped, "stuck_emails": Preview(0, 0)}


def test_without_a_backlog_of_the_host_the_counts_are_unknown(database: Database) -> None:
    host = replace(whole_host(database), backlog=None)
    assert plan_of(host)["stuck_emails"] == Preview(note="no backlog reader counts what is due")
