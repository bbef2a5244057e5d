"""The command ``mika-ops``.

Exit codes: 0 the run succeeded, 1 it failed, 2 it was not started, as the call or a setting is wrong, 3 with
``--strict`` where it succeeded and a subtask failed.
"""

import json
import sys

import click
from rich.console import Console

from mika_ops.cli.alerts import alerts
from mika_ops.cli.backlog import backlog
from mika_ops.cli.doctor import doctor
from mika_ops.cli.email import email
from mika_ops.cli.errors import fail, read_shop, reports_errors
from mika_ops.cli.tables import preview_facts, preview_table, run_facts, run_table, show
from mika_ops.clock import utc_now
from mika_ops.config.validators import require_limits, require_subtasks, require_time
from mika_ops.store.errors import DatabaseError
from mika_ops.store.migrate import prepare_indexes, prepare_tables
from mika_ops.store.schema.own import own
from mika_ops.subtasks.registry import SUBTASK_NAMES
from mika_ops.timestamps import to_timestamp


@click.group()
@click.version_option(package_name="mika-ops")
def main() -> None:
    """The scheduled maintenance of a Mika storefront."""


@main.command()
@click.option("--only", multiple=True, metavar="SUBTASK", help="Run this subtask only; may be repeated.")
@click.option("--skip", multiple=True, metavar="SUBTASK", help="Run all but this subtask; may be repeated.")
@click.option("--now", metavar="TIME", help="Judge what is due at this time (ISO 8601), instead of now.")
@click.option("--limit", multiple=True, metavar="SUBTASK=N", help="At most so many in this run; may be repeated.")
@click.option(
    "--strict",
    is_flag=True,
    help="Exit with 3 where the run succeeded and yet any subtask failed. One that is skipped, as it is not configured "
    "or not chosen, did not fail; nor do malformed documents count, which need manual action.",
)
@click.option("--dry-run", "is_dry", is_flag=True, help="Show what a run would do, by counts and ids; change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object instead of a table.")
@reports_errors
def run(
    only: tuple[str, ...],
    skip: tuple[str, ...],
    now: str | None,
    limit: tuple[str, ...],
    strict: bool,
    is_dry: bool,
    as_json: bool,
) -> None:
    """Run maintenance once on the shop that the MIKA_ variables describe.

    Exits with 0 where the run succeeded, 1 where it failed, and 2 where the call or a setting is wrong and nothing was
    started. A failed release of stock fails the run; any other failure is shown, and --strict exits with 3 for it.
    """
    if is_dry and strict:
        fail("--strict says how a run ended, and --dry-run makes none: leave one of them out")
    shop = read_shop()
    try:
        subtasks = _chosen(only, skip)
        limits = require_limits(dict(_parsed_limit(text) for text in limit))
        scheduled_at = to_timestamp(utc_now() if now is None else require_time(now))
    except ValueError as error:
        fail(str(error))
    from mika_ops.cli.shop import backlog_of, dry_run
    from mika_ops.orchestration.run_once import run_once

    if is_dry:
        plan = dry_run(shop, now=scheduled_at, subtasks=subtasks, limits=limits)
        if as_json:
            click.echo(json.dumps({"dry_run": True, "now": scheduled_at, "subtasks": preview_facts(plan)}))
        else:
            show(preview_table(plan))
        return
    report = run_once(shop, now=scheduled_at, subtasks=subtasks, limits=limits)
    if as_json:
        facts = {"run_id": report.run_id, "success": report.success, "now": report.now}
        click.echo(json.dumps({**facts, "subtasks": run_facts(report.subtasks)}))
    else:
        try:
            left = backlog_of(shop, scheduled_at)
        except DatabaseError:
            left = None  # the run has been, and its outcome is what counts
        Console().print(run_table(report.subtasks, left))
    if not report.success:
        sys.exit(1)
    sys.exit(3 if strict and report.is_degraded else 0)


main.add_command(alerts)
main.add_command(backlog)
main.add_command(doctor)
main.add_command(email)


@main.group()
def db() -> None:
    """The tables of mika-ops' own in the shop's database."""


@db.command()
@reports_errors
def prepare() -> None:
    """Create what is mika-ops' own where it is not there yet: tables of ACP checkout sessions, two small indexes.

    The indexes hold documents that are not over, so that a look at a shop costs the same however much is finished.
    Everything works without them.
    """
    from mika_ops.assembly import open_shop_database

    with open_shop_database(read_shop()) as database:
        prepare_tables(database)
        made = prepare_indexes(database)
    click.echo(f"Ready: {', '.join(own.tables)}; indexes made: {', '.join(made) or 'none, they are there'}.")


def _chosen(only: tuple[str, ...], skip: tuple[str, ...]) -> tuple[str, ...]:
    """Return the subtasks to run. Raises ``ValueError`` where a name is wrong or none is left."""
    left_out = require_subtasks(skip)
    chosen = tuple(name for name in require_subtasks(only) or SUBTASK_NAMES if name not in left_out)
    if not chosen:
        raise ValueError("no subtask is left to run: --skip leaves out all that were chosen")
    return chosen


def _parsed_limit(text: str) -> tuple[str, int]:
    name, separator, number = text.partition("=")
    try:
        return name, int(number)
    except ValueError:
        said = f"{number!r} is no whole number" if separator else "it has no ="
        raise ValueError(f"--limit {text}: {said}; write it as {SUBTASK_NAMES[0]}=25") from None


if __name__ == "__main__":
    main()
