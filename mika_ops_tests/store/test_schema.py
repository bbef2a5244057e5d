"""The tables that we lay out for tests, demo and benchmark are an EmDash site's with Mika, as recorded beside us."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, inspect, text

from mika_ops.store.schema.indexes import document_indexes
from mika_ops.store.schema.own import acp_idempotency_keys, acp_sessions, own, own_version
from mika_ops.store.schema.site import create_site, site
from mika_ops_testing.sites import DatabaseKind, Sites
from mika_ops_tests.conftest import SHARED

NOW = {"datetime('now')": "CURRENT_TIMESTAMP"}
"""What SQLite calls the same: EmDash writes the one, SQLAlchemy the other."""


@pytest.fixture
def new_database(kind: DatabaseKind, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Engine]]:
    """Return what makes an empty database, without any table."""
    engines: list[Engine] = []

    def new() -> Engine:
        if kind == "sqlite":
            engine = create_engine(f"sqlite:///{tmp_path / f'{len(engines)}.db'}")
        else:
            made: Sites = request.getfixturevalue("postgres_sites")
            engine = create_engine(made.new())
            with engine.begin() as connection:
                connection.execute(text("DROP SCHEMA public CASCADE"))
                connection.execute(text("CREATE SCHEMA public"))
        engines.append(engine)
        return engine

    yield new
    for engine in engines:
        engine.dispose()


def columns(connection: Connection) -> dict[str, Any]:
    """Return every column of every table: type, nullability, default, place in the primary key."""
    looking = inspect(connection)
    return {
        f"{table}.{column['name']}": (
            str(column["type"]),
            # SQLite lets a text primary key be null unless it is said otherwise; no id ever is.
            column["nullable"] and column["name"] not in looking.get_pk_constraint(table)["constrained_columns"],
            default_of(column["default"]),
            place_in(looking.get_pk_constraint(table)["constrained_columns"], column["name"]),
        )
        for table in looking.get_table_names()
        for column in looking.get_columns(table)
    }


def default_of(default: str | None) -> str | None:
    return default if default is None else NOW.get(default.strip("()") + ")", default.strip("'"))


def place_in(keys: list[str], column: str) -> int | None:
    return keys.index(column) if column in keys else None


def unique_columns(connection: Connection) -> set[tuple[str, ...]]:
    looking = inspect(connection)
    return {
        (table, *constraint["column_names"])
        for table in looking.get_table_names()
        for constraint in looking.get_unique_constraints(table)
    }


def indexes(connection: Connection) -> dict[str, str]:
    """Return every named index's statement, without white space and quotes."""
    if connection.dialect.name == "sqlite":
        catalog = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    else:
        catalog = (
            "SELECT indexname AS name, indexdef AS sql FROM pg_indexes WHERE schemaname = 'public' AND NOT EXISTS "
            "(SELECT FROM pg_constraint WHERE conname = indexname)"
        )
    found = connection.execute(text(catalog)).all()
    return {row.name: re.sub(r'["\s]|IF NOT EXISTS', "", row.sql).lower() for row in found}


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
@pytest.mark.parametrize("look", [columns, unique_columns, indexes])
def test_a_site_that_we_lay_out_is_as_emdash_and_mika_do(
    look: Callable[[Connection], Any], kind: DatabaseKind, new_database: Callable[[], Engine]
) -> None:
    recorded = SHARED / "reference" / f"schema-{kind}.sql"
    if not recorded.exists():
        pytest.skip("the recorded schema is not beside this checkout, in ../shared/reference")
    statements = [line for line in recorded.read_text().splitlines() if line.startswith("CREATE ")]
    with new_database().begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
        expected = look(connection)
    with new_database().begin() as connection:
        create_site(connection)
        found = look(connection)
    assert expected, "there is something to compare"
    assert found == expected


def test_emdashs_list_of_its_indexes_is_filled(new_database: Callable[[], Engine]) -> None:
    with new_database().begin() as connection:
        create_site(connection)
        listed = connection.execute(text("SELECT index_name, fields FROM _plugin_indexes WHERE plugin_id = 'mika'"))
        assert {row.index_name: row.fields for row in listed} == {
            name: ",".join(fields) for name, _collection, fields, _unique in document_indexes("mika")
        }


def test_a_sites_indexes_are_named_after_its_plugin_id(new_database: Callable[[], Engine]) -> None:
    with new_database().begin() as connection:
        create_site(connection, plugin_id="shop")
        assert any("_plugin_shop_ops_" in name for name in indexes(connection))
        assert not any("_plugin_mika_" in name for name in indexes(connection))


def test_our_own_tables_are_no_part_of_a_site() -> None:
    assert set(own.tables) == {acp_sessions.name, acp_idempotency_keys.name, own_version.name}
    assert not set(own.tables) & set(site.tables)


def test_every_column_of_our_own_tables_says_what_it_is() -> None:
    for table in own.tables.values():
        assert all(column.comment for column in table.columns)
