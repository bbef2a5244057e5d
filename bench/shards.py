"""``python -m bench.shards``: a backlog of emails, drained by one, two and four Celery workers."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import dagster as dg
from rich.console import Console
from rich.table import Table

from bench.shard_location import SECONDS_AN_EMAIL, SENT_FILE
from bench.shops import Shops, due_emails, fill, shops
from mika_ops_testing.workers import redis, start_run, workers


@dataclass(frozen=True)
class Drained:
    """One backlog drained: seconds from the first shard's start to the last one's end, and of the whole run."""

    workers: int
    drain: float
    run: float
    emails: int
    twice: int


def drained(made: Shops, count: int, broker: str, *, emails: int, connections: int) -> Drained:
    """Drain emails with ``count`` workers, each of which sends over ``connections`` at once."""
    with made.new() as database, TemporaryDirectory(prefix="mika-ops-shards-") as directory:
        folder = Path(directory)
        fill(database, "ops", due_emails(emails))
        environment = {
            "MIKA_DATABASE_URL": database.engine.url.render_as_string(hide_password=False),
            "MIKA_EXECUTOR": "celery",
            "MIKA_CELERY_BROKER_URL": broker,
            "MIKA_SHARDS": str(count),
            "MIKA_EMAIL_CONCURRENCY": str(connections),
            "MIKA_TIME_BUDGET_SECONDS": "600",
            SENT_FILE: str(folder / "sent"),
        }
        with workers(count, folder, environment):
            run = start_run("bench.shard_location", folder, environment)
            if run.wait(timeout=600):
                raise RuntimeError((folder / "run.log").read_text())
        sent = Counter((folder / "sent").read_text().split())
        drain, whole = _seconds(folder)
        return Drained(count, drain, whole, len(sent), sum(times - 1 for times in sent.values()))


def _seconds(folder: Path) -> tuple[float, float]:
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        [run] = instance.get_run_records()
        steps = instance.get_run_step_stats(run.dagster_run.run_id)
        shards = [step for step in steps if step.step_key.startswith("email_outbox_shard[")]
        drains = shards or [step for step in steps if step.step_key == "email_outbox"]
        drain = max(step.end_time or 0 for step in drains) - min(step.start_time or 0 for step in drains)
        return drain, (run.end_time or 0) - (run.start_time or 0)


@click.command()
@click.option("--emails", default=4_000, show_default=True, help="How many are due.")
@click.option("--connections", default=1, show_default=True, help="How many emails each worker sends at once.")
@click.option("--workers", "counts", multiple=True, type=int, default=(1, 2, 4), show_default=True)
def main(emails: int, connections: int, counts: tuple[int, ...]) -> None:
    """Print how much faster several workers drain the outbox than one."""
    table = Table("workers", "drain s", "times as fast", "times the latency", "whole run s", "emails", "sent twice")
    with TemporaryDirectory() as directory, redis(Path(directory)) as broker, shops("postgres") as made:
        one: Drained | None = None
        for count in counts:
            found = drained(made, count, broker, emails=emails, connections=connections)
            one = one or found
            floor = emails * SECONDS_AN_EMAIL / connections / count
            faster, of_floor = f"{one.drain / found.drain:.2f}", f"{found.drain / floor:.2f}"
            cells = count, f"{found.drain:.1f}", faster, of_floor, f"{found.run:.1f}", found.emails, found.twice
            table.add_row(*map(str, cells))
    Console().print(table)


if __name__ == "__main__":
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")
    main()
