"""A database that cannot be reached for a while is waited for, and one that refuses for good is not."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from mika_ops.store.database import ATTEMPTS, PATIENCE_SECONDS, Database
from mika_ops.store.errors import DatabaseUnreachable, is_transient, is_unreachable
from mika_ops.store.opening import engine_for
from mika_ops_testing.sites import PostgresSites

postgres = pytest.mark.parametrize("kind", ["postgres"], indirect=True)


@contextmanager
def refused(database: Database, slept: list[float]) -> Iterator[Database]:
    """Yield the database as it is when nothing listens at its address."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        engine = engine_for(f"postgresql://mika:secret@127.0.0.1:{closed.getsockname()[1]}/shop")
        yield replace(database, engine=engine, sleep=slept.append)
        engine.dispose()


Access = Callable[[Database, Callable[[Connection], Any]], Any]


@postgres
@pytest.mark.parametrize("access", [Database.read, Database.write])
def test_a_refused_connection_is_tried_again_until_the_patience_ends(database: Database, access: Access) -> None:
    slept: list[float] = []
    with (
        refused(database, slept) as gone,
        pytest.raises(DatabaseUnreachable, match="Connection refused"),
    ):
        access(gone, lambda connection: connection.execute(text("SELECT 1")))

    assert len(slept) > ATTEMPTS
    assert PATIENCE_SECONDS - 5 < sum(slept) < PATIENCE_SECONDS + 5
    assert max(slept) < 1.2


@postgres
@pytest.mark.parametrize("access", [Database.read, Database.write])
def test_work_is_done_once_the_database_is_back(database: Database, access: Access) -> None:
    slept: list[float] = []

    def works(connection: Connection) -> Any:
        if len(slept) < 7:
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return connection.execute(text("SELECT 'done'")).scalar_one()

    assert access(replace(database, sleep=slept.append), works) == "done"
    assert len(slept) == 7


@postgres
def test_too_many_connections_of_a_user_are_waited_for(database: Database, postgres_sites: PostgresSites) -> None:
    def allow(count: int) -> None:
        with database.engine.begin() as connection:
            connection.execute(text(f"ALTER ROLE crowded CONNECTION LIMIT {count}"))

    with database.engine.begin() as connection:
        connection.execute(text("DROP ROLE IF EXISTS crowded"))
        connection.execute(text("CREATE ROLE crowded LOGIN CONNECTION LIMIT 0"))
    url = database.engine.url.set(username="crowded").render_as_string(hide_password=False)
    crowded = replace(database, engine=engine_for(url), sleep=lambda _seconds: allow(1))

    assert crowded.read(lambda connection: connection.execute(text("SELECT current_user")).scalar_one()) == "crowded"
    crowded.close()


def failed(error: psycopg.Error) -> OperationalError:
    return OperationalError(None, None, error)


@pytest.mark.parametrize(
    "message",
    [
        'connection to server at "127.0.0.1", port 5432 failed: Connection refused',
        'connection to server on socket "/run/.s.PGSQL.5432" failed: No such file or directory',
        'connection to server at "db", port 5432 failed: FATAL:  the database system is starting up',
        'connection to server at "db", port 5432 failed: FATAL:  sorry, too many clients already',
        'connection to server at "db", port 5432 failed: FATAL:  das Datenbanksystem startet',
        "failed to resolve host 'db': [Errno -3] Temporary failure in name resolution",
        "connection timeout expired",
    ],
)
def test_what_may_be_over_soon_is_transient(message: str) -> None:
    error = failed(psycopg.OperationalError(message))
    assert is_unreachable(error)
    assert is_transient(error)


@pytest.mark.parametrize(
    "message",
    [
        'connection failed: FATAL:  password authentication failed for user "mika"',
        'connection failed: FATAL:  role "mika" does not exist',
        'connection failed: FATAL:  database "shop" does not exist',
        'connection failed: FATAL:  role "mika" is not permitted to log in',
        'connection failed: FATAL:  no pg_hba.conf entry for host "::1", user "mika", database "shop", no encryption',
        "connection failed: server does not support SSL, but SSL was required",
        "connection failed: SSL error: certificate verify failed",
        "connection failed: fe_sendauth: no password supplied",
    ],
)
def test_what_another_try_does_not_change_is_not_transient(message: str) -> None:
    assert not is_transient(failed(psycopg.OperationalError(message)))


@pytest.mark.parametrize(
    "error",
    [
        psycopg.errors.TooManyConnections,
        psycopg.errors.AdminShutdown,
        psycopg.errors.CrashShutdown,
        psycopg.errors.CannotConnectNow,
        psycopg.errors.ConnectionFailure,
    ],
)
def test_a_server_that_goes_or_comes_is_unreachable(error: type[psycopg.Error]) -> None:
    assert is_unreachable(failed(error("said in any language")))


@pytest.mark.parametrize("error", [psycopg.errors.DiskFull, psycopg.errors.QueryCanceled])
def test_a_server_that_is_there_and_fails_is_not_unreachable(error: type[psycopg.Error]) -> None:
    assert not is_transient(failed(error("said in any language")))
