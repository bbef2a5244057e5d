"""Statements that are built once: known again by their selections, whatever the time, and run with the right one."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from mika_ops.documents.selection import Selection
from mika_ops.rules import email
from mika_ops.store.backlog import DatabaseBacklog
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents
from mika_ops.store.statement_cache import _prepare
from mika_ops.timestamps import shifted
from mika_ops_testing.builders import AFTER, BEFORE, EARLIER, NOW, put
from mika_ops_testing.builders import email as stored_email

BEFORE_ALL = shifted(EARLIER, timedelta(hours=-1))


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
    assert ids(database, email.DUE.at(BEFORE)) == ["a"]

    with built() as statements:
        assert ids(database, email.DUE.at(BEFORE_ALL)) == []
        assert ids(database, email.DUE.at(AFTER)) == ["a", "b"]

    assert statements == [0]


def test_each_selection_of_a_backlog_has_a_time_of_its_own(database: Database) -> None:
    put(database, "ops", stored_email("a", nextAttemptAt=EARLIER), stored_email("b", nextAttemptAt=NOW))
    selections = {"early": email.DUE.at(EARLIER), "none": email.DUE.at(BEFORE_ALL), "late": email.DUE.at(AFTER)}

    due = DatabaseBacklog(database).read(selections, now=NOW).due

    assert {name: due[name].count for name in selections} == {"early": 1, "none": 0, "late": 2}


def test_a_selection_that_was_given_no_time_is_an_error_and_takes_nothing(database: Database) -> None:
    put(database, "ops", stored_email("a", nextAttemptAt=EARLIER))

    with pytest.raises(TypeError, match="needs one, by `at`"):
        ids(database, email.DUE)
    with pytest.raises(TypeError, match="needs one, by `at`"):
        DatabaseBacklog(database).read({"due": email.DUE}, now=NOW)
