"""What a database raises, translated; and which of it is transient."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    SQLAlchemyError,
)

from mika_ops.documents.repository import RepositoryUnavailable, RepositoryUnreachable

_CONFLICT_SQLSTATES: Final = frozenset({"40001", "40P01", "55P03"})
"""Serialization failure, deadlock, lock time-out: another try may succeed."""

_UNREACHABLE_SQLSTATES: Final = frozenset({"53300", "57P01", "57P02", "57P03", "57P05"})
"""Too many connections, shut down by an administrator or a crash, starting up, idle for too long."""

_CONNECTION_EXCEPTION: Final = "08"
"""The class of SQLSTATEs for connections that broke or were never made."""

_REFUSED_FOR_GOOD: Final = (
    "authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "not permitted to log in",
    "permission denied",
    "does not exist",
    "does not support SSL",
    "certificate",
    "not currently accepting connections",
    "invalid",
    "encoding",
)
"""Parts of the messages of connections that another try does not make: libpq passes no SQLSTATE on for those.

A server that says so in another language is retried in vain, for as long as one that is starting up.
"""

_ROW_SECURITY_CHECK: Final = "check_enable_rls"
"""The function of Postgres that refuses a query which row-level security would change: its message is translated."""

ROW_SECURITY_REMEDY: Final = "ALTER ROLE … BYPASSRLS for this user, or use the owner of the tables"
"""What to do where row-level security is enabled on the shop's tables."""


class DatabaseError(Exception):
    """The database refused or cannot be reached. The message holds neither values nor the password."""


class UnusableDatabase(DatabaseError):
    """The configured database cannot be a Mika site's. The message says what to set or do."""


class DatabaseUnavailable(DatabaseError, RepositoryUnavailable):
    """The database cannot be reached, or takes nothing at the moment, whatever it is asked."""


class DatabaseUnreachable(DatabaseUnavailable, RepositoryUnreachable):
    """No connection to the database is to be had: it is stopped, starting up, or has too many of them."""


class RowRefused(DatabaseError):
    """The database refused a row: for a unique index that it would break, or a value that it cannot hold."""


def is_disconnect(error: BaseException) -> bool:
    """Say whether a connection was lost: the next try has a new one."""
    return isinstance(error, DBAPIError) and error.connection_invalidated


def is_unreachable(error: BaseException) -> bool:
    """Say whether no connection was to be had, or the one in use was lost: the server may be starting up again."""
    if not isinstance(error, OperationalError | InterfaceError) or isinstance(error.orig, sqlite3.Error):
        return False
    if is_disconnect(error):
        return True
    sqlstate = _sqlstate(error)
    if sqlstate is None:
        return not any(part in str(error.orig) for part in _REFUSED_FOR_GOOD)
    return sqlstate in _UNREACHABLE_SQLSTATES or sqlstate.startswith(_CONNECTION_EXCEPTION)


def is_transient(error: BaseException) -> bool:
    """Say whether another try may succeed. Rules read before they write, so that nothing is done twice."""
    if not isinstance(error, DBAPIError) or error.orig is None:
        return False
    if isinstance(error.orig, sqlite3.OperationalError):
        return error.orig.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return is_disconnect(error) or is_unreachable(error) or _sqlstate(error) in _CONFLICT_SQLSTATES


def _sqlstate(error: DBAPIError) -> str | None:
    """Return the SQLSTATE that Postgres sent, or ``None``: a connection that was refused has none."""
    return getattr(error.orig, "sqlstate", None)


@contextmanager
def translated(raised: type[DatabaseError] = DatabaseError) -> Iterator[None]:
    try:
        yield
    except (IntegrityError, DataError) as error:
        raise RowRefused(f"the shop's database: {_message(error)}") from None
    except (OperationalError, InterfaceError, InternalError) as error:
        unavailable = raised
        if raised is DatabaseError:
            unavailable = DatabaseUnreachable if is_unreachable(error) else DatabaseUnavailable
        raise unavailable(f"the shop's database: {_message(error)}") from None
    except SQLAlchemyError as error:
        raise raised(f"the shop's database: {_message(error)}") from None


def _message(error: SQLAlchemyError) -> str:
    """Return what the database said, first line only: what follows may quote values."""
    orig = getattr(error, "orig", None)
    diagnostics = getattr(orig, "diag", None)
    primary = getattr(diagnostics, "message_primary", None)
    if getattr(diagnostics, "source_function", None) == _ROW_SECURITY_CHECK:
        return f"{primary}, which hides rows of the shop from maintenance: {ROW_SECURITY_REMEDY}"
    said = primary or str(orig or error).strip().partition("\n")[0]
    return said or type(error).__name__
