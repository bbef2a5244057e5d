"""Making a site's database ready: what is our own in it, created where it is not there yet."""

from typing import Final

from sqlalchemy import Connection, inspect, select, text

from mika_ops.documents.sweep import IDS_NAMED
from mika_ops.store.database import Database
from mika_ops.store.errors import DatabaseError, translated
from mika_ops.store.introspection import document_indexes_of
from mika_ops.store.postgres import outside_transactions
from mika_ops.store.schema.indexes import UNFINISHED_PREFIX, unfinished_indexes
from mika_ops.store.schema.own import OWN_VERSION, UPGRADES, acp_sessions, own, own_version
from mika_ops.store.schema.site import plugin_storage

_OURS: Final = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'index' AND name LIKE :ours",
    "postgresql": (
        "SELECT c.relname FROM pg_class AS c JOIN pg_index AS i ON i.indexrelid = c.oid "
        "WHERE i.indrelid = CAST('_plugin_storage' AS regclass) AND i.indisvalid AND c.relname LIKE :ours"
    ),
}
_OURS_HALF_MADE: Final = _OURS["postgresql"].replace("AND i.indisvalid", "AND NOT i.indisvalid")


def wrong_version(database: Database) -> str | None:
    """Say what to do about mika-ops' own tables of another version, or return ``None`` if their version is current."""
    version = _version(database)
    if version is None or version == OWN_VERSION:
        return None
    if version > OWN_VERSION:
        return (
            f"the tables of ACP sessions are of version {version}, made by a newer mika-ops; this one knows "
            f"{OWN_VERSION}: upgrade it"
        )
    return f"the tables of ACP sessions are older than version {OWN_VERSION}: run `mika-ops db prepare`"


def prepare_tables(database: Database) -> None:
    """Create mika-ops' own tables, or upgrade them in place to the current version, all in one transaction.

    Raises ``DatabaseError`` if they are of a newer version.
    """
    version = _version(database)
    if (version or 0) > OWN_VERSION:
        raise DatabaseError(wrong_version(database))

    def work(connection: Connection) -> None:
        # Tables without a version are like those of version 1.
        for older in range(OWN_VERSION if version is None else max(version, 1), OWN_VERSION):
            for statement in UPGRADES[older][database.dialect]:
                connection.exec_driver_sql(statement)
        own.create_all(connection)
        connection.execute(own_version.delete())
        connection.execute(own_version.insert().values(version=OWN_VERSION))

    database.write(work)


def _version(database: Database) -> int | None:
    """Return the version of mika-ops' own tables: ``None`` if there are none, 0 if they have no version."""
    with database.reading() as connection:
        tables = set(inspect(connection).get_table_names())
        if acp_sessions.name not in tables:
            return None
        return (connection.execute(select(own_version.c.version)).scalar() or 0) if own_version.name in tables else 0


def missing_indexes(database: Database) -> dict[str, str]:
    """Return those of mika-ops' own indexes that are not there, by name, with the statements that create them.

    None are missing where the site itself has no index on documents: ours would not be used.
    """
    if database.json_sql.guarded:
        return {}
    there = set(database.read(lambda connection: _found(connection, _OURS[database.dialect])))
    return {name: made for name, made in unfinished_indexes(database.dialect).items() if name not in there}


def prepare_site_indexes(database: Database) -> tuple[str, ...]:
    """Create the expression indexes that maintenance needs and the site lacks; return their names.

    EmDash 0.22 to 0.32 creates none. They have EmDash's names and expressions, so that a later EmDash finds them.
    Raises ``DatabaseError`` if the user may not, or if documents are not JSON, which no such index can hold.
    """
    lacking = document_indexes_of(database)
    if not lacking.statements:
        return ()
    if database.json_sql.guarded and (ids := _not_json(database)):
        raise DatabaseError(
            f"no index can be created while documents of {plugin_storage.name} are not JSON; fix or delete them: "
            f"{', '.join(ids)}"
        )
    if database.dialect == "sqlite":
        database.write(lambda connection: [connection.exec_driver_sql(each) for each in lacking.statements])
    else:
        with translated(), outside_transactions(database.engine) as connection:
            for statement in lacking.statements:
                connection.exec_driver_sql(statement.replace(" INDEX ", " INDEX CONCURRENTLY ", 1))
            connection.exec_driver_sql(f"ANALYZE {plugin_storage.name}")
    return lacking.names


_JSON_TEST: Final = (
    "CREATE FUNCTION pg_temp.mika_ops_is_json(document text) RETURNS boolean LANGUAGE plpgsql AS $$ "
    "BEGIN PERFORM document::jsonb; RETURN true; EXCEPTION WHEN OTHERS THEN RETURN false; END $$"
)
"""For Postgres before 16, which has no ``pg_input_is_valid``. It exists in one session until its transaction ends."""


def _not_json(database: Database) -> list[str]:
    """Return the ids of the first documents that are not JSON, of any plugin."""
    test = "json_valid(data)" if database.dialect == "sqlite" else "pg_temp.mika_ops_is_json(data)"
    with database.reading() as connection:
        if database.dialect == "postgresql":
            connection.exec_driver_sql(_JSON_TEST)
        found = select(plugin_storage.c.id).where(text(f"NOT {test}")).order_by(plugin_storage.c.id).limit(IDS_NAMED)
        ids = list(connection.execute(found).scalars())
        connection.rollback()
    return ids


def prepare_indexes(database: Database) -> tuple[str, ...]:
    """Create mika-ops' own indexes on documents and drop those of another version; return the names of the new ones.

    Postgres makes them while the shop goes on writing, which takes a while; SQLite keeps writers waiting, for about a
    second in a shop of a hundred thousand documents. Raises ``DatabaseError`` where the user may not: in Postgres, only
    who owns the table may.
    """
    missing = missing_indexes(database)
    wanted = unfinished_indexes(database.dialect)
    if database.dialect == "sqlite":
        there = database.read(lambda connection: _found(connection, _OURS["sqlite"]))
        statements = [f"DROP INDEX {name}" for name in there if name not in wanted] + list(missing.values())
        database.write(lambda connection: [connection.exec_driver_sql(each) for each in statements])
        return tuple(missing)
    with translated(), outside_transactions(database.engine) as connection:
        half_made = _found(connection, _OURS_HALF_MADE)
        stale = [name for name in _found(connection, _OURS["postgresql"]) if name not in wanted]
        for name in (*half_made, *stale):
            connection.exec_driver_sql(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        for statement in missing.values():
            connection.exec_driver_sql(statement)
        if missing:
            connection.exec_driver_sql("ANALYZE _plugin_storage")
    return tuple(missing)


def _found(connection: Connection, statement: str) -> list[str]:
    return list(connection.execute(text(statement), {"ours": f"{UNFINISHED_PREFIX}%"}).scalars())
