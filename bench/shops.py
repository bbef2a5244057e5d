"""Shops for the benchmark: EmDash's full layout with all of its expression indexes, on both databases."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import create_engine, insert, text

from mika_ops.demo.embedded_postgres import create_database, embedded_postgres
from mika_ops.store.database import Database
from mika_ops.store.opening import open_database
from mika_ops.store.schema.site import plugin_storage
from mika_ops_testing.sites import DatabaseKind, lay_out

CREATED = "2026-02-26T12:00:00.000Z"
LINES = "Lorem ipsum dolor sit amet, consectetur adipiscing elit. " * 4


@dataclass
class Shops:
    """Makes empty shops of one kind of database."""

    kind: DatabaseKind
    directory: Path
    server_url: str | None = None
    made: int = 0

    @contextmanager
    def new(self) -> Iterator[Database]:
        """Open a new, empty shop."""
        self.made += 1
        if self.server_url is None:
            url = f"sqlite:///{self.directory / f'shop-{self.made}.db'}"
            lay_out(url)
            with create_engine(url).connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        else:
            url = create_database(self.server_url, f"shop_{self.made}")
            lay_out(url)
        with open_database(url) as database:
            yield database


@contextmanager
def shops(kind: DatabaseKind) -> Iterator[Shops]:
    """Make shops of one kind of database, for as long as they are measured."""
    with TemporaryDirectory(prefix="mika-ops-bench-") as directory:
        if kind == "sqlite":
            yield Shops(kind, Path(directory))
            return
        with embedded_postgres(Path(directory) / "postgres") as url:
            yield Shops(kind, Path(directory), url)


def fill(database: Database, collection: str, documents: Iterator[dict[str, Any]]) -> None:
    """Store documents, and let the database learn how many there are."""
    rows = [
        {
            "plugin_id": database.plugin_id,
            "collection": collection,
            "id": document["id"],
            "data": json.dumps(document, separators=(",", ":")),
            "created_at": CREATED,
            "updated_at": CREATED,
        }
        for document in documents
    ]
    # On Postgres, by all processors: the indexes take a millisecond for each document.
    writers = (os.cpu_count() or 1) if database.dialect == "postgresql" else 1

    def store(part: Sequence[Mapping[str, str]]) -> None:
        with database.engine.begin() as connection:
            connection.execute(insert(plugin_storage), part)

    with ThreadPoolExecutor(writers) as several:
        list(several.map(store, [rows[first::writers] for first in range(min(writers, len(rows)))]))
    if database.dialect == "postgresql":
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE _plugin_storage"))


def due_emails(count: int) -> Iterator[dict[str, Any]]:
    """Yield magic links that are due."""
    for number in range(count):
        id_ = f"email_{number:06}"
        record = {
            "id": id_,
            "kind": "magic_link",
            "toEmail": f"shopper.{number}@example.test",
            "subject": "Your link",
            "status": "queued",
            "attemptCount": 0,
            "maxAttempts": 5,
            "createdAt": CREATED,
            "metadata": {"link": f"https://shop.example.test/magic/{number}", "purpose": "sign_in", "note": LINES},
        }
        top = {"id": id_, "type": "email", "schemaVersion": 1, "status": "queued", "kind": "magic_link"}
        yield {**top, "record": record, "createdAt": CREATED, "updatedAt": CREATED}
