"""``python -m bench.history``: how fast old runs are deleted, and what they leave, on a SQLite and a Postgres instance.

This is a rate of Dagster's own storage without a floor to compare it with, so it is not part of ``make bench``. Each
run is a real one of the maintenance job, of a shop without a database, copied under new ids.
"""

import json
import os
import platform
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args
from uuid import uuid4

import click
import dagster as dg
from rich.console import Console
from rich.table import Table
from sqlalchemy import Insert, insert, literal, select

from mika_ops.clock import utc_now
from mika_ops.config.loading import isolated_settings
from mika_ops.demo.embedded_postgres import create_database, embedded_postgres
from mika_ops.orchestration.definitions import build_definitions
from mika_ops.orchestration.maintenance.job import JOB_NAME
from mika_ops.orchestration.retention.instance_history import InstanceHistory
from mika_ops.orchestration.retention.policy import Retention, delete_expired
from mika_ops_testing.dagster_internals import SqlEventLogStorageTable
from mika_ops_testing.sites import DatabaseKind

PROJECT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"
KEPT = 100


@contextmanager
def home_of(kind: DatabaseKind) -> Iterator[Path]:
    """Yield a folder with the project's own dagster.yaml of that kind, of an empty instance."""
    with TemporaryDirectory(prefix="mika-ops-bench-") as directory:
        home = Path(directory) / "home"
        home.mkdir()
        if kind == "sqlite":
            (home / "dagster.yaml").write_text((PROJECT / "dagster.yaml").read_text().replace(".dagster", str(home)))
            yield home
            return
        with embedded_postgres(Path(directory) / "postgres") as server:
            url = create_database(server, "dagster").replace("+psycopg:", "+psycopg2:")
            os.environ["DAGSTER_POSTGRES_URL"] = url
            (home / "dagster.yaml").write_text((PROJECT / "deploy" / "dagster.yaml").read_text())
            yield home


def fill(instance: dg.DagsterInstance, runs: int) -> None:
    """Record so many runs, each with all the events of a real one, copied by the database."""
    job = build_definitions(settings=isolated_settings()).resolve_job_def(JOB_NAME)
    first = job.execute_in_process(instance=instance)
    template = instance.get_run_by_id(first.run_id)
    assert template is not None
    storage: Any = instance.event_log_storage
    # A storage with a file for each run keeps the changes of status in its index as well.
    connect = storage.index_connection if storage.is_run_sharded else partial(storage.run_connection, first.run_id)
    for _ in range(runs - 1):
        id_ = str(uuid4())
        instance.add_run(template._replace(run_id=id_))
        if storage.is_run_sharded:
            _copy_file(storage.path_for_shard(first.run_id), storage.path_for_shard(id_), run_id=id_)
        with connect() as connection:
            connection.execute(_copy_events(first.run_id, id_))


def _copy_events(of: str, to: str) -> Insert:
    """Return the statement that copies a run's events under the id of another."""
    columns = [column for column in SqlEventLogStorageTable.columns if column.name != "id"]
    copied = [literal(to) if column.name == "run_id" else column for column in columns]
    events = select(*copied).where(SqlEventLogStorageTable.c.run_id == of)
    return insert(SqlEventLogStorageTable).from_select(columns, events)


def _copy_file(source: str, target: str, *, run_id: str) -> None:
    """Copy a run's file under the id of another: Dagster would take most of an hour to create them."""
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copyfile(source, target)
    with closing(sqlite3.connect(target)) as connection, connection:
        connection.execute("UPDATE event_logs SET run_id = ?", (run_id,))


@click.command()
@click.option("--runs", default=2_000, show_default=True, help="Runs that are deleted on each.")
def main(runs: int) -> None:
    """Measure, print a table, and write it as JSON into bench/results/."""
    table = Table("", "runs", "seconds", "runs/s", "10,000 runs")
    rows = []
    for kind in get_args(DatabaseKind):
        with home_of(kind) as home:
            with dg.DagsterInstance.from_config(str(home)) as instance:
                fill(instance, runs + KEPT)
            megabytes = _megabytes(home)
            # Opened again, as a run does: an instance caches the runs that it has read, and is faster with those.
            with dg.DagsterInstance.from_config(str(home)) as instance:
                started = time.perf_counter()
                done = delete_expired(
                    InstanceHistory(instance), [JOB_NAME], Retention(7, 30, KEPT), now=utc_now() + timedelta(days=8)
                )
                seconds = time.perf_counter() - started
            assert (done.deleted_success, done.kept, done.remaining) == (runs, KEPT, 0)
            freed = megabytes - _megabytes(home)
        table.add_row(
            kind, f"{runs:,}", f"{seconds:.1f}", f"{runs / seconds:.0f}", f"{10_000 / runs * seconds / 60:.1f} min"
        )
        row = {"storage": kind, "runs": runs, "seconds": round(seconds, 2), "runs_per_second": round(runs / seconds, 1)}
        rows.append(row | ({"freed_mb": round(freed, 1), "held_mb": round(megabytes, 1)} if kind == "sqlite" else {}))
    Console().print(table)
    RESULTS.mkdir(exist_ok=True)
    results = {"machine": f"{os.cpu_count()} cores, {platform.machine()}", "measured": rows}
    (RESULTS / "history.json").write_text(json.dumps(results, indent=2) + "\n")


def _megabytes(home: Path) -> float:
    return sum(file.stat().st_size for file in home.rglob("*") if file.is_file()) / 1e6


if __name__ == "__main__":
    main()
