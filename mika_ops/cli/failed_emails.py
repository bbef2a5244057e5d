"""The commands about failed emails: ``email failed`` lists them, ``email requeue`` puts them back into the outbox.

Exit codes of ``requeue``: 0 every email was requeued, 1 at least one was not (it cannot be requeued, the answer was no,
or the database failed half-way), 2 nothing was changed: the call or a setting is invalid.
"""

import getpass
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Final

import click
from rich.table import Table
from rich.text import Text

from mika_ops.cli.errors import fail, read_shop, reports_errors, warn
from mika_ops.cli.tables import show
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
"""Emails in the table if no limit is given: as many as a person can read."""

CONFIRMED_ABOVE: Final = 10
"""The number of emails above which ``requeue`` asks for confirmation."""

LONGEST_NAME: Final = 100


@click.command()
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help="Emails of this kind only; may be repeated.")
@click.option(
    "--skipped", is_flag=True, help="List the skipped emails, which must not be sent, instead of the failed ones."
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"At most N emails, the oldest first.  [default: {SHOWN}; with --json all]",
)
@click.option("--addresses", is_flag=True, help="Also show the domain of the recipient's address.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@reports_errors
def failed(kinds: tuple[str, ...], skipped: bool, limit: int | None, addresses: bool, as_json: bool) -> None:
    """List the emails that failed permanently: no attempt is left, and no run retries them. Requeue them by hand."""
    _require_text(kinds)
    now = to_timestamp(utc_now())
    selection = rules.skipped_letters(kinds) if skipped else rules.dead_letters(kinds).at(now)
    with _shop() as database:
        letters = dead_letters(Documents(database, "ops"), selection, limit=limit or (None if as_json else SHOWN))
        if as_json:
            for letter in letters:
                click.echo(json.dumps(_letter_facts(letter, now, addresses=addresses)))
            return
        shown = list(letters)
        total = DatabaseBacklog(database).read({"dead": selection}, now=now).due["dead"]
    if shown:
        show(_letter_table(shown, now, addresses=addresses))
    click.echo(_total(max(total.count, len(shown)), kinds, skipped=skipped, shown=len(shown)))
    if total.malformed:
        click.echo(f"{total.malformed} more cannot be read: fix or remove their documents.")


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]…")
@click.option(
    "--all-failed", is_flag=True, help="Every email that failed permanently, except magic links that no longer work."
)
@click.option(
    "--kind", "kinds", multiple=True, metavar="KIND", help="With --all-failed: this kind only; may be repeated."
)
@click.option("--by", metavar="NAME", help="Who requeues, as recorded in the emails.  [default: your user name]")
@click.option("--yes", is_flag=True, help=f"Do not ask for confirmation above {CONFIRMED_ABOVE} emails.")
@reports_errors
def requeue(ids: tuple[str, ...], all_failed: bool, kinds: tuple[str, ...], by: str | None, yes: bool) -> None:
    """Put emails back into the outbox as if they were new: those with these ids, or all that failed permanently.

    A magic link that has expired, or whose link is gone, no longer works: it is requeued with a warning if it is named
    by its id, and --all-failed leaves it out.
    """
    if not ids and not all_failed:
        fail("nothing to requeue: give the ids of emails, or --all-failed")
    if ids and all_failed:
        fail("give either the ids of emails or --all-failed, not both")
    if kinds and not all_failed:
        fail("--kind applies to --all-failed only")
    _require_text(ids + kinds)
    name = _name(by)
    with _shop() as database:
        ops, clock = Documents(database, "ops"), Clock.at(utc_now())
        now = clock.scheduled_at
        batches = permanently_failed(ops, kinds, now=now) if all_failed else in_batches(list(dict.fromkeys(ids)))
        plan = plan_requeue(ops, batches, now=now)
        wanted = [id_ for id_ in plan.ids if not (all_failed and id_ in plan.useless)]
        _report_plan(plan, all_failed=all_failed)
        if not _is_confirmed(len(wanted), yes=yes):
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
    _report_refused(requeueing.refused)
    if requeueing.requeued:
        click.echo(f"Put {_emails(requeueing.requeued)} back into the outbox; the next run sends what is due there.")
    elif all_failed:
        click.echo("There is nothing to requeue.")
    is_incomplete = bool(ids) and requeueing.requeued < len(set(ids))
    sys.exit(1 if was_cut_short or is_incomplete else 0)


def at_a_terminal() -> bool:
    """Say whether standard input is a terminal, so that a question can be answered."""
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
            fail("your user name is unknown: say who requeues with --by NAME")
    name = by.strip()
    if not name or not name.isprintable() or len(name) > LONGEST_NAME:
        fail(f"--by must be a name of 1 to {LONGEST_NAME} characters, on one line")
    return name


def _require_text(given: Sequence[str]) -> None:
    for text in given:
        try:
            text.encode()
        except UnicodeEncodeError:
            fail(f"{text!r} is not valid UTF-8: no id and no kind contains it")


def _is_confirmed(number: int, *, yes: bool) -> bool:
    if number <= CONFIRMED_ABOVE or yes:
        return True
    if not at_a_terminal():
        fail(f"{_emails(number)} would be put back into the outbox: confirm with --yes, as there is no terminal")
    return click.confirm(f"Put {_emails(number)} back into the outbox?")


def _report_plan(plan: RequeuePlan, *, all_failed: bool) -> None:
    _report_refused(plan.refused)
    if not all_failed:
        for id_, why in plan.useless.items():
            warn(f"{id_}: {why}")
    elif plan.useless:
        click.echo(
            f"Not requeued: {_counted(len(plan.useless), 'magic link')}, expired or without the link; "
            "to requeue one all the same, give its id.",
            err=True,
        )


def _report_refused(refused: Mapping[str, str]) -> None:
    for id_, why in refused.items():
        # An id that no email has was typed by a person, and may be an address.
        click.echo(f"Not requeued: {redact(id_)}: {why}", err=True)


def _letter_table(letters: Sequence[DeadLetter], now: Timestamp, *, addresses: bool) -> Table:
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
            f"{_number(letter.attempts)} of {_number(letter.max_attempts)}",
            letter.error or "none recorded",
            "–" if age is None else format_age(age),
            *([_masked(letter)] if addresses else []),
        ]
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _letter_facts(letter: DeadLetter, now: Timestamp, *, addresses: bool) -> dict[str, object]:
    age = letter.age(now)
    facts = {**asdict(letter), "age_seconds": None if age is None else round(age.total_seconds())}
    del facts["domain"]
    return {**facts, "to": _masked(letter)} if addresses else facts


def _masked(letter: DeadLetter) -> str:
    # Not even the first letter: of a short address it may be all there is.
    return "no address" if letter.domain is None else f"…@{letter.domain}"


def _total(number: int, kinds: Sequence[str], *, skipped: bool, shown: int) -> str:
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


def _number(number: float | None) -> str:
    return "?" if number is None else f"{number:g}"
