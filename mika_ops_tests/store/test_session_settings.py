"""`mika-ops db prepare` on Postgres leaves no setting behind, through a pooler and where it fails."""

from collections.abc import Iterator

import pytest
from sqlalchemy import event, text

from mika_ops.store import migrate as migrate_module
from mika_ops.store import postgres as postgres_module
from mika_ops.store.database import Database
from mika_ops.store.errors import DatabaseError
from mika_ops.store.migrate import prepare_indexes
from mika_ops.store.opening import open_database

pytestmark = pytest.mark.parametrize("kind", ["postgres"], indirect=True)


@pytest.fixture
def limited(url: str) -> Iterator[tuple[Database, list[str]]]:
    """Yield a database that limits its sessions, and the settings that are changed in it from now on."""
    with open_database(url) as database:
        with database.engine.begin() as connection:
            name = connection.execute(text("SELECT current_database()")).scalar_one()
            connection.execute(text(f'ALTER DATABASE "{name}" SET statement_timeout = 30000'))
            connection.execute(text(f'ALTER DATABASE "{name}" SET lock_timeout = 20000'))
        database.engine.dispose()
        changes: list[str] = []

        @event.listens_for(database.engine, "before_cursor_execute")
        def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            if statement.startswith(("SET ", "RESET ")) and not statement.startswith("SET LOCAL "):
                changes.append(statement)

        yield database, changes


LIFTED = ["SET lock_timeout = 0", "SET statement_timeout = 0"]
RESET = ["RESET lock_timeout", "RESET statement_timeout"]


def test_limits_are_lifted_while_indexes_are_created_and_then_reset(limited: tuple[Database, list[str]]) -> None:
    database, changes = limited

    assert prepare_indexes(database)
    assert (sorted(changes[:2]), sorted(changes[2:])) == (LIFTED, RESET)


def test_limits_are_reset_where_an_index_cannot_be_created(
    limited: tuple[Database, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    database, changes = limited
    monkeypatch.setattr(migrate_module, "missing_indexes", lambda _database: {"bad": "CREATE INDEX bad ON nowhere (x)"})

    with pytest.raises(DatabaseError, match="nowhere"):
        prepare_indexes(database)
    assert sorted(changes[2:]) == RESET


def test_a_session_without_limits_is_left_as_it_is(database: Database) -> None:
    with postgres_module.outside_transactions(database.engine) as connection:
        assert (
            connection.execute(
                text("SELECT count(*) FROM pg_settings WHERE source = 'session' AND name LIKE '%timeout'")
            ).scalar_one()
            == 0
        )


def test_nothing_is_set_behind_a_pooler(limited: tuple[Database, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """A pooler answers with a number of its own for the process, so ours differs."""
    database, changes = limited
    monkeypatch.setattr("psycopg.ConnectionInfo.backend_pid", property(lambda _info: 0))

    assert prepare_indexes(database)
    assert changes == []


def test_indexes_are_created_in_the_schema_of_the_url(url: str) -> None:
    with open_database(url) as database, database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER SCHEMA public RENAME TO store")
    with open_database(f"{url}&schema=store") as database:
        made = prepare_indexes(database)
        with database.reading() as connection:
            schemas = connection.execute(
                text("SELECT schemaname FROM pg_indexes WHERE indexname = ANY (:made)"), {"made": list(made)}
            ).scalars()
            assert set(schemas) == {"store"}
