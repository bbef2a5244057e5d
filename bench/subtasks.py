"""Each subtask against its floor: the cheapest hand-written SQL that makes the same change to the same rows.

The floor is one statement, or a few, over everything that is due, in one transaction: it locks for as long as it takes,
knows no malformed document, no clock and no limit. Both work on copies of the same shop, in a process of their own
each, and take turns. Documents on Postgres, and those of account deletes, are cheapest to write as they were left.
"""

import ctypes
import gc
import os
import pickle
import resource
import shutil
import sqlite3
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from sqlalchemy import event, select

from bench.backlogs import account_deletes, ephemeral_rows, raw_payloads, stock, stuck_emails, stuck_workflows
from bench.floors import Floor, _of_ops, as_left, ephemeral_floor, stock_floor
from bench.shops import Shops
from mika_ops.assembly import open_host
from mika_ops.clock import Clock
from mika_ops.config.loading import isolated_settings
from mika_ops.config.shop import Shop
from mika_ops.demo.embedded_postgres import create_database
from mika_ops.store.database import Database
from mika_ops.store.opening import open_database
from mika_ops.store.schema.site import plugin_storage
from mika_ops.subtasks.outcome import Completed
from mika_ops.subtasks.registry import SUBTASKS
from mika_ops.subtasks.subtask import RunOptions, outcome_of
from mika_ops_testing.builders import (
    NOW,
)
from mika_ops_testing.sites import lay_out

BY_NAME: Final = {subtask.name: subtask for subtask in SUBTASKS}


@dataclass(frozen=True)
class Case:
    """A backlog of ``size`` for one subtask, its floor, and the highest allowed ratio on each database.

    ``fill`` puts it into an empty shop; ``floor`` makes the subtask's change, given what the subtask left.
    """

    name: str
    subtask: str
    size: int
    fill: Callable[[Database, int], None]
    floor: Floor
    wanted: Mapping[str, float]


@dataclass(frozen=True)
class Cost:
    """The cost of one repetition. ``peak_mb`` is resident memory beyond what the process had at its start."""

    seconds: float
    peak_mb: float = 0.0
    statements: int = 0
    transactions: int = 0


@dataclass(frozen=True)
class Measured:
    """The medians of the subtask and of its floor, and the number of documents or rows."""

    case: Case
    size: int
    ours: Cost
    floor: Cost

    @property
    def ratio(self) -> float:
        """The subtask's time as a multiple of the floor."""
        return self.ours.seconds / self.floor.seconds


_LITE = "json_extract(data, '$.{}')".format


stuck_emails_floor = _of_ops(
    "UPDATE _plugin_storage SET updated_at = :now, data = json_set(json_remove(data, '$.nextAttemptAt', "
    "'$.record.nextAttemptAt', '$.record.leaseKey', '$.record.leasedAt', '$.record.leaseExpiresAt'), "
    "'$.status', 'failed', '$.record.status', 'failed', '$.record.lastError', 'leases exhausted', '$.updatedAt', :now) "
    f"WHERE {_LITE('type')} = 'email' AND {_LITE('status')} = 'queued' AND {_LITE('record.leaseExpiresAt')} <= :now "
    f"AND {_LITE('record.attemptCount')} >= {_LITE('record.maxAttempts')} "
    f"AND coalesce({_LITE('record.lastError')}, '') = ''",
)


raw_payloads_floor = _of_ops(
    "UPDATE _plugin_storage SET updated_at = :now, data = json_set(json_remove(data, '$.record.rawPayloadJson'), "
    "'$.record.rawPayloadPurgedAt', :now, '$.updatedAt', :now) "
    f"WHERE {_LITE('type')} = 'webhook' AND {_LITE('record.receivedAt')} <= '2026-02-15T12:00:00.000Z' "
    f"AND {_LITE('record.rawPayloadJson')} IS NOT NULL AND {_LITE('record.status')} = 'processed'",
)


stuck_workflows_floor = _of_ops(
    "UPDATE _plugin_storage SET updated_at = :now, data = json_set(json_remove(data, '$.leaseExpiresAt', "
    "'$.nextAttemptAt', '$.record.leaseKey', '$.record.leaseExpiresAt', '$.record.nextAttemptAt'), "
    "'$.status', 'failed', '$.record.status', 'failed', '$.record.lastError', 'leases exhausted', "
    "'$.record.updatedAt', :now, '$.updatedAt', :now) "
    f"WHERE {_LITE('type')} = 'workflow' AND {_LITE('status')} = 'running' "
    f"AND {_LITE('record.leaseExpiresAt')} <= :now AND {_LITE('record.attemptCount')} >= {_LITE('record.maxAttempts')}",
)


CASES: Final = (
    Case("stuck emails", "stuck_emails", 5_000, stuck_emails, stuck_emails_floor, {"sqlite": 1.6, "postgres": 1.3}),
    Case(
        "raw payloads",
        "raw_provider_payloads",
        5_000,
        raw_payloads,
        raw_payloads_floor,
        {"sqlite": 1.6, "postgres": 1.3},
    ),
    Case(
        "stuck workflows",
        "stuck_workflows",
        5_000,
        stuck_workflows,
        stuck_workflows_floor,
        {"sqlite": 1.6, "postgres": 1.3},
    ),
    Case("stock release", "stock_reservations", 20_000, stock, stock_floor, {"sqlite": 1.5, "postgres": 1.5}),
    Case(
        "ephemeral purge",
        "ephemeral_records",
        100_000,
        ephemeral_rows,
        ephemeral_floor,
        {"sqlite": 1.5, "postgres": 1.3},
    ),
    Case(
        "account deletes",
        "account_delete_requests",
        200,
        account_deletes,
        as_left,
        {"sqlite": 1.8, "postgres": 1.5},
    ),
)


