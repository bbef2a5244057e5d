"""A row that the database refuses keeps no other from being written."""

from datetime import UTC, datetime
from typing import Any

from mika_ops.clock import Clock
from mika_ops.deadline import never_out_of_time
from mika_ops.documents.document import Document
from mika_ops.store.acp_sessions import AcpSessionStore
from mika_ops.store.database import Database
from mika_ops.subtasks import stuck_workflows
from mika_ops.subtasks.subtask import RunOptions
from mika_ops_testing.builders import BEFORE, EARLIER, acp_session, documents_of, put, workflow
from mika_ops_testing.fakes import host_of

CLOCK = Clock.fixed(datetime(2026, 3, 1, 12, tzinfo=UTC))


def stuck(id_: str, **record: Any) -> Document:
    return workflow(id_, status="running", attemptCount=5, leaseExpiresAt=BEFORE, **record)


def test_a_document_that_would_break_a_unique_index_is_left_alone_and_named(database: Database) -> None:
    colliding = {**stuck("workflow_2", idempotencyKey="taken"), "idempotencyKey": "its own"}
    put(database, "ops", stuck("workflow_1", idempotencyKey="taken"), colliding, stuck("workflow_3"))
    result = stuck_workflows.run(host_of(database), CLOCK, RunOptions())
    assert (result.reclaimed, result.malformed_ids) == (2, ("workflow_2",))
    statuses = {id_: document["status"] for id_, document in documents_of(database, "ops").items()}
    assert statuses == {"workflow_1": "failed", "workflow_2": "running", "workflow_3": "failed"}


def test_a_session_whose_version_cannot_be_counted_up_is_left_alone_and_named(database: Database) -> None:
    store = AcpSessionStore(database)
    store.put([acp_session("acp_1", version=2**63 - 1), acp_session("acp_2", updatedAt=EARLIER)])
    cleaned = store.clean_up(CLOCK, limit=None, purge_after_hours=24, out_of_time=never_out_of_time)
    assert (cleaned.expired, cleaned.malformed_ids) == (1, ("acp_1",))
