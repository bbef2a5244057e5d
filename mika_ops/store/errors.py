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

from mika_ops.documents.repository import RepositoryUnavailable

_TRANSIENT_SQLSTATES: Final = frozenset({"40001", "40P01", "55P03"})
"""Serialization failure, deadlock, lock time-out: another try may succeed."""

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


class RowRefused(DatabaseError):
    """The database refused a row: for a unique index that it would break, or a value that it cannot hold."""


def is_disconnect(error: BaseException) -> bool:
    """Say whether a connection was lost: the next try has a new one."""
    return isinstance(error, DBAPIError) and error.connection_invalidated


def is_transient(error: BaseException) -> bool:
    if not isinstance(error, DBAPIError) or error.orig is None:
        return False
    if isinstance(error.orig, sqlite3.OperationalError):
        return error.orig.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    if is_disconnect(error):
        # Rules look before they write, so that nothing is done twice.
        return True
    return getattr(error.orig, "sqlstate", None) in _TRANSIENT_SQLSTATES


@contextmanager
def translated(raised: type[DatabaseError] = DatabaseError) -> Iterator[None]:
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
    diagnostics = getattr(orig, "diag", None)
    primary = getattr(diagnostics, "message_primary", None)
    if getattr(diagnostics, "source_function", None) == _ROW_SECURITY_CHECK:
        return f"{primary}, which hides rows of the shop from maintenance: {ROW_SECURITY_REMEDY}"
    said = primary or str(orig or error).strip().partition("\n")[0]
    return said or type(error).__name__
