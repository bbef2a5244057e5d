"""Dead letters are found by the site's indexes, regardless of the number of emails."""

import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import event

from mika_ops.documents.repository import Candidate
from mika_ops.documents.selection import Selection
from mika_ops.rules.email import dead_letters, skipped_letters
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents
from mika_ops.store.opening import open_database
from mika_ops_testing.builders import NOW, email, put


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """Open a new site: what a database knows of others' documents would sway its plans."""
    with open_database(url) as opened:
        yield opened


def plan_of(database: Database, selection: Selection) -> str:
    """Return how the database finds the candidates of a selection."""
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: object) -> None:
        statements.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    Documents(database, selection.collection).candidates(selection, after=Candidate("", ""), limit=500)
    event.remove(database.engine, "before_cursor_execute", note)
    statement, parameters = statements[-1]
    with closing(database.engine.raw_connection()) as connection:
        cursor = connection.cursor()
        if database.dialect == "postgresql":
            # A table of a test is so small that reading all of it may be the cheapest.
            cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {'QUERY PLAN ' if database.dialect == 'sqlite' else ''}{statement}", parameters)
        return "\n".join(str(row) for row in cursor.fetchall())


@pytest.mark.parametrize(
    ("selection", "fields"),
    [
        (dead_letters().at(NOW), "type_status"),
        (skipped_letters(), "type_status"),
        (dead_letters(("magic_link",)).at(NOW), "type_kind_status_nextAttemptAt"),
        (skipped_letters(("magic_link", "download")), "type_kind_status_nextAttemptAt"),
    ],
)
def test_dead_letters_are_found_by_an_index_on_type_and_status(
    selection: Selection, fields: str, database: Database
) -> None:
    put(database, "ops", *(email(f"sent_{number}", status="sent") for number in range(400)))
    # Each collection has an index of its own with the same expressions: any of them will do.
    assert re.search(rf"idx_plugin_mika_[a-z]+_{fields}\b", plan_of(database, selection))
