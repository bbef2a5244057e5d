"""Inspecting a site's database without changing it: what may be read and written, and which indexes it has."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Table, inspect, select, text

from mika_ops.documents.selection import Collection
from mika_ops.store.database import Database
from mika_ops.store.errors import DatabaseError
from mika_ops.store.postgres import LOCK_TIMEOUT_MS
from mika_ops.store.schema.indexes import document_index_statements, document_indexes
from mika_ops.store.schema.own import acp_idempotency_keys, acp_sessions, own, own_version
from mika_ops.store.schema.site import ephemeral_records, plugin_storage, stock_events, stock_items

LONGEST_QUERY_MS: Final = 5_000
"""The longest that Postgres may take for one query here: none reads more than a few rows."""

LONGEST_POSTGRES_NAME: Final = 63
"""Postgres cuts longer names off."""

PRIVILEGES: Final[Mapping[Table, tuple[str, ...]]] = {
    plugin_storage: ("SELECT", "UPDATE"),
    stock_items: ("SELECT", "UPDATE"),
    stock_events: ("SELECT", "UPDATE"),
    ephemeral_records: ("SELECT", "UPDATE", "DELETE"),
    acp_sessions: ("SELECT", "UPDATE", "DELETE"),
    acp_idempotency_keys: ("SELECT", "DELETE"),
    own_version: ("SELECT",),
}
"""The tables that maintenance uses, and what it does with each. Locking a row counts as an update in Postgres."""

LOOKUPS: Final[Mapping[Collection, tuple[str, ...]]] = {
    "account": ("type", "type customerId", "type emailHash", "type userId"),
    "ledger": ("type", "type customerId", "emailHash"),
    "ops": ("type", "type status", "type customerId", "type userId", "type kind status"),
    "session": ("type", "type customerId", "type orderId"),
}
"""The fields by which maintenance finds documents, by collection: an index that starts with them serves."""

_DOCUMENT_INDEX: Final = re.compile(r"\(plugin_id,\s*collection,(.+)\)\s*$", re.DOTALL)
_INDEXED_FIELD: Final = {
    "sqlite": re.compile(r"json_extract\(data, *'\$\.(\w+)'\)"),
    "postgresql": re.compile(r"::jsonb ->> '(\w+)'"),
}

_INDEXES: Final = {
    "sqlite": "SELECT name, sql AS definition, sql NOT LIKE '% WHERE %' AS complete FROM sqlite_master "
    "WHERE type = 'index' AND tbl_name = '_plugin_storage' AND sql IS NOT NULL",
    "postgresql": "SELECT relname AS name, pg_get_indexdef(indexrelid) AS definition, "
    "indisvalid AND indpred IS NULL AS complete FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid "
    "WHERE indrelid = CAST('_plugin_storage' AS regclass)",
}
"""All indexes of the document table; one of some rows only, or that was left half-made, is not complete."""


@dataclass(frozen=True)
class DocumentIndexes:
    """The expression indexes of the document table.

    ``found``: how many there are; ``unserved``: the look-ups of maintenance that none serves, each as its collection
    and its fields; ``names`` and ``statements``: the indexes that these need, as EmDash would create them.
    """

    found: int
    unserved: Sequence[str]
    names: tuple[str, ...]
    statements: tuple[str, ...]


def version_of(database: Database) -> str:
    """Return the database's name and version: ``SQLite 3.45.1``, ``Postgres 16.2``."""
    with _inspecting(database) as connection:
        if database.dialect == "sqlite":
            return f"SQLite {connection.execute(text('SELECT sqlite_version()')).scalar_one()}"
        return f"Postgres {str(connection.execute(text('SHOW server_version')).scalar_one()).partition(' ')[0]}"


def own_tables(database: Database) -> frozenset[str]:
    """Return which of mika-ops' own tables exist."""
    with _inspecting(database) as connection:
        return frozenset(own.tables) & frozenset(inspect(connection).get_table_names())


def read_problems(database: Database, tables: Sequence[Table]) -> dict[str, str]:
    """Read a row of each table, with all of its columns; say by table why one could not be read."""
    sentence = {}
    for table in tables:
        row = select(table).limit(1)
        if table is plugin_storage:
            row = row.where(plugin_storage.c.plugin_id == database.plugin_id)
        try:
            with _inspecting(database) as connection:
                connection.execute(row).first()
        except DatabaseError as error:
            sentence[table.name] = str(error)
    return sentence


