"""Sites without any index on documents, as EmDash 0.22 to 0.32 leaves them, and `mika-ops db prepare`."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from mika_ops.monitoring.snapshot import take_snapshot
from mika_ops.store.backlog import DatabaseBacklog
from mika_ops.store.database import Database
from mika_ops.store.errors import DatabaseError, UnusableDatabase
from mika_ops.store.introspection import document_indexes_of
from mika_ops.store.migrate import missing_indexes, prepare_indexes, prepare_site_indexes
from mika_ops.store.opening import open_database
from mika_ops.store.schema.indexes import document_index_statements
from mika_ops.subtasks.subtask import RunOptions
from mika_ops_testing.builders import NOW, delete_request, email, put, put_raw, webhook, workflow
from mika_ops_tests.cli.test_run import called


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """Open a site of the test's own: its indexes are dropped, which others need."""
    with open_database(url) as opened:
        yield opened


@pytest.fixture
def bare_url(database: Database, url: str) -> str:
    """Return the URL of a site without any index on documents."""
    if database.dialect == "sqlite":
        names = "SELECT name FROM sqlite_master WHERE type = 'index' AND sql LIKE '%ON _plugin_storage%json%'"
    else:
        names = "SELECT indexname FROM pg_indexes WHERE tablename = '_plugin_storage' AND indexdef LIKE '%jsonb%'"
    with database.engine.begin() as connection:
        for name in connection.execute(text(names)).scalars().all():
            connection.exec_driver_sql(f'DROP INDEX "{name}"')
    return url


def definitions(database: Database) -> dict[str, str]:
    statement = {
        "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
        "postgresql": "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = '_plugin_storage'",
    }[database.dialect]
    with database.reading() as connection:
        return {row[0]: row[1] for row in connection.execute(text(statement))}


def test_what_maintenance_needs_is_created_once_and_reported(bare_url: str) -> None:
    with open_database(bare_url) as database:
        assert database.json_sql.guarded
        needed = document_indexes_of(database).names

        assert prepare_site_indexes(database) == needed
        assert document_indexes_of(database).unserved == []
        assert prepare_site_indexes(database) == ()
    with open_database(bare_url) as database:
        assert not database.json_sql.guarded
        assert missing_indexes(database), "ours are useful now"
        assert prepare_indexes(database)


def test_they_are_the_indexes_that_a_later_emdash_creates(bare_url: str, database: Database) -> None:
    with open_database(bare_url) as bare:
        created = prepare_site_indexes(bare)
        mine = {name: each for name, each in definitions(bare).items() if name in created}
        with bare.engine.begin() as connection:
            for name in created:
                connection.exec_driver_sql(f'DROP INDEX "{name}"')
            for statement in document_index_statements(bare.dialect, "mika"):
                connection.exec_driver_sql(statement)
        assert {name: definitions(bare)[name] for name in created} == mine
    assert len(created) < 20


def test_the_backlog_is_the_same_before_and_after(bare_url: str, database: Database) -> None:
    put(database, "ops", email("a"), webhook("b"), workflow("c"), delete_request("d"))
    with open_database(bare_url) as bare:
        before = take_snapshot(DatabaseBacklog(bare), RunOptions(), now=NOW)
        prepare_site_indexes(bare)
    with open_database(bare_url) as prepared:
        assert take_snapshot(DatabaseBacklog(prepared), RunOptions(), now=NOW) == before


def test_documents_that_are_not_json_are_named_and_nothing_is_created(bare_url: str, database: Database) -> None:
    put_raw(database, "ops", ("broken", "{"), ("whole", "{}"))
    with open_database(bare_url) as bare:
        before = definitions(bare)

        with pytest.raises(DatabaseError, match=r"are not JSON; fix or delete them: broken$"):
            prepare_site_indexes(bare)

        assert definitions(bare) == before


def test_the_command_says_what_it_created(bare_url: str) -> None:
    first, second = called("db", "prepare", database_url=bare_url), called("db", "prepare", database_url=bare_url)

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "idx_plugin_mika_ops_type_status" in first.output
    assert "mika_ops_open_emails" in first.output
    assert "created with EmDash's names: none, all that are needed exist" in second.output
    assert "created of mika-ops: none, they exist" in second.output


@pytest.mark.parametrize("to_prepare", [True, False])
def test_postgres_15_without_indexes_can_only_be_prepared(
    to_prepare: bool, bare_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    if database.dialect == "sqlite":
        pytest.skip("SQLite tests JSON in every version")
    monkeypatch.setattr("mika_ops.store.opening.FIRST_POSTGRES_WITH_GUARDS", (99,))

    if not to_prepare:
        with pytest.raises(UnusableDatabase, match="run `mika-ops db prepare`"):
            open_database(bare_url)
        return
    with open_database(bare_url, to_prepare=True) as bare:
        assert prepare_site_indexes(bare)
    with open_database(bare_url) as prepared:
        assert DatabaseBacklog(prepared).read({}, now=NOW).unreadable == 0
