"""The commands about emails that failed: ``email failed`` lists them, ``email requeue`` puts them back.

Exit codes of ``requeue``: 0 all that was asked for is done, 1 some of it is not (an email named by its id was left
alone, the answer was no, the database failed half-way), 2 nothing was changed, as the call or a setting is wrong.
"""

import getpass
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mika_ops.cli.errors import fail, read_shop, reports_errors, warn
from mika_ops.clock import Clock, utc_now
from mika_ops.email.dead_letters import (
    DeadLetter,
    Requeueing,
    RequeuePlan,
    dead_letters,
    in_batches,
    permanently_failed,
    plan_requeue,
)
from mika_ops.formatting import format_age
from mika_ops.redaction import redact
from mika_ops.rules import email as rules
from mika_ops.store.backlog import DatabaseBacklog
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents
from mika_ops.store.errors import DatabaseError
from mika_ops.timestamps import Timestamp, to_timestamp

SHOWN: Final = 50
"""Emails in the table where no limit is given: what a person can read."""

ASKED_BEFORE_MORE_THAN: Final = 10
LONGEST_NAME: Final = 100
WIDTH_IN_A_PIPE: Final = 160
"""Columns of the table where no terminal says how wide it is: an id should stand on one line."""


@click.command()
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help="Emails of this kind only; may be repeated.")
@click.option("--skipped", is_flag=True, help="List the emails that were not to be sent, instead of the failed ones.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"At most so many, the oldest first: {SHOWN}, or all of --json.",
)
@click.option("--addresses", is_flag=True, help="Show the part of the recipient's address after the @ as well.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object per line.")
@reports_errors
def failed(kinds: tuple[str, ...], skipped: bool, limit: int | None, addresses: bool, as_json: bool) -> None:
    """List the emails that failed permanently: no attempt is left, and only a person can put them back."""
    _require_text(kinds)
    now = to_timestamp(utc_now())
    selection = rules.skipped_letters(kinds) if skipped else rules.dead_letters(kinds).at(now)
    with _shop() as database:
        letters = dead_letters(Documents(database, "ops"), selection, limit=limit or (None if as_json else SHOWN))
        if as_json:
            for letter in letters:
                click.echo(json.dumps(_facts(letter, now, addresses=addresses)))
            return
        shown = list(letters)
        there = DatabaseBacklog(database).read({"dead": selection}, now=now).due["dead"]
    if shown:
        console = Console()
        if not console.is_terminal:
            console.width = WIDTH_IN_A_PIPE
        console.print(_table(shown, now, addresses=addresses))
    click.echo(_in_all(max(there.count, len(shown)), kinds, skipped=skipped, shown=len(shown)))
    if there.malformed:
        click.echo(f"{there.malformed} more cannot be read: fix or remove their documents.")


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]…")
@click.option("--all-failed", is_flag=True, help="Every email that failed permanently, but for magic links of no use.")
@click.option(
    "--kind", "kinds", multiple=True, metavar="KIND", help="With --all-failed: this kind only; may be repeated."
)
@click.option("--by", metavar="NAME", help="Who asks for it, as the emails will say; by default your user name.")
@click.option("--yes", is_flag=True, help=f"Do not ask before more than {ASKED_BEFORE_MORE_THAN} emails.")
@reports_errors
def requeue(ids: tuple[str, ...], all_failed: bool, kinds: tuple[str, ...], by: str | None, yes: bool) -> None:
    """Put emails back into the outbox, as if they were new: those with these ids, or all that failed permanently.

    A magic link that has expired, or whose link is gone, helps nobody: named by its id it is put back with a warning,
    and --all-failed leaves it alone.
    """
    if not ids and not all_failed:
        fail("nothing to requeue is named: give the ids of emails, or --all-failed")
    if ids and all_failed:
        fail("give either the ids of emails or --all-failed, not both")
    if kinds and not all_failed:
        fail("--kind goes with --all-failed only")
    _require_text(ids + kinds)
    name = _name(by)
    with _shop() as database:
        ops, clock = Documents(database, "ops"), Clock.at(utc_now())
        now = clock.scheduled_at
        batches = permanently_failed(ops, kinds, now=now) if all_failed else in_batches(list(dict.fromkeys(ids)))
        plan = plan_requeue(ops, batches, now=now)
        wanted = [id_ for id_ in plan.ids if not (all_failed and id_ in plan.useless)]
        _tell(plan, all_failed=all_failed)
        if not _is_wanted(len(wanted), yes=yes):
            click.echo("Nothing was changed.")
            sys.exit(1)
        requeueing = Requeueing(ops, clock, name)
        was_cut_short = False
        try:
            requeueing.put_back(wanted)
        except DatabaseError as error:
            if not requeueing.requeued:
                raise
            was_cut_short = True
            click.echo(f"mika-ops: {error}", err=True)
    _tell_refused(requeueing.refused)
    if requeueing.requeued:
        click.echo(f"Put {_emails(requeueing.requeued)} back into the outbox; the next run sends what is due there.")
    elif all_failed:
        click.echo("There is nothing to requeue.")
    is_incomplete = bool(ids) and requeueing.requeued < len(set(ids))
    sys.exit(1 if was_cut_short or is_incomplete else 0)