def write_problems(database: Database, tables: Sequence[Table]) -> dict[str, str]:
    """Say by table why it cannot be written as maintenance does, as far as can be found out without writing.

    Raises ``DatabaseError`` where nothing can be written: the database is read-only, or somebody holds it for too long.
    """
    if database.dialect == "sqlite":
        _require_writable_file(database)
        return {}
    with _inspecting(database) as connection:
        if connection.execute(text("SELECT pg_is_in_recovery()")).scalar_one():
            raise DatabaseError(
                f"the server is a standby, which takes no writes: set {database.names('database_url')} to the primary"
            )
        if connection.execute(text("SHOW transaction_read_only")).scalar_one() == "on":
            raise DatabaseError(
                "transactions are read-only by default (default_transaction_read_only): turn that off for this user"
            )
        missing = {table.name: _missing_rights(connection, table) for table in tables}
    return {name: f"the user may not {' and '.join(rights)}" for name, rights in missing.items() if rights}


def document_indexes_of(database: Database) -> DocumentIndexes:
    """Return which expression indexes the document table has, and which it lacks that maintenance looks up by.

    An index that EmDash keeps for one collection is not counted on for another: it may go with its collection.
    """
    with _inspecting(database) as connection:
        rows = connection.execute(text(_INDEXES[database.dialect])).all()
    expected = _expected_indexes(database)
    useful = [
        (fields, each.name)
        for each in rows
        if each.complete and (fields := _fields_in(each.definition, database.dialect))
    ]
    unserved: list[str] = []
    names: dict[str, None] = {}
    statements: dict[str, None] = {}
    for collection, lookups in LOOKUPS.items():
        elsewhere = {index.name for index in expected if index.collection != collection}
        here = [fields for fields, name in useful if name not in elsewhere]
        for lookup in lookups:
            wanted = tuple(lookup.split())
            if any(fields[: len(wanted)] == wanted for fields in here):
                continue
            unserved.append(f"{collection} by {', '.join(wanted)}")
            serving = (
                index for index in expected if index.collection == collection and index.fields[: len(wanted)] == wanted
            )
            index = min(serving, key=lambda index: len(index.fields))
            if index.name in {each.name for each in rows}:
                # One that was left half-made, or is of other fields, would let the statement do nothing.
                statements[f'DROP INDEX "{index.name}"'] = None
            names[index.name] = None
            statements[index.statement] = None
    return DocumentIndexes(len(useful), unserved, tuple(names), tuple(statements))


@contextmanager
def _inspecting(database: Database) -> Iterator[Connection]:
    """Open a connection on which no query takes long, whoever holds a lock on what it reads."""
    with database.reading() as connection:
        if database.dialect == "postgresql":
            connection.execute(
                text("SELECT set_config('lock_timeout', :lock, true), set_config('statement_timeout', :query, true)"),
                {"lock": str(LOCK_TIMEOUT_MS), "query": str(LONGEST_QUERY_MS)},
            )
        yield connection


def _require_writable_file(database: Database) -> None:
    with database.reading() as connection:
        # The write lock is taken and released unused. SQLite grants it even for a read-only file.
        connection.execution_options(mika_writes=True)
        _number, _name, path = connection.execute(text("PRAGMA database_list")).one()
    file = Path(path)
    # By the rights that writing goes by, not by those of whoever started the program.
    by_effective_ids = os.access in os.supports_effective_ids
    if not os.access(file, os.W_OK, effective_ids=by_effective_ids):
        raise DatabaseError(f"the SQLite file {file} cannot be written: allow it to the user that runs maintenance")
    if not os.access(file.parent, os.W_OK | os.X_OK, effective_ids=by_effective_ids):
        raise DatabaseError(
            f"the folder {file.parent} cannot be written, where SQLite keeps its journal while it writes: allow it to "
            "the user that runs maintenance"
        )


def _missing_rights(connection: Connection, table: Table) -> list[str]:
    # A right on some columns is enough to read and to update; rows are deleted whole.
    asked = {
        right: text(f"SELECT {'has_table' if right == 'DELETE' else 'has_any_column'}_privilege(:name, :right)")
        for right in PRIVILEGES[table]
    }
    return [
        right
        for right, question in asked.items()
        if not connection.execute(question, {"name": f'"{table.name}"', "right": right}).scalar_one()
    ]


@dataclass(frozen=True)
class _Index:
    name: str
    collection: Collection
    fields: tuple[str, ...]
    statement: str


def _expected_indexes(database: Database) -> list[_Index]:
    """Return the indexes that EmDash keeps, by the names that the database gives them."""
    statements = document_index_statements(database.dialect, database.plugin_id)
    longest = None if database.dialect == "sqlite" else LONGEST_POSTGRES_NAME
    return [
        _Index(name[:longest], collection, fields, statement)
        for (name, collection, fields, _unique), statement in zip(
            document_indexes(database.plugin_id), statements, strict=True
        )
    ]


def _fields_in(definition: str, dialect: str) -> tuple[str, ...]:
    """Return the document's fields that an index holds, in order; none where it is not one of a collection's."""
    columns = _DOCUMENT_INDEX.search(definition.replace('"', ""))
    return tuple(_INDEXED_FIELD[dialect].findall(columns[1])) if columns is not None else ()
