"""The command ``mika-ops backlog``: what waits, for maintenance and for people. It changes nothing.

Exit codes: 0 it was read, however much waits, 2 it was not, as the call, a setting or the database is wrong.
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
class Look:
    """What waits, for maintenance and for people, and which documents cannot be read, by subtask."""

    standing: ShopSnapshot
    malformed_ids: Mapping[str, Sequence[str]]


@click.command()
@click.option("--now", metavar="TIME", help="Judge what is due at this time (ISO 8601), instead of now.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object instead of a table.")
@reports_errors
def backlog(now: str | None, as_json: bool) -> None:
    """Show what waits for each subtask, since when, and what needs manual action. Changes nothing.

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
        look = looked(database, at, run_options_from(shop.settings))
    if as_json:
        click.echo(json.dumps(_facts(look)))
        return
    show(_table(look))
    for sentence in _sentences(look):
        click.echo(sentence)


def looked(database: Database, now: Timestamp, limits: RunOptions) -> Look:
    """Look at all that waits: one round trip, and one more for each kind of thing that a person has to look at."""
    reader, due = DatabaseBacklog(database), due_selections(now, limits)
    standing = take_snapshot(reader, limits, now=now, naming=SUBTASK_NAMES)
    unread = {
        name: reader.malformed_ids(due[name]) for name, counts in standing.backlog.due.items() if counts.malformed
    }
    return Look(standing, unread)


def _table(look: Look) -> Table:
    table = Table(title=f"Backlog at {look.standing.now}", title_justify="left", expand=False)
    table.add_column("subtask", no_wrap=True)
    for name in ("due", "oldest", "malformed", "failed permanently"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in SUBTASK_NAMES:
        due, failed = look.standing.backlog.due.get(name), look.standing.failed.get(name)
        age = None if due is None else due.age(look.standing.now)
        cells = [
            "–" if due is None else f"{due.count:,}",
            "–" if age is None else format_age(age),
            "–" if due is None else f"{due.malformed:,}",
            "–" if failed is None else f"{failed.count:,}",
        ]
        table.add_row(Text(name), *cells)
    return table


def _sentences(look: Look) -> list[str]:
    standing, backlog = look.standing, look.standing.backlog
    message = [
        f"Failed permanently, {name}: {format_ids(ids, standing.failed[name].count)}."
        for name, ids in standing.failed_ids.items()
    ]
    message += [
        f"Malformed, {name}: {format_ids(ids, backlog.due[name].malformed)}; fix or remove them."
        for name, ids in look.malformed_ids.items()
    ]
    if backlog.unreadable:
        ids = format_ids(backlog.unreadable_ids, backlog.unreadable)
        message.append(f"No JSON objects with a type, so that they are nobody's: {ids}; fix or remove them.")
    if standing.drift is not None and standing.drift.items:
        ids = format_ids(standing.drift.ids, standing.drift.items)
        message.append(f"Stock items whose reserved quantity is not what their active reservations hold: {ids}.")
    return message


def _facts(look: Look) -> dict[str, Any]:
    return {
        "now": look.standing.now,
        "due": look.standing.backlog.total,
        "subtasks": {name: _facts_of(name, look) for name in SUBTASK_NAMES},
        "unreadable": look.standing.backlog.unreadable,
        "unreadable_ids": list(look.standing.backlog.unreadable_ids),
        "drifting_stock_items": 0 if look.standing.drift is None else look.standing.drift.items,
        "drifting_stock_item_ids": [] if look.standing.drift is None else list(look.standing.drift.ids),
    }


def _facts_of(name: str, look: Look) -> dict[str, Any] | None:
    due, failed = look.standing.backlog.due.get(name), look.standing.failed.get(name)
    if due is None:
        return None
    facts: dict[str, Any] = {
        "due": due.count,
        "oldest_seconds": _seconds(due, look.standing.now),
        "malformed": due.malformed,
        "malformed_ids": list(look.malformed_ids.get(name, ())),
    }
    if failed is not None:
        facts["failed_for_good"] = failed.count
        facts["failed_for_good_oldest_seconds"] = _seconds(failed, look.standing.now)
        facts["failed_for_good_ids"] = list(look.standing.failed_ids.get(name, ()))
    return facts


def _seconds(due: Due, now: Timestamp) -> int | None:
    age = due.age(now)
    return None if age is None else int(age.total_seconds())
