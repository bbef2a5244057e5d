"""No statement of a whole run reads through the document table: each finds what it wants by an index.

The cost of a run would else grow with the shop's history, every minute, on the shop's own database.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import event, text

from mika_ops.clock import Clock
from mika_ops.store.backlog import DatabaseBacklog
from mika_ops.store.database import Database
from mika_ops.store.opening import open_database
from mika_ops.subtasks.outcome import Completed, Outcome
from mika_ops.subtasks.registry import SUBTASKS, permanently_failed
from mika_ops.subtasks.subtask import RunOptions, outcome_of
from mika_ops.timestamps import to_datetime
from mika_ops_testing.builders import NOW
from mika_ops_testing.fakes import Api, Provider, host_of
from mika_ops_testing.sites import Sites
from mika_ops_tests.store.busy_site import fill

TABLE = "_plugin_storage"


@dataclass(frozen=True)
class Statement:
    """A statement that was sent, with the first of its parameter sets."""

    sql: str
    parameters: Any


@contextmanager
def statements_of(database: Database) -> Iterator[list[Statement]]:
    """Note every statement about documents, one of each wording."""
    noted: dict[str, Statement] = {}

    def note(_connection: Any, _cursor: Any, sql: str, parameters: Any, _context: Any, executemany: bool) -> None:
        if TABLE in sql:
            noted.setdefault(sql, Statement(sql, parameters[0] if executemany else parameters))

    statements: list[Statement] = []
    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
        statements += noted.values()


def scans(database: Database, statement: Statement) -> list[str]:
    """Return the steps of a statement's plan that read documents otherwise than by id or by what is indexed of them."""
    if database.dialect == "sqlite":
        with database.reading() as connection:
            steps = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement.sql}", statement.parameters).all()
        return [step.detail for step in steps if TABLE in step.detail and not _looks_up(step.detail)]
    return [scan for node in _plan(database, statement) if (scan := _scan(node))]


def _plan(database: Database, statement: Statement) -> list[dict[str, Any]]:
    """Return the nodes of the plan that Postgres makes of a statement."""
    with database.reading() as connection:
        explained = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement.sql}", statement.parameters).scalar()
    plan: Any = json.loads(explained) if isinstance(explained, str) else explained
    return list(_nodes(plan[0]["Plan"]))


def _looks_up(detail: str) -> bool:
    return detail.startswith("SEARCH") and bool(re.search(r"<expr>=\?|\b(row)?id=\?", detail))


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for inner in node.get("Plans", []):
        yield from _nodes(inner)


def _scan(node: dict[str, Any]) -> str | None:
    """Return a word on a node of a Postgres plan that reads documents without looking them up."""
    reads = node.get("Relation Name") == TABLE and node["Node Type"] not in ("Bitmap Heap Scan", "ModifyTable")
    index = node.get("Index Name", "")
    if not reads and "plugin" not in index:
        return None
    condition = node.get("Index Cond", "")
    looked_up = "->>" in condition or re.search(r"\bid = ", condition)
    return None if looked_up else f"{node['Node Type']} {index} {condition}".strip()


@dataclass(frozen=True)
class Seen:
    """A busy site, and the statements about documents of everything that is regularly done with it."""

    database: Database
    backlog: list[Statement]
    run: list[Statement]
    idle_run: list[Statement]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def seen(request: pytest.FixtureRequest) -> Iterator[Seen]:
    """Have a site with enough documents for the planner to have a choice, and look, run and run again."""
    made: Sites = request.getfixturevalue(f"{request.param}_sites")
    clock = Clock.fixed(to_datetime(NOW))
    with open_database(made.new()) as database:
        assert fill(database) > 3_000
        if database.dialect == "postgresql":
            with database.engine.begin() as connection:
                connection.execute(text("ANALYZE"))
        with statements_of(database) as backlog:
            due = {subtask.name: subtask.due(NOW, RunOptions()) for subtask in SUBTASKS if subtask.due is not None}
            reader, failed = DatabaseBacklog(database), permanently_failed(NOW)
            assert reader.read(due, now=NOW).total > 0
            assert reader.read(failed, now=NOW).due.keys() >= failed.keys()
            assert not any(reader.malformed_ids(selection) for selection in due.values())
        with statements_of(database) as run:
            for subtask, outcome in outcomes(database, clock):
                assert isinstance(outcome, Completed), f"{subtask}: {outcome}"
                counts = [count for count in outcome.result.counts().values() if not isinstance(count, bool)]
                assert any(counts), f"{subtask} had nothing to do, so that its statements were not all seen"
        with statements_of(database) as idle_run:
            assert len(list(outcomes(database, clock))) == len(SUBTASKS)
        yield Seen(database, backlog, run, idle_run)


def outcomes(database: Database, clock: Clock) -> Iterator[tuple[str, Outcome]]:
    host = host_of(database, Provider(), Api())
    for subtask in SUBTASKS:
        yield subtask.name, outcome_of(subtask, host, clock, RunOptions(account_delete_scope="complete"))


def all_scans(database: Database, statements: list[Statement]) -> dict[str, list[str]]:
    assert statements, "there is something to look at"
    return {statement.sql: found for statement in statements if (found := scans(database, statement))}


def test_no_statement_of_a_run_reads_through_the_documents(seen: Seen) -> None:
    assert all_scans(seen.database, seen.run) == {}


def test_no_statement_of_a_run_without_work_reads_through_the_documents(seen: Seen) -> None:
    assert all_scans(seen.database, seen.idle_run) == {}


def test_the_backlog_is_read_without_reading_through_the_documents(seen: Seen) -> None:
    assert all_scans(seen.database, seen.backlog) == {}


def test_a_document_is_read_once_for_all_looks_into_it(seen: Seen) -> None:
    looks_inside = [each for each in (*seen.backlog, *seen.run) if "parsed.document" in each.sql]
    # SQLite remembers the document that it has read.
    assert bool(looks_inside) == (seen.database.dialect == "postgresql")
    # A step of its own reads each row's text. Where the planner sees through that, only the table is left to read.
    for statement in looks_inside:
        assert any(node["Node Type"] == "Nested Loop" for node in _plan(seen.database, statement)), statement.sql


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT id FROM {TABLE} WHERE updated_at > 'x'",
        f"SELECT id FROM {TABLE} WHERE plugin_id = 'mika' AND collection = 'ops'",
        f"SELECT count(*) FROM {TABLE}",
    ],
)
def test_a_statement_that_does_read_through_them_is_noticed(sql: str, seen: Seen) -> None:
    assert scans(seen.database, Statement(sql, {} if seen.database.dialect == "postgresql" else ()))
