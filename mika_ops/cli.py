"""The command ``mika-ops``.

Exit codes: 0 the run succeeded, 1 it failed, 2 it was not started, as the call or a setting is wrong.
"""

import sys

import click
from rich.console import Console

from mika_ops.cli_email import email
from mika_ops.cli_sentences import settings_told, stop, with_sentences
from mika_ops.clock import utc_now
from mika_ops.report import run_table
from mika_ops.settings import require_limits, require_subtasks, require_time
from mika_ops.store.engine import DatabaseError, open_database
from mika_ops.store.schema import own
from mika_ops.subtasks.registry import SUBTASK_NAMES
from mika_ops.timestamps import to_timestamp


@click.group()
@click.version_option(package_name="mika-ops")
def main() -> None:
    """The scheduled maintenance of a Mika storefront."""


@main.command()
@click.option("--only", multiple=True, metavar="SUBTASK", help="Run this subtask only; may be repeated.")
@click.option("--now", metavar="TIME", help="Judge what is due at this time (ISO 8601), instead of now.")
@click.option("--limit", multiple=True, metavar="SUBTASK=N", help="At most so many in this run; may be repeated.")
@with_sentences
def run(only: tuple[str, ...], now: str | None, limit: tuple[str, ...]) -> None:
    """Run maintenance once on the shop that the MIKA_ variables describe."""
    settings = settings_told()
    try:
        subtasks = require_subtasks(only)
        limits = require_limits(dict(_parsed_limit(text) for text in limit))
        scheduled_at = to_timestamp(utc_now() if now is None else require_time(now))
    except ValueError as error:
        stop(str(error))
    from mika_ops.running import backlog_of, run_once

    report = run_once(settings, now=scheduled_at, subtasks=subtasks, limits=limits)
    try:
        left = backlog_of(settings, scheduled_at)
    except DatabaseError:
        left = None  # the run has been, and its outcome is what counts
    Console().print(run_table(report.subtasks, left))
    sys.exit(0 if report.success else 1)


main.add_command(email)


@main.group()
def db() -> None:
    """The tables of mika-ops' own in the shop's database."""


@db.command()
@with_sentences
def prepare() -> None:
    """Create the tables of mika-ops' own (ACP checkout sessions) where they are not there yet."""
    settings = settings_told()
    if settings.database_url is None:
        stop("MIKA_DATABASE_URL is not set: there is no database to prepare")
    with open_database(settings.database_url.get_secret_value(), plugin_id=settings.plugin_id) as database:
        database.write(own.create_all)
    click.echo(f"Ready: {', '.join(own.tables)}.")


def _parsed_limit(text: str) -> tuple[str, int]:
    name, separator, number = text.partition("=")
    try:
        return name, int(number)
    except ValueError:
        said = f"{number!r} is no whole number" if separator else "it has no ="
        raise ValueError(f"--limit {text}: {said}; write it as {SUBTASK_NAMES[0]}=25") from None


if __name__ == "__main__":
    main()
