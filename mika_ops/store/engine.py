"""The site's database: opening it, asking whether it is one, and transactions that are short and retried."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, ExceptionContext, create_engine, event, inspect, make_url, select, text
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.pool import QueuePool
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from mika_ops.clock import utc_now
from mika_ops.ports import RepositoryUnavailable
from mika_ops.store.json_sql import JsonSql
from mika_ops.store.schema import acp_sessions, plugin_storage, site
from mika_ops.timestamps import Timestamp, to_timestamp

T = TypeVar("T")

BUSY_TIMEOUT_SECONDS: Final = 5.0
"""How long a transaction waits for another's SQLite write, or a Postgres connection to be made."""

WAL_PAGES: Final = 4_000
"""How long SQLite's write-ahead log grows before it is copied into the file: 16 MB of the usual pages."""

LOCK_TIMEOUT_MS: Final = 2_000
STATEMENT_TIMEOUT_MS: Final = 60_000
ATTEMPTS: Final = 5
FIRST_POSTGRES_WITH_GUARDS: Final = (16,)

_TRANSIENT_SQLSTATES: Final = frozenset({"40001", "40P01", "55P03"})
"""Serialization failure, deadlock, lock time-out: another try may succeed."""

_NOT_OURS: Final = frozenset({"42P05", "26000"})
"""A prepared statement that is there already, or is not: a pooler has given us another's connection."""

_PREPARED_FROM: Final = 5
"""So often the driver runs a statement before it has Postgres prepare it."""


class DatabaseError(Exception):
    """The database refused or cannot be reached. The message holds neither values nor the password."""


class UnusableDatabase(DatabaseError):
    """The configured database cannot be a Mika site's. The message says what to set or do."""


class DatabaseUnavailable(DatabaseError, RepositoryUnavailable):
    """The database cannot be reached, or takes nothing at the moment, whatever it is asked."""


class RowRefused(DatabaseError):
    """The database refused a row: for a unique index that it would break, or a value that it cannot hold."""


@dataclass(frozen=True)
class Database:
    """One site's database, how it spells documents, and whether it has tables of our own."""

    engine: Engine
    plugin_id: str
    json_sql: JsonSql
    has_acp_sessions: bool
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], datetime] = utc_now
    writing: AbstractContextManager[object] = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self.engine.dialect.name

    @contextmanager
    def reading(self, *, keep_plans: bool = False) -> Iterator[Connection]:
        """Open a connection for reading only; it holds no lock that keeps a writer waiting.

        ``keep_plans``: its statements are best run in the same way whatever values are bound, so that Postgres, once it
        knows them, need not plan them anew.
        """
        with _translated(), self.engine.connect().execution_options(mika_keeps_plans=keep_plans) as connection:
            yield connection
            # To roll back has the driver forget all statements that it has prepared.
            connection.commit()

    def write(self, work: Callable[[Connection], T], *, keep_plans: bool = False) -> T:
        """Do work in one short transaction: all or nothing, retried a few times where another was in the way.

        ``keep_plans`` as for ``reading``. Raises ``DatabaseError`` where trying again does not help.
        """
        with _translated():
            done: T = _retrying(_is_transient, self.sleep)(self._write_once, work, keep_plans=keep_plans)
            return done

    def _write_once(self, work: Callable[[Connection], T], *, keep_plans: bool) -> T:
        # SQLite takes one writer at a time and has the others poll: this process's own threads wait in line instead.
        in_line = self.writing if self.dialect == "sqlite" else nullcontext()
        with (
            in_line,
            self.engine.connect().execution_options(mika_writes=True, mika_keeps_plans=keep_plans) as connection,
            connection.begin(),
        ):
            return work(connection)

    def row_time(self) -> Timestamp:
        """Return the real time, for the columns that say when a row was written."""
        return to_timestamp(self.now())

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_database(url: str, *, plugin_id: str = "mika") -> Database:
    """Open a site's database and look whether it is one, changing nothing.

    ``url`` is ``sqlite:///path/to/data.db`` or ``postgresql://user:password@host:port/name``. Raises
    ``UnusableDatabase`` with one sentence where it cannot be reached or is not a site with Mika for ``plugin_id``.
    """
    engine = engine_for(url)
    try:
        with _translated(UnusableDatabase):
            opened: Database = _retrying(_is_cut, time.sleep)(_looked_over, engine, plugin_id)
            return opened
    except BaseException:
        engine.dispose()
        raise


def _looked_over(engine: Engine, plugin_id: str) -> Database:
    with engine.connect() as connection:
        tables = set(inspect(connection).get_table_names())
        _require_site(connection, tables, plugin_id)
        guarded = not _has_expression_index(connection)
        if guarded:
            _require_guards(connection)
        return Database(
            engine,
            plugin_id,
            JsonSql(engine.dialect.name, guarded=guarded),
            has_acp_sessions=acp_sessions.name in tables,
        )


