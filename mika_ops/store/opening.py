"""Opening a site's database, and checking that it is one."""

import time
from typing import Final

from sqlalchemy import Connection, Engine, inspect, select, text

from mika_ops.setting_names import PLAIN_NAMES, SettingNames
from mika_ops.store.database import Database, retrying
from mika_ops.store.database_url import InvalidDatabaseUrl, read_database_url
from mika_ops.store.errors import UnusableDatabase, is_unreachable, translated
from mika_ops.store.json_sql import JsonSql
from mika_ops.store.postgres import postgres_engine
from mika_ops.store.schema.own import acp_sessions
from mika_ops.store.schema.site import plugin_storage, site
from mika_ops.store.sqlite import sqlite_engine

OPENING_PATIENCE_SECONDS: Final = 3.0
"""How long to retry opening a database that cannot be reached: the next tick of the schedule retries as well."""

FIRST_POSTGRES_WITH_GUARDS: Final = (16,)


def open_database(
    url: str, *, plugin_id: str = "mika", names: SettingNames = PLAIN_NAMES, to_prepare: bool = False
) -> Database:
    """Open a site's database and check that it is one, changing nothing.

    ``url`` is ``sqlite:///path/to/data.db`` or ``postgresql://user:password@host:port/name``, with what
    ``read_database_url`` accepts. With ``to_prepare``, Postgres 15 and older may lack the indexes that they need.
    Raises ``UnusableDatabase`` with one sentence if it cannot be reached or is not a site with Mika for ``plugin_id``.
    """
    engine = engine_for(url, names)
    try:
        with translated(UnusableDatabase):
            patient = retrying(is_unreachable, sleep=time.sleep, patience_seconds=OPENING_PATIENCE_SECONDS)
            opened: Database = patient(_inspect, engine, plugin_id, names, to_prepare)
            return opened
    except BaseException:
        engine.dispose()
        raise


def _inspect(engine: Engine, plugin_id: str, names: SettingNames, to_prepare: bool) -> Database:
    with engine.connect() as connection:
        tables = set(inspect(connection).get_table_names())
        _require_site(connection, tables, plugin_id, names)
        guarded = not _has_expression_index(connection)
        if guarded and not to_prepare:
            _require_guards(connection)
        return Database(
            engine,
            plugin_id,
            JsonSql(engine.dialect.name, guarded=guarded),
            has_acp_sessions=acp_sessions.name in tables,
            names=names,
        )


def engine_for(url: str, names: SettingNames = PLAIN_NAMES) -> Engine:
    """Return an engine with this package's driver and settings. Raises ``UnusableDatabase`` for a URL it cannot use."""
    try:
        database = read_database_url(url, names)
    except InvalidDatabaseUrl as invalid:
        raise UnusableDatabase(str(invalid)) from None
    if database.url.get_backend_name() == "sqlite":
        return sqlite_engine(database.url, names)
    return postgres_engine(database)


def _require_site(connection: Connection, tables: set[str], plugin_id: str, names: SettingNames) -> None:
    if plugin_storage.name not in tables:
        raise UnusableDatabase(
            f"the database has no table {plugin_storage.name}: it is not an EmDash site's; check "
            f"{names('database_url')}"
        )
    missing = sorted(set(site.tables) - tables)
    if missing:
        raise UnusableDatabase(
            f"the database has no table {', '.join(missing)}: it is an EmDash site without Mika, or one on which "
            f"Mika's migrations have not run; check {names('database_url')}, or run them, as the site's own code does"
        )
    found = plugin_storage.c.plugin_id
    if connection.execute(select(found).where(found == plugin_id).limit(1)).first() is not None:
        return
    others = connection.execute(
        select(found).where(plugin_storage.c.collection == "ops").distinct().order_by(found).limit(5)
    ).scalars()
    named = [other for other in others if other != plugin_id]
    if named:
        raise UnusableDatabase(
            f"the database has no documents of plugin id {plugin_id!r}, but has some of {', '.join(map(repr, named))}: "
            f"set {names('plugin_id')} to the one that is Mika's"
        )


def _has_expression_index(connection: Connection) -> bool:
    """Say whether any index reads the documents as JSON: the database then holds no document that is not JSON."""
    if connection.dialect.name == "sqlite":
        statement = (
            "SELECT 1 FROM sqlite_master WHERE type = 'index' AND tbl_name = '_plugin_storage' "
            "AND sql LIKE '%json_extract(data,%' AND sql NOT LIKE '% WHERE %' LIMIT 1"
        )
    else:
        statement = (
            "SELECT 1 FROM pg_indexes WHERE tablename = '_plugin_storage' "
            "AND schemaname = ANY (current_schemas(false)) "
            "AND indexdef LIKE '%jsonb%' AND indexdef NOT LIKE '% WHERE %' LIMIT 1"
        )
    return connection.execute(text(statement)).first() is not None


def _require_guards(connection: Connection) -> None:
    """Refuse a Postgres that cannot test whether a text is JSON, if no index guarantees that every document is."""
    version = connection.dialect.server_version_info or (0,)
    if connection.dialect.name == "postgresql" and version < FIRST_POSTGRES_WITH_GUARDS:
        raise UnusableDatabase(
            f"the table {plugin_storage.name} has no expression index, and Postgres {version[0]} cannot test whether "
            "a document is JSON: run `mika-ops db prepare`, which creates the indexes that maintenance needs"
        )
