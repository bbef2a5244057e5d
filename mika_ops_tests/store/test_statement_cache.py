"""Statements that are built once: known again by their selections, whatever the time, and run with the right one."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mika_ops.documents.selection import Selection
from mika_ops.rules import email, webhook, workflow
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents
from mika_ops.store.statement_cache import Times, _prepare
from mika_ops.timestamps import shifted
from mika_ops_testing.builders import AFTER, BEFORE, EARLIER, NOW, put
from mika_ops_testing.builders import email as stored_email

TIMES = st.datetimes().map(lambda moment: moment.isoformat(timespec="milliseconds") + "Z")
SELECTIONS = (email.due, email.stuck, workflow.stuck, workflow.retryable_webhooks, webhook.purgeable)


@contextmanager
def built() -> Iterator[list[int]]:
    """Count the statements that are built meanwhile."""
    counted: list[int] = []
    before = _prepare.cache_info().misses
    yield counted
    counted.append(_prepare.cache_info().misses - before)


def ids(database: Database, selection: Selection) -> list[str]:
    return [found.id for found in Documents(database, "ops").candidates(selection, after=None, limit=10)]


def test_a_selection_at_another_time_needs_no_new_statement_and_takes_what_is_due_then(database: Database) -> None:
    put(database, "ops", stored_email("a", nextAttemptAt=EARLIER), stored_email("b", nextAttemptAt=NOW))
    assert ids(database, email.due(BEFORE)) == ["a"]

    with built() as statements:
        assert ids(database, email.due(shifted(EARLIER, timedelta(hours=-1)))) == []
        assert ids(database, email.due(AFTER)) == ["a", "b"]

    assert statements == [0]


@given(st.sampled_from(SELECTIONS), TIMES, TIMES)
def test_selections_differ_by_their_times_alone(selection: Any, time: str, other: str) -> None:
    assert Times().marked(selection(time)) == Times().marked(selection(other))


@given(st.lists(TIMES, max_size=8))
def test_each_time_has_a_mark_of_its_own(times: list[str]) -> None:
    marks = Times()
    marked = [marks.mark(time) for time in times]

    assert len(set(marked)) == len(set(times))
    assert [marks.mark(time) for time in times] == marked
