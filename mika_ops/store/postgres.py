"""Engines for Postgres."""

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event

from mika_ops.store.database_url import DatabaseUrl
from mika_ops.store.errors import DatabaseError
from mika_ops.store.sqlite import BUSY_TIMEOUT_SECONDS

LOCK_TIMEOUT_MS: Final = 2_000


STATEMENT_TIMEOUT_MS: Final = 60_000


_POOLER_SQLSTATES: Final = frozenset({"42P05", "26000"})
"""A prepared statement that is there already, or is not: a pooler has given us another's connection."""


_PREPARED_FROM: Final = 5
"""So often the driver runs a statement before it has Postgres prepare it."""


_DEFAULTS: Final = {
    "connect_timeout": round(BUSY_TIMEOUT_SECONDS),
    "application_name": "mika-ops",
    # A server that is gone without a word must not be waited for indefinitely.
    "keepalives_idle": 30,
    "tcp_user_timeout": STATEMENT_TIMEOUT_MS,
}
"""Options of libpq that a URL may set otherwise."""

_TIME_LIMITS: Final = (
    "SELECT name FROM pg_settings WHERE name IN ('statement_timeout', 'lock_timeout', 'transaction_timeout') "
    "AND setting <> '0'"
)
"""The time limits that the role, the database or the server sets. Not every version has all three."""


def postgres_engine(database: DatabaseUrl) -> Engine:
    """Return an engine that changes settings for a transaction at most, so that a pooler may stand between."""
    defaults = {name: value for name, value in _DEFAULTS.items() if name not in database.url.query}
    # Otherwise the role's or the server's encoding decides, in which not every text can be sent.
    arguments = {**defaults, "client_encoding": "utf8"}
    engine = create_engine(
        database.url,
        hide_parameters=True,
        connect_args=arguments,
        execution_options={"mika_schema": database.schema},
    )

    @event.listens_for(engine, "connect")
    def connect(driver: Any, _record: object) -> None:
        from psycopg.types.array import ListBinaryDumper  # not needed for SQLite, and takes a while

        # As text, each quotation mark of each document in a list would have to be escaped: a third of a write's time.
        driver.adapters.register_dumper(list, ListBinaryDumper)
        _adapt_texts(driver, driver.info.parameter_status("server_encoding"))

    pooled = database.pooled

    @event.listens_for(engine, "handle_error")
    def handle_error(context: ExceptionContext) -> None:
        nonlocal pooled
        if getattr(context.original_exception, "sqlstate", None) in _POOLER_SQLSTATES:
            # PgBouncer before 1.21, for one: from now on nothing is prepared.
            pooled = context.is_disconnect = True

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # For this transaction alone: behind a pooler, the connection is somebody else's afterwards.
        settings: dict[str, int | str] = {
            "lock_timeout": LOCK_TIMEOUT_MS,
            "statement_timeout": STATEMENT_TIMEOUT_MS,
            # Policies would hide rows, and maintenance would find nothing due. So Postgres refuses instead.
            "row_security": "off",
            # To start other processes takes longer than any of our reads, and takes them away from the shop.
            "max_parallel_workers_per_gather": 0,
        }
        keeps_plans = connection.get_execution_options().get("mika_generic_plan", False)
        driver: Any = connection.connection.driver_connection
        driver.prepare_threshold = _PREPARED_FROM if keeps_plans and not pooled else None
        if keeps_plans:
            # Planning for EmDash's 106 indexes takes longer than finding or writing a document.
            settings["plan_cache_mode"] = "force_generic_plan"
        if database.schema is not None:
            settings["search_path"] = f'"{database.schema}"'
        connection.exec_driver_sql("; ".join(f"SET LOCAL {name} = {value}" for name, value in settings.items()))

    return engine


@contextmanager
def outside_transactions(engine: Engine) -> Iterator[Connection]:
    """Yield a connection for statements that run in no transaction and take long, such as those that create indexes.

    The time limits of the session are lifted, and reset whatever happens. Behind a pooler each statement may run on
    another connection, which other clients use afterwards: nothing is set there, and the server's limits hold.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        limits = connection.exec_driver_sql(_TIME_LIMITS).scalars().all()
        changes = {name: f"SET {name} = 0" for name in limits}
        schema = connection.get_execution_options().get("mika_schema")
        if schema is not None:
            changes["search_path"] = f'SET search_path = "{schema}"'
        if _is_behind_a_pooler(connection):
            if schema is not None:
                raise DatabaseError(
                    "indexes cannot be created in another schema through a pooler: connect to Postgres itself"
                )
            changes = {}
        try:
            for change in changes.values():
                connection.exec_driver_sql(change)
            yield connection
        finally:
            if not connection.invalidated:
                for name in changes:
                    connection.exec_driver_sql(f"RESET {name}")


def _is_behind_a_pooler(connection: Connection) -> bool:
    """Say whether another process answers than the one that the connection was made to."""
    driver: Any = connection.connection.driver_connection
    return bool(driver.info.backend_pid != connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())


def _adapt_texts(driver: Any, server_encoding: str | None) -> None:
    """Have texts fit a server whose encoding does not hold every character, such as LATIN1.

    One that a mail server said, for example, becomes a question mark: otherwise the database would refuse to record a
    sent email. What the database holds itself fits. SQL_ASCII takes UTF-8 as it is.
    """
    if server_encoding in (None, "UTF8", "SQL_ASCII"):
        return
    from psycopg.types.string import StrBinaryDumper, StrDumperUnknown

    try:
        codec = codecs.lookup(server_encoding.replace("WIN", "cp")).name
    except LookupError:
        return

    class FittingDumper(StrDumperUnknown):
        def dump(self, obj: str) -> Any:
            return super().dump(obj.encode(codec, errors="replace").decode(codec))

    class FittingBinaryDumper(StrBinaryDumper):
        def dump(self, obj: str) -> Any:
            return super().dump(obj.encode(codec, errors="replace").decode(codec))

    driver.adapters.register_dumper(str, FittingDumper)
    driver.adapters.register_dumper(str, FittingBinaryDumper)
