"""Engines for SQLite."""

import sqlite3
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool

from mika_ops.setting_names import PLAIN_NAMES, SettingNames
from mika_ops.store.errors import UnusableDatabase

BUSY_TIMEOUT_SECONDS: Final = 5.0
"""How long a transaction waits for another's SQLite write, or a Postgres connection to be made."""


WAL_PAGES: Final = 4_000
"""How long SQLite's write-ahead log grows before it is copied into the file: 16 MB of the usual pages."""


def sqlite_engine(url: URL, names: SettingNames = PLAIN_NAMES) -> Engine:
    if not url.database or url.database == ":memory:":
        raise UnusableDatabase(f"{names('database_url')} names no SQLite file: write sqlite:///path/to/data.db")
    path = Path(url.database)
    if not path.is_file():
        raise UnusableDatabase(
            f"the SQLite file {path} does not exist (seen from {Path.cwd()}): set "
            f"{names('database_url')} to the site's file"
        )

    def connect() -> sqlite3.Connection:
        # mode=rw: a mistyped path must not leave an empty database behind.
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode=rw",
            uri=True,
            timeout=BUSY_TIMEOUT_SECONDS,
            check_same_thread=False,
            isolation_level=None,
        )
        # A document may hold half of a surrogate pair, which is no UTF-8: one such text must not stop a sweep.
        connection.text_factory = partial(str, encoding="utf-8", errors="replace")
        # With a write-ahead log, a commit need not wait for the disk: a killed process loses nothing, and after a power
        # failure the last moments' emails are sent again, with the same Message-ID. Whoever commits while the log is
        # long copies it into the file and keeps everybody waiting: less often than by default.
        if connection.execute("PRAGMA journal_mode").fetchone() == ("wal",):
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        return connection

    # Last in, first out: the connection that wrote last need not read again what others wrote.
    engine = create_engine(
        "sqlite+pysqlite://", creator=connect, hide_parameters=True, poolclass=QueuePool, pool_use_lifo=True
    )

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A deferred transaction that turns into a writer half-way fails at once when another is writing.
        writes = connection.get_execution_options().get("mika_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