@dataclass
class Copies:
    """Fresh copies of one filled shop."""

    shops: Shops
    original: str
    made: int = 0

    def new(self) -> str:
        """Return the URL of a new copy."""
        self.made += 1
        if self.shops.server_url is not None:
            return create_database(self.shops.server_url, f"copy_{self.made % 2}", template="original")
        path = self.shops.directory / f"copy-{self.made % 2}.db"
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        shutil.copyfile(self.original.removeprefix("sqlite:///"), path)
        return f"sqlite:///{path}"


def filled(shops: Shops, case: Case, size: int) -> Copies:
    """Make a shop with the case's backlog."""
    if shops.server_url is None:
        path = shops.directory / "original.db"
        path.unlink(missing_ok=True)
        url = f"sqlite:///{path}"
        lay_out(url)
    else:
        url = create_database(shops.server_url, "original")
        lay_out(url)
    _pragma(url, "journal_mode = WAL")
    with open_database(url) as database:
        case.fill(database, size)
    _pragma(url, "wal_checkpoint(TRUNCATE)")
    return Copies(shops, url)


def _pragma(url: str, pragma: str) -> None:
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.execute(f"PRAGMA {pragma}")


def measured(shops: Shops, case: Case, *, size: int | None = None, repetitions: int = 3) -> Measured:
    """Measure a case; the subtask and its floor take turns on fresh copies."""
    size = case.size if size is None else size
    copies = filled(shops, case, size)
    ours, floor = [], []
    after: list[tuple[str, str, str]] = []
    for _ in range(repetitions):
        url = copies.new()
        ours.append(apart(partial(cost_of, url, case, size)))
        after = after or _changed(copies.original, url)
        floor.append(apart(partial(_floor, copies.new(), case, after)))
    return Measured(case, size, _median(ours), _median(floor))


def _median(costs: list[Cost]) -> Cost:
    return Cost(
        statistics.median(cost.seconds for cost in costs),
        max(cost.peak_mb for cost in costs),
        costs[0].statements,
        costs[0].transactions,
    )


def apart(work: Callable[[], Cost]) -> Cost:
    """Do work in its own process, to measure its memory alone."""
    # Otherwise the child would reuse memory that was freed here, and its own use would not show.
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer: Any = work()
        except BaseException as error:  # noqa: BLE001 - it is raised on the other side
            answer = RuntimeError(f"{type(error).__name__}: {error}")
        os.write(write, pickle.dumps(answer))
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        answer = pickle.loads(pipe.read())  # noqa: S301 - our own child wrote it
    os.waitpid(child, 0)
    if isinstance(answer, Exception):
        raise answer
    assert isinstance(answer, Cost)
    return answer


def cost_of(url: str, case: Case, size: int) -> Cost:
    clock = Clock.fixed(datetime.fromisoformat(NOW).astimezone(UTC))
    settings = isolated_settings(database_url=url)
    with open_host(Shop(settings)) as host:
        backlog: Any = host.backlog
        counted = {"statements": 0, "transactions": 0}
        event.listen(backlog.database.engine, "before_cursor_execute", lambda *_: _count(counted, "statements"))
        event.listen(backlog.database.engine, "begin", lambda *_: _count(counted, "transactions"))
        backlog.read({}, now=NOW)  # warms the connection
        before, counted["statements"], counted["transactions"] = peak_mb_now(), 0, 0
        started = time.perf_counter()
        outcome = outcome_of(BY_NAME[case.subtask], host, clock, RunOptions(account_delete_scope="complete"))
        seconds = time.perf_counter() - started
        assert isinstance(outcome, Completed), outcome
        done = sum(outcome.result.counts()[name] for name in BY_NAME[case.subtask].done)
        assert done == size, outcome.result
        return Cost(seconds, peak_mb_now() - before, counted["statements"], counted["transactions"])


def _floor(url: str, case: Case, after: Any) -> Cost:
    with open_database(url) as database:
        with database.reading() as connection:
            connection.execute(select(plugin_storage.c.id).limit(1)).all()
        before = peak_mb_now()
        started = time.perf_counter()
        with database.engine.connect().execution_options(mika_writes=True) as connection, connection.begin():
            if database.dialect == "postgresql":
                connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            case.floor(connection, after)
        return Cost(time.perf_counter() - started, peak_mb_now() - before)


def _changed(original: str, url: str) -> list[tuple[str, str, str]]:
    """Return the changed documents: collection, id and data."""
    column = plugin_storage.c
    found = []
    for each in (original, url):
        with open_database(each) as database, database.reading() as connection:
            rows = connection.execute(select(column.collection, column.id, column.data)).all()
            found.append({(row.collection, row.id): row.data for row in rows})
    before, now = found
    return [(*key, data) for key, data in now.items() if before[key] != data]


def _count(counted: dict[str, int], what: str) -> None:
    counted[what] += 1


def peak_mb_now() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
