"""The command ``mika-ops backlog``: what waits, for maintenance and for people. It changes nothing.

Exit codes: 0 it was read, however much waits, 2 it was not, as the call, a setting or the database is wrong.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import click
from rich.table import Table
from rich.text import Text

from mika_ops.backlog import Backlog, Due, failed_for_good
from mika_ops.cli_sentences import settings_told, stop, with_sentences
from mika_ops.clock import utc_now
from mika_ops.dry_run import IDS_NAMED, first_of
from mika_ops.report import age_told, named, show
from mika_ops.settings import limits_from, require_time
from mika_ops.store.backlog import DatabaseBacklog
from mika_ops.store.documents import Documents
from mika_ops.store.engine import Database, open_database
from mika_ops.subtasks.registry import SUBTASK_NAMES, due_selections
from mika_ops.subtasks.subtask import Limits
from mika_ops.timestamps import Timestamp, to_datetime, to_timestamp

_FAILED: Final = "failed:"
"""Marks, in the one look at the database, what waits for people."""


@dataclass(frozen=True)
class Look:
    """What waits at ``now``, by subtask: for maintenance, for people, and which documents cannot be read."""

    now: Timestamp
    backlog: Backlog
    failed: Mapping[str, Due]
    failed_ids: Mapping[str, Sequence[str]]
    malformed_ids: Mapping[str, Sequence[str]]


@click.command()
@click.option("--now", metavar="TIME", help="Judge what is due at this time (ISO 8601), instead of now.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object instead of a table.")
@with_sentences
def backlog(now: str | None, as_json: bool) -> None:
    """Show what waits for each subtask, since when, and what waits for a person. Changes nothing.

    What failed for good is tried by nobody any more: emails (see `mika-ops email failed`), workflows and account-delete
    requests. Malformed documents are left alone until somebody mends or removes them.
    """
    settings = settings_told()
    try:
        at = to_timestamp(utc_now() if now is None else require_time(now))
    except ValueError as error:
        stop(str(error))
    if settings.database_url is None:
        stop("MIKA_DATABASE_URL is not set: there is no database to look for a backlog in")
    with open_database(settings.database_url.get_secret_value(), plugin_id=settings.plugin_id) as database:
        look = looked(database, at, limits_from(settings))
    if as_json:
        click.echo(json.dumps(_facts(look)))
        return
    show(_table(look))
    for sentence in _sentences(look):
        click.echo(sentence)


def looked(database: Database, now: Timestamp, limits: Limits) -> Look:
    """Look at all that waits: one round trip, and one more for each kind of thing that a person has to look at."""
    due, failed = due_selections(now, limits), failed_for_good(now)
    reader, ops = DatabaseBacklog(database), Documents(database, "ops")
    marked = {f"{_FAILED}{name}": selection for name, selection in failed.items()}
    found = reader.read({**due, **marked}, now=now)
    waiting = {name: counts for name, counts in found.due.items() if name not in marked}
    stuck = {name: found.due[f"{_FAILED}{name}"] for name in failed}
    return Look(
        now,
        Backlog(waiting, found.unreadable, found.unreadable_ids),
        stuck,
        {name: first_of(ops, failed[name], IDS_NAMED)[0] for name, counts in stuck.items() if counts.count},
        {name: reader.malformed_ids(due[name]) for name, counts in waiting.items() if counts.malformed},
    )


def _table(look: Look) -> Table:
    table = Table(title=f"Backlog at {look.now}", title_justify="left", expand=False)
    table.add_column("subtask", no_wrap=True)
    for name in ("due", "oldest", "malformed", "failed for good"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in SUBTASK_NAMES:
        due, failed = look.backlog.due.get(name), look.failed.get(name)
        age = None if due is None else _age(due, look.now)
        cells = [
            "–" if due is None else f"{due.count:,}",
            "–" if age is None else age_told(age),
            "–" if due is None else f"{due.malformed:,}",
            "–" if failed is None else f"{failed.count:,}",
        ]
        table.add_row(Text(name), *cells)
    return table


def _sentences(look: Look) -> list[str]:
    told = [f"Failed for good, {name}: {named(ids, look.failed[name].count)}." for name, ids in look.failed_ids.items()]
    told += [
        f"Malformed, {name}: {named(ids, look.backlog.due[name].malformed)}; mend or remove them."
        for name, ids in look.malformed_ids.items()
    ]
    if look.backlog.unreadable:
        ids = named(look.backlog.unreadable_ids, look.backlog.unreadable)
        told.append(f"No JSON objects with a type, so that they are nobody's: {ids}; mend or remove them.")
    return told


def _facts(look: Look) -> dict[str, Any]:
    return {
        "now": look.now,
        "due": look.backlog.total,
        "subtasks": {name: _facts_of(name, look) for name in SUBTASK_NAMES},
        "unreadable": look.backlog.unreadable,
        "unreadable_ids": list(look.backlog.unreadable_ids),
    }


def _facts_of(name: str, look: Look) -> dict[str, Any] | None:
    due, failed = look.backlog.due.get(name), look.failed.get(name)
    if due is None:
        return None
    facts: dict[str, Any] = {
        "due": due.count,
        "oldest_seconds": _seconds(due, look.now),
        "malformed": due.malformed,
        "malformed_ids": list(look.malformed_ids.get(name, ())),
    }
    if failed is not None:
        facts["failed_for_good"] = failed.count
        facts["failed_for_good_oldest_seconds"] = _seconds(failed, look.now)
        facts["failed_for_good_ids"] = list(look.failed_ids.get(name, ()))
    return facts


def _seconds(due: Due, now: Timestamp) -> int | None:
    age = _age(due, now)
    return None if age is None else int(age.total_seconds())


def _age(due: Due, now: Timestamp) -> timedelta | None:
    """Return for how long the oldest has waited, or ``None`` where nobody knows: a document may hold any text."""
    if due.oldest is None:
        return None
    try:
        return max(timedelta(0), to_datetime(now) - to_datetime(due.oldest))
    except ValueError:
        return None
