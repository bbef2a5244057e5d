"""A storefront at work: it writes a hundred times a second on its own connection, as the site does."""

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

import psycopg
from sqlalchemy import make_url

from mika_ops_testing.builders import EARLIER, email
from mika_ops_testing.shop_at_work import NEVER

WRITES_A_SECOND: Final = 100
PATIENCE_SECONDS: Final = 5
"""How long the storefront waits for a lock before it shows its shopper an error: SQLite's usual setting."""

Write = Callable[[Any, int], None]
"""One transaction, by its number."""


@dataclass
class Storefront:
    """What the storefront has written until now, how long each write took in seconds, and its errors."""

    latencies: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    reserved: Counter[str] = field(default_factory=Counter)
    notes: dict[str, int] = field(default_factory=dict)
    mails: list[str] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        """Return a quantile of the latencies of the writes, in seconds."""
        return sorted(self.latencies)[int(share * (len(self.latencies) - 1))]


@contextmanager
def busy_storefront(url: str, edited: list[str]) -> Iterator[Storefront]:
    """Have a storefront reserve stock, add emails and edit documents while the block runs.

    ``edited``: the ids of documents of ``ops`` in which it writes the field ``note``.
    """
    shop, stop = Storefront(), Event()
    thread = Thread(target=_work, args=(url, edited, shop, stop))
    thread.start()
    try:
        yield shop
    finally:
        stop.set()
        thread.join()


def _work(url: str, edited: list[str], shop: Storefront, stop: Event) -> None:
    with closing(_connected(url)) as connection:
        began, number = time.monotonic(), 0
        while not stop.wait(max(0.0, began + number / WRITES_A_SECOND - time.monotonic())):
            started = time.perf_counter()
            try:
                (_reserve, _edit, _add_mail)[number % 3](connection, number, edited, shop)
            except (sqlite3.Error, psycopg.Error) as error:
                shop.errors.append(str(error))
            shop.latencies.append(time.perf_counter() - started)
            number += 1


def _connected(url: str) -> Any:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        connection = sqlite3.connect(str(parsed.database), timeout=PATIENCE_SECONDS, isolation_level=None)
        connection.row_factory = lambda _cursor, row: row
        return connection
    plain = parsed.set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, autocommit=True, options=f"-c lock_timeout={PATIENCE_SECONDS}s")


def _transaction(connection: Any) -> AbstractContextManager[Any]:
    if isinstance(connection, psycopg.Connection):
        return connection.transaction()
    return _immediate(connection)


@contextmanager
def _immediate(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _execute(connection: Any, statement: str, *values: Any) -> Any:
    if isinstance(connection, psycopg.Connection):
        statement = statement.replace("?", "%s")
    return connection.execute(statement, values)


def _reserve(connection: Any, number: int, _edited: list[str], shop: Storefront) -> None:
    item = f"item_{number % 10}"
    with _transaction(connection):
        _execute(connection, "UPDATE mika_stock_items SET quantity_reserved = quantity_reserved + 1 WHERE id = ?", item)
        _execute(
            connection,
            "INSERT INTO mika_stock_events (id, stock_item_id, kind, status, quantity_delta, expires_at, created_at, "
            "updated_at) VALUES (?, ?, 'reservation', 'active', 1, ?, ?, ?)",
            *(f"busy_{number}", item, NEVER, EARLIER, EARLIER),
        )
    shop.reserved[item] += 1


def _edit(connection: Any, number: int, edited: list[str], shop: Storefront) -> None:
    id_ = edited[number % len(edited)]
    locking = " FOR UPDATE" if isinstance(connection, psycopg.Connection) else ""
    of_it = "WHERE plugin_id = 'mika' AND collection = 'ops' AND id = ?"
    with _transaction(connection):
        found = _execute(connection, f"SELECT data FROM _plugin_storage {of_it}{locking}", id_).fetchone()[0]
        document = json.dumps({**json.loads(found), "note": number})
        _execute(connection, f"UPDATE _plugin_storage SET data = ? {of_it}", document, id_)
    shop.notes[id_] = number


def _add_mail(connection: Any, number: int, _edited: list[str], shop: Storefront) -> None:
    id_ = f"busy_{number}"
    _execute(
        connection,
        "INSERT INTO _plugin_storage (plugin_id, collection, id, data) VALUES ('mika', 'ops', ?, ?)",
        *(id_, json.dumps(email(id_))),
    )
    shop.mails.append(id_)


def in_wal_mode(url: str) -> None:
    """Enable the write-ahead log of a SQLite shop, as busy sites do."""
    with closing(sqlite3.connect(Path(str(make_url(url).database)))) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
