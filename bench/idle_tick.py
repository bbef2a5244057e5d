"""The backlog query of an idle tick, against the cheapest probes, and how it grows with finished work.

The floor queries for each subtask whether one document or row is due, with handwritten SQL over the site's indexes.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from bench.shops import LINES, Shops, fill
from mika_ops.config.loading import isolated_settings
from mika_ops.config.shop import Shop
from mika_ops.documents.document import Document
from mika_ops.scheduling.backlog_probe import BacklogProbe, PendingWork
from mika_ops.store.database import Database
from mika_ops.store.migrate import prepare_indexes
from mika_ops.store.opening import open_database
from mika_ops_testing.builders import EARLIER, NOW, email, order, webhook, workflow

QUERIES: Final = 15

WARM_UP_QUERIES: Final = 8
"""Queries that are not measured: Postgres keeps the plans from the seventh query of a code server on."""

_LITE: Final = "json_extract(data, '$.{}')".format
_PG: Final = "((data)::jsonb->>'{}')".format
_PG_RECORD: Final = "((data)::jsonb#>>'{{record,{}}}')".format
_OPS: Final = "SELECT 1 FROM _plugin_storage WHERE plugin_id = 'mika' AND collection = 'ops' AND "

_LITE_EMAIL: Final = f"{_OPS}{_LITE('type')} = 'email' AND {_LITE('status')}"
_LITE_WORKFLOW: Final = f"{_OPS}{_LITE('type')} = 'workflow' AND {_LITE('status')}"
_PG_EMAIL: Final = f"{_OPS}{_PG('type')} = 'email' AND {_PG('status')}"
_PG_WORKFLOW: Final = f"{_OPS}{_PG('type')} = 'workflow' AND {_PG('status')}"

PROBES: Final = {
    "sqlite": (
        f"{_LITE_EMAIL} IN ('queued', 'failed') AND {_LITE('record.attemptCount')} < {_LITE('record.maxAttempts')}",
        f"{_LITE_EMAIL} = 'queued' AND {_LITE('record.leaseExpiresAt')} <= '{NOW}'",
        f"{_OPS}{_LITE('type')} = 'webhook' AND {_LITE('record.rawPayloadJson')} IS NOT NULL",
        f"{_OPS}{_LITE('type')} = 'accountDeleteRequest' AND {_LITE('status')} = 'queued'",
        f"{_LITE_WORKFLOW} = 'running' AND {_LITE('record.leaseExpiresAt')} <= '{NOW}'",
        f"{_LITE_WORKFLOW} IN ('queued', 'failed') AND {_LITE('nextAttemptAt')} <= '{NOW}'",
    ),
    "postgresql": (
        f"{_PG_EMAIL} IN ('queued', 'failed') AND {_PG_RECORD('attemptCount')}::int < {_PG_RECORD('maxAttempts')}::int",
        f"{_PG_EMAIL} = 'queued' AND {_PG_RECORD('leaseExpiresAt')} <= '{NOW}'",
        f"{_OPS}{_PG('type')} = 'webhook' AND {_PG_RECORD('rawPayloadJson')} IS NOT NULL",
        f"{_OPS}{_PG('type')} = 'accountDeleteRequest' AND {_PG('status')} = 'queued'",
        f"{_PG_WORKFLOW} = 'running' AND {_PG_RECORD('leaseExpiresAt')} <= '{NOW}'",
        f"{_PG_WORKFLOW} IN ('queued', 'failed') AND {_PG('nextAttemptAt')} <= '{NOW}'",
    ),
}
"""One probe for each subtask that works on documents."""

ROW_PROBES: Final = (
    f"SELECT 1 FROM mika_stock_events WHERE kind = 'reservation' AND status = 'active' AND expires_at <= '{NOW}'",
    f"SELECT 1 FROM mika_ephemeral_records WHERE expires_at <= '{NOW}'",
)


@dataclass(frozen=True)
class QueryTime:
    """Seconds of one backlog query, of mika-ops and of the floor."""

    ours: float
    floor: float


def finished_work(shop: Database, scale: float) -> None:
    """Fill a shop with finished work: sent and permanently failed emails, purged webhooks, ended workflows."""

    def of(count: int, make: Callable[[str], Document]) -> Iterator[Document]:
        return (make(f"{n:06}") for n in range(round(count * scale)))

    def purged(n: str) -> Document:
        document = webhook(f"purged_{n}", rawPayloadPurgedAt=EARLIER, receivedAt="2026-01-01T00:00:00.000Z")
        del document["record"]["rawPayloadJson"]
        return document

    sent: Document = {"status": "sent", "metadata": {"note": LINES}}
    dead: Document = {"status": "failed", "attemptCount": 5, "lastError": "gone", "metadata": {"note": LINES}}
    fill(shop, "ops", of(25_000, lambda n: email(f"sent_{n}", **sent)))
    fill(shop, "ops", of(2_000, lambda n: email(f"dead_{n}", **dead)))
    fill(shop, "ops", of(15_000, purged))
    fill(shop, "ops", of(10_000, lambda n: workflow(f"ended_{n}", status="completed")))
    fill(shop, "ledger", of(10_000, lambda n: order(f"order_{n}")))


def measure_query(shops: Shops, scale: float, *, prepared: bool) -> QueryTime:
    """Measure a backlog query over 62,000 documents, times ``scale``.

    ``prepared``: with the indexes of ``mika-ops db prepare``, which speed up both.
    """
    with shops.new() as shop:
        finished_work(shop, scale)
        if prepared:
            prepare_indexes(shop)
        url = shop.engine.url.render_as_string(hide_password=False)
        if shop.dialect == "sqlite":
            url = f"sqlite:///{shops.directory / f'shop-{shops.made}.db'}"
        probe = BacklogProbe(Shop(isolated_settings(database_url=url, email_directory=shops.directory / "outbox")))

        def query() -> None:
            pending = probe.probe(NOW)
            assert isinstance(pending, PendingWork)
            assert not any(pending.due.values()), pending

        # In sequence: the floor reads so much that a query after it would find nothing in the processor's caches.
        ours = _median_seconds(query)
        with open_database(url) as probed:
            floor = _median_seconds(lambda: _probe(probed))
        probe.close()
    return QueryTime(ours, floor)


def _median_seconds(work: Callable[[], None]) -> float:
    seconds = []
    for _ in range(WARM_UP_QUERIES + QUERIES):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[WARM_UP_QUERIES:])


def _probe(database: Database) -> None:
    with database.reading() as connection:
        for probe in (*PROBES[database.dialect], *ROW_PROBES):
            assert connection.exec_driver_sql(f"{probe} LIMIT 1").first() is None