def at_a_terminal() -> bool:
    """Say whether there is somebody to ask."""
    return sys.stdin.isatty()


@contextmanager
def _shop() -> Iterator[Database]:
    from mika_ops.assembly import open_shop_database

    with open_shop_database(read_shop()) as database:
        yield database


def _name(by: str | None) -> str:
    if by is None:
        try:
            by = getpass.getuser()
        except (ImportError, KeyError, OSError):
            fail("your user name is not known here: say who asks for it with --by NAME")
    name = by.strip()
    if not name or not name.isprintable() or len(name) > LONGEST_NAME:
        fail(f"--by must be a name of 1 to {LONGEST_NAME} characters, on one line")
    return name


def _require_text(given: Sequence[str]) -> None:
    for text in given:
        try:
            text.encode()
        except UnicodeEncodeError:
            fail(f"{text!r} is not UTF-8: nothing in the shop is called that")


def _is_wanted(number: int, *, yes: bool) -> bool:
    if number <= ASKED_BEFORE_MORE_THAN or yes:
        return True
    if not at_a_terminal():
        fail(f"{_emails(number)} would be put back into the outbox: say --yes, as there is no terminal to ask on")
    return click.confirm(f"Put {_emails(number)} back into the outbox?")


def _tell(plan: RequeuePlan, *, all_failed: bool) -> None:
    _tell_refused(plan.refused)
    if not all_failed:
        for id_, why in plan.useless.items():
            warn(f"{id_}: {why}")
    elif plan.useless:
        click.echo(
            f"Left alone: {_counted(len(plan.useless), 'magic link')} of no use, expired or without the link; "
            "name one by its id to requeue it all the same.",
            err=True,
        )


def _tell_refused(refused: Mapping[str, str]) -> None:
    for id_, why in refused.items():
        # What is no email's id was typed by somebody, and may be an address.
        click.echo(f"Not requeued: {redact(id_)}: {why}", err=True)


def _table(letters: Sequence[DeadLetter], now: Timestamp, *, addresses: bool) -> Table:
    table = Table(expand=False)
    table.add_column("id", overflow="fold")
    table.add_column("kind", overflow="fold")
    table.add_column("attempts", justify="right", no_wrap=True)
    table.add_column("error", overflow="fold", min_width=20)
    table.add_column("age", justify="right", no_wrap=True)
    if addresses:
        table.add_column("to", overflow="fold")
    for letter in letters:
        age = letter.age(now)
        cells = [
            letter.id,
            letter.kind or "–",
            f"{_shown(letter.attempts)} of {_shown(letter.max_attempts)}",
            letter.error or "none recorded",
            "–" if age is None else format_age(age),
            *([_masked(letter)] if addresses else []),
        ]
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _facts(letter: DeadLetter, now: Timestamp, *, addresses: bool) -> dict[str, object]:
    age = letter.age(now)
    facts = {**asdict(letter), "age_seconds": None if age is None else round(age.total_seconds())}
    del facts["domain"]
    return {**facts, "to": _masked(letter)} if addresses else facts


def _masked(letter: DeadLetter) -> str:
    # Not even the first letter: of a short address it may be all there is.
    return "no address" if letter.domain is None else f"…@{letter.domain}"


def _in_all(number: int, kinds: Sequence[str], *, skipped: bool, shown: int) -> str:
    of_kinds = f" of kind {' or '.join(kinds)}" if kinds else ""
    if not number:
        return f"No email{of_kinds} {'was skipped' if skipped else 'failed permanently'}."
    was_skipped = "was skipped" if number == 1 else "were skipped"
    rest = f"; shown: the oldest {shown:,}" if shown < number else ""
    return f"{_emails(number)}{of_kinds} {was_skipped if skipped else 'failed permanently'}{rest}."


def _emails(number: int) -> str:
    return _counted(number, "email")


def _counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def _shown(number: float | None) -> str:
    return "?" if number is None else f"{number:g}"
