"""Account deletes on a real site's database: who asked to be deleted is found nowhere afterwards.

The database was made by EmDash's own migrations and filled by Mika's own API; see ``shared/sites/README.md``.
"""

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import create_engine, inspect, select, text

from mika_ops.clock import Clock
from mika_ops.store.database import Database
from mika_ops.store.migrate import prepare_tables
from mika_ops.store.opening import open_database
from mika_ops.store.schema.site import site
from mika_ops.subtasks.account_delete import requests
from mika_ops.subtasks.account_delete.recheck import recheck
from mika_ops.subtasks.subtask import RunOptions
from mika_ops.timestamps import to_datetime
from mika_ops_testing.fakes import host_of
from mika_ops_testing.sites import Sites
from mika_ops_tests.conftest import SHARED

SITE: Final = SHARED / "sites" / "emdash-0.32.db"
CLOCK: Final = Clock.fixed(to_datetime("2026-11-30T20:00:00.000Z"))
DELETED: Final = ("alice", "carol", "dave")

pytestmark = pytest.mark.skipif(not SITE.exists(), reason="the database of a real site is not beside the project")


def values_in(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield every value of a row with its path; texts that are JSON are walked, too."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        with contextlib.suppress(ValueError):
            value = json.loads(value)
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from values_in(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from values_in(inner, f"{path}[]")
    else:
        yield path, value


def traces(database: Database, who: str) -> dict[str, int]:
    """Return every table and path that still holds something of a person, with how often."""
    facts = json.loads((SHARED / "sites" / "people.json").read_text(encoding="utf-8"))["people"][who]
    needles = (facts["email"], facts["name"], facts["userId"], facts["emailHash"], f"VAT-{who}")
    found: dict[str, int] = {}
    with database.reading() as connection:
        for table in inspect(connection).get_table_names():
            for row in connection.execute(text(f'SELECT * FROM "{table}"')).mappings():
                for path, value in values_in(dict(row), table):
                    if any(needle.lower() in str(value).lower() for needle in needles):
                        found[path] = found.get(path, 0) + 1
    return found


@pytest.fixture
def real_site(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> Iterator[Database]:
    """Open a copy of the real site: the file itself, or its rows in a Postgres site."""
    copied = tmp_path / "site.db"
    shutil.copyfile(SITE, copied)
    copied.chmod(0o600)
    if kind == "sqlite":
        with open_database(f"sqlite:///{copied}") as database:
            prepare_tables(database)
            yield database
        return
    made: Sites = request.getfixturevalue("postgres_sites")
    url = made.new()
    with open_database(url) as database:
        source = create_engine(f"sqlite:///{copied}")
        with source.connect() as reading, database.engine.begin() as writing:
            for table in site.sorted_tables:
                rows = [dict(row) for row in reading.execute(select(table)).mappings()]
                if rows:
                    writing.execute(table.insert(), rows)
        source.dispose()
        yield database
    made.drop(url)


def test_who_asked_to_be_deleted_is_found_nowhere(real_site: Database) -> None:
    assert all(traces(real_site, who) for who in DELETED)
    result = requests.run(host_of(real_site), CLOCK, RunOptions())
    assert (result.completed, result.failed) == (3, 0)
    assert {who: traces(real_site, who) for who in DELETED} == {who: {} for who in DELETED}


def test_everybody_else_is_found_where_they_were(real_site: Database) -> None:
    others = ("bob", "erin", "frank", "gina", "heidi")
    before = {who: traces(real_site, who) for who in others}
    requests.run(host_of(real_site), CLOCK, RunOptions())
    assert {who: traces(real_site, who) for who in others} == before


def test_what_the_sites_own_maintenance_completed_is_found_nowhere_after_a_recheck(real_site: Database) -> None:
    requests.run(host_of(real_site), CLOCK, RunOptions(account_delete_scope="reference"))
    assert all(traces(real_site, who) for who in DELETED)
    result = recheck(host_of(real_site), CLOCK)
    assert [request.error for request in result.requests] == [None] * 3
    assert {who: traces(real_site, who) for who in DELETED} == {who: {} for who in DELETED}
