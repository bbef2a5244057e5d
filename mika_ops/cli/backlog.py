"""The command ``mika-ops backlog``: what is due for maintenance, and what needs manual action. It changes nothing.

Exit codes: 0 the backlog was read, however much is due, 2 it was not: the call, a setting or the database is invalid.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from mika_ops.cli.errors import fail, read_shop, reports_errors
from mika_ops.cli.tables import show
from mika_ops.clock import utc_now
from mika_ops.config.settings import run_options_from
from mika_ops.config.validators import require_time
from mika_ops.formatting import format_age, format_ids
from mika_ops.monitoring.snapshot import ShopSnapshot, take_snapshot
from mika_ops.ports.backlog import Due
from mika_ops.store.backlog import DatabaseBacklog
from mika_ops.store.database import Database
from mika_ops.subtasks.registry import SUBTASK_NAMES, due_selections
from mika_ops.subtasks.subtask import RunOptions
from mika_ops.timestamps import Timestamp, to_timestamp


@dataclass(frozen=True)
class BacklogReport:
    """The snapshot of a shop, and the ids of its malformed documents by subtask."""

    snapshot: ShopSnapshot
    malformed_ids: Mapping[str, Sequence[str]]


@click.command()
@click.option("--now", metavar="TIME", help="Evaluate what is due at this time (ISO 8601), instead of now.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@reports_errors
def backlog(now: str | None, as_json: bool) -> None:
    """Show what is due for each subtask, since when, and what needs manual action. Changes nothing.

    What failed permanently is not retried: emails (see `mika-ops email failed`), workflows and account-delete requests.
    Malformed documents are left unchanged until somebody fixes or removes them.
    """
    shop = read_shop()
    try:
        at = to_timestamp(utc_now() if now is None else require_time(now))
    except ValueError as error:
        fail(str(error))
    from mika_ops.assembly import open_shop_database

    with open_shop_database(shop) as database:
        report = read_report(database, at, run_options_from(shop.settings))
    if as_json:
        click.echo(json.dumps(_report_facts(report)))
        return
    show(_backlog_table(report.snapshot))
    for sentence in _sentences(report):
        click.echo(sentence)


def read_report(database: Database, now: Timestamp, limits: RunOptions) -> BacklogReport:
    """Read the backlog in one round trip, and the ids that need manual action in one more for each kind of them."""
    reader, due = DatabaseBacklog(database), due_selections(now, limits)
    snapshot = take_snapshot(reader, limits, now=now, naming=SUBTASK_NAMES)
    malformed_ids = {
        name: reader.malformed_ids(due[name]) for name, counts in snapshot.backlog.due.items() if counts.malformed
    }
    return BacklogReport(snapshot, malformed_ids)


def _backlog_table(snapshot: ShopSnapshot) -> Table:
    table = Table(title=f"Backlog at {snapshot.now}", title_justify="left", expand=False)
    table.add_column("subtask", no_wrap=True)
    for name in ("due", "oldest", "malformed", "failed permanently"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in SUBTASK_NAMES:
        due, failed = snapshot.backlog.due.get(name), snapshot.failed.get(name)
        age = None if due is None else due.age(snapshot.now)
        cells = [
            "–" if due is None else f"{due.count:,}",
            "–" if age is None else format_age(age),
            "–" if due is None else f"{due.malformed:,}",
            "–" if failed is None else f"{failed.count:,}",
        ]
        table.add_row(Text(name), *cells)
    return table


def _sentences(report: BacklogReport) -> list[str]:
    snapshot, backlog = report.snapshot, report.snapshot.backlog
    sentences = [
        f"Failed permanently, {name}: {format_ids(ids, snapshot.failed[name].count)}."
        for name, ids in snapshot.failed_ids.items()
    ]
    sentences += [
        f"Malformed, {name}: {format_ids(ids, backlog.due[name].malformed)}; fix or remove them."
        for name, ids in report.malformed_ids.items()
    ]
    if backlog.unreadable:
        ids = format_ids(backlog.unreadable_ids, backlog.unreadable)
        sentences.append(f"Not JSON objects with a type, so no subtask processes them: {ids}; fix or remove them.")
    if snapshot.drift is not None and snapshot.drift.items:
        ids = format_ids(snapshot.drift.ids, snapshot.drift.items)
        sentences.append(f"Stock items whose reserved quantity differs from their active reservations: {ids}.")
    return sentences


def _report_facts(report: BacklogReport) -> dict[str, Any]:
    backlog, drift = report.snapshot.backlog, report.snapshot.drift
    return {
        "now": report.snapshot.now,
        "due": backlog.total,
        "subtasks": {name: _subtask_facts(name, report) for name in SUBTASK_NAMES},
        "unreadable": backlog.unreadable,
        "unreadable_ids": list(backlog.unreadable_ids),
        "drifting_stock_items": 0 if drift is None else drift.items,
        "drifting_stock_item_ids": [] if drift is None else list(drift.ids),
    }


def _subtask_facts(name: str, report: BacklogReport) -> dict[str, Any] | None:
    snapshot = report.snapshot
    due, failed = snapshot.backlog.due.get(name), snapshot.failed.get(name)
    if due is None:
        return None
    facts: dict[str, Any] = {
        "due": due.count,
        "oldest_seconds": _seconds(due, snapshot.now),
        "malformed": due.malformed,
        "malformed_ids": list(report.malformed_ids.get(name, ())),
    }
    if failed is not None:
        facts["failed_permanently"] = failed.count
        facts["failed_permanently_oldest_seconds"] = _seconds(failed, snapshot.now)
        facts["failed_permanently_ids"] = list(snapshot.failed_ids.get(name, ()))
    return facts


def _seconds(due: Due, now: Timestamp) -> int | None:
    age = due.age(now)
    return None if age is None else int(age.total_seconds())
