"""Making a site's database ready: what is our own in it, created where it is not there yet."""

from typing import Final

from sqlalchemy import Connection, text

from mika_ops.store.engine import Database
from mika_ops.store.schema import OPEN_WORK_PREFIX, open_work_indexes, own

_OURS: Final = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'index' AND name LIKE :ours",
    "postgresql": (
        "SELECT c.relname FROM pg_class AS c JOIN pg_index AS i ON i.indexrelid = c.oid "
        "WHERE i.indrelid = CAST('_plugin_storage' AS regclass) AND i.indisvalid AND c.relname LIKE :ours"
    ),
}
_OURS_HALF_MADE: Final = _OURS["postgresql"].replace("AND i.indisvalid", "AND NOT i.indisvalid")


def prepare_tables(database: Database) -> None:
    """Create the tables of our own."""
    database.write(own.create_all)


def missing_indexes(database: Database) -> dict[str, str]:
    """Return those of our own indexes that are not there, by name, with the statements that create them.

    None are missing where the site itself has no index on documents: ours would not be used.
    """
    if database.json_sql.guarded:
        return {}
    with database.reading() as connection:
        there = set(_found(connection, _OURS[database.dialect]))
    return {name: made for name, made in open_work_indexes(database.dialect).items() if name not in there}


def prepare_indexes(database: Database) -> tuple[str, ...]:
    """Create our own indexes on documents and drop those of another version; return the names of the new ones.

    Postgres makes them while the shop goes on writing, which takes a while; SQLite keeps writers waiting, for about a
    second in a shop of a hundred thousand documents. Raises ``DatabaseError`` where the user may not: in Postgres, only
    who owns the table may.
    """
    missing = missing_indexes(database)
    wanted = open_work_indexes(database.dialect)
    if database.dialect == "sqlite":
        with database.reading() as connection:
            there = _found(connection, _OURS["sqlite"])
        statements = [f"DROP INDEX {name}" for name in there if name not in wanted] + list(missing.values())
        database.write(lambda connection: [connection.exec_driver_sql(each) for each in statements])
        return tuple(missing)
    # Such a statement runs in no transaction, and in its own time.
    with database.reading() as reading:
        connection = reading.execution_options(isolation_level="AUTOCOMMIT")
        connection.exec_driver_sql("SET statement_timeout = 0")
        half_made = _found(connection, _OURS_HALF_MADE)
        stale = [name for name in _found(connection, _OURS["postgresql"]) if name not in wanted]
        for name in (*half_made, *stale):
            connection.exec_driver_sql(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        for statement in missing.values():
            connection.exec_driver_sql(statement)
        if missing:
            connection.exec_driver_sql("ANALYZE _plugin_storage")
        connection.exec_driver_sql("RESET statement_timeout")
    return tuple(missing)


def _found(connection: Connection, statement: str) -> list[str]:
    return list(connection.execute(text(statement), {"ours": f"{OPEN_WORK_PREFIX}%"}).scalars())