def engine_for(url: str) -> Engine:
    """Return an engine with this package's driver and settings. Raises ``UnusableDatabase`` for a URL it cannot use."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise UnusableDatabase(
            "MIKA_DATABASE_URL is not a database URL: write sqlite:///path/to/data.db or "
            "postgresql://user:password@host:5432/name"
        ) from None
    match parsed.get_backend_name():
        case "sqlite":
            return _sqlite_engine(parsed)
        case "postgresql" | "postgres":
            return _postgres_engine(parsed)
        case other:
            raise UnusableDatabase(
                f"MIKA_DATABASE_URL names a {other} database; an EmDash site's is SQLite (sqlite:///…) or Postgres "
                "(postgresql://…)"
            )


def _postgres_engine(url: URL) -> Engine:
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        hide_parameters=True,
        connect_args={
            "connect_timeout": round(BUSY_TIMEOUT_SECONDS),
            "application_name": "mika-ops",
            # A server that is gone without a word must not be waited for for ever.
            "keepalives_idle": 30,
            "tcp_user_timeout": STATEMENT_TIMEOUT_MS,
        },
    )

    @event.listens_for(engine, "connect")
    def connect(driver: Any, _record: object) -> None:
        from psycopg.types.array import ListBinaryDumper  # not needed for SQLite, and takes a while

        # As text, each quotation mark of each document in a list would have to be escaped: a third of a write's time.
        driver.adapters.register_dumper(list, ListBinaryDumper)

    pooled = False

    @event.listens_for(engine, "handle_error")
    def handle_error(context: ExceptionContext) -> None:
        nonlocal pooled
        if getattr(context.original_exception, "sqlstate", None) in _NOT_OURS:
            # PgBouncer before 1.21, for one: from now on nothing is prepared.
            pooled = context.is_disconnect = True

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # For this transaction alone: behind a pooler, the connection is somebody else's afterwards.
        settings: dict[str, int | str] = {
            "lock_timeout": LOCK_TIMEOUT_MS,
            "statement_timeout": STATEMENT_TIMEOUT_MS,
            # To start other processes takes longer than any of our reads, and takes them away from the shop.
            "max_parallel_workers_per_gather": 0,
        }
        keeps_plans = connection.get_execution_options().get("mika_keeps_plans", False)
        driver: Any = connection.connection.driver_connection
        driver.prepare_threshold = _PREPARED_FROM if keeps_plans and not pooled else None
        if keeps_plans:
            # Planning for EmDash's 106 indexes takes longer than finding or writing a document.
            settings["plan_cache_mode"] = "force_generic_plan"
        connection.exec_driver_sql("; ".join(f"SET LOCAL {name} = {value}" for name, value in settings.items()))

    return engine


def _sqlite_engine(url: URL) -> Engine:
    if not url.database or url.database == ":memory:":
        raise UnusableDatabase("MIKA_DATABASE_URL names no SQLite file: write sqlite:///path/to/data.db")
    path = Path(url.database)
    if not path.is_file():
        raise UnusableDatabase(
            f"the SQLite file {path} does not exist (seen from {Path.cwd()}): set MIKA_DATABASE_URL to the site's file"
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


def _require_site(connection: Connection, tables: set[str], plugin_id: str) -> None:
    if plugin_storage.name not in tables:
        raise UnusableDatabase(
            f"the database has no table {plugin_storage.name}: it is not an EmDash site's; check MIKA_DATABASE_URL"
        )
    missing = sorted(set(site.tables) - tables)
    if missing:
        raise UnusableDatabase(
            f"the database has no table {', '.join(missing)}: it is an EmDash site without Mika, or one whose Mika has "
            "never run; check MIKA_DATABASE_URL, or start the site once"
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
            "set MIKA_PLUGIN_ID to the one that is Mika's"
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
    """Refuse a Postgres that cannot say whether a text is JSON, where no index vouches that every document is."""
    version = connection.dialect.server_version_info or (0,)
    if connection.dialect.name == "postgresql" and version < FIRST_POSTGRES_WITH_GUARDS:
        raise UnusableDatabase(
            f"the table {plugin_storage.name} has none of EmDash's expression indexes, and Postgres "
            f"{version[0]} cannot do without them: let the site create them, or use Postgres 16 or later"
        )


def _retrying(transient: Callable[[BaseException], bool], sleep: Callable[[float], None]) -> Retrying:
    """Return what calls a function again, a few times, where it fails with what may be over by then."""
    return Retrying(
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential_jitter(multiplier=0.05, max=1.0, jitter=0.1),
        retry=retry_if_exception(transient),
        sleep=sleep,
        reraise=True,
    )


def _is_cut(error: BaseException) -> bool:
    """Say whether a connection was lost: the next try has a new one."""
    return isinstance(error, DBAPIError) and error.connection_invalidated


def _is_transient(error: BaseException) -> bool:
    if not isinstance(error, DBAPIError) or error.orig is None:
        return False
    if isinstance(error.orig, sqlite3.OperationalError):
        return error.orig.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    if _is_cut(error):
        # Rules look before they write, so that nothing is done twice.
        return True
    return getattr(error.orig, "sqlstate", None) in _TRANSIENT_SQLSTATES


@contextmanager
def _translated(raised: type[DatabaseError] = DatabaseError) -> Iterator[None]:
    try:
        yield
    except (IntegrityError, DataError) as error:
        raise RowRefused(f"the shop's database: {_said(error)}") from None
    except (OperationalError, InterfaceError, InternalError) as error:
        unavailable = DatabaseUnavailable if raised is DatabaseError else raised
        raise unavailable(f"the shop's database: {_said(error)}") from None
    except SQLAlchemyError as error:
        raise raised(f"the shop's database: {_said(error)}") from None


def _said(error: SQLAlchemyError) -> str:
    """Return what the database said, first line only: what follows may quote values."""
    orig = getattr(error, "orig", None)
    primary = getattr(getattr(orig, "diag", None), "message_primary", None)
    said = primary or str(orig or error).strip().partition("\n")[0]
    return said or type(error).__name__
