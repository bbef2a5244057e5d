"""The command ``mika-ops run``: one maintenance run, or a dry run.

Exit codes: 0 the run succeeded, 1 it failed, 2 it did not start because the call or a setting is invalid, 3 with
``--strict`` if it succeeded and a subtask failed.
"""

import json
import sys

import click

from mika_ops.cli.errors import fail, read_shop, reports_errors
from mika_ops.cli.tables import preview_facts, preview_table, run_facts, run_table, show
from mika_ops.clock import utc_now
from mika_ops.config.shop import Shop
from mika_ops.config.validators import require_limits, require_subtasks, require_time
from mika_ops.ports.backlog import Backlog
from mika_ops.store.errors import DatabaseError
from mika_ops.subtasks.registry import SUBTASK_NAMES
from mika_ops.timestamps import Timestamp, to_timestamp


@click.command()
@click.option("--only", multiple=True, metavar="SUBTASK", help="Run this subtask only; may be repeated.")
@click.option("--skip", multiple=True, metavar="SUBTASK", help="Run all but this subtask; may be repeated.")
@click.option("--now", metavar="TIME", help="Evaluate what is due at this time (ISO 8601), instead of now.")
@click.option(
    "--limit", multiple=True, metavar="SUBTASK=N", help="Process at most N items in this run; may be repeated."
)
@click.option(
    "--strict",
    is_flag=True,
    help="Exit with 3 if the run succeeded and a subtask failed. Skipped subtasks did not fail. Malformed documents "
    "fail no subtask: they need manual action.",
)
@click.option("--dry-run", "is_dry", is_flag=True, help="Show what a run would do, by counts and ids; change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
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

    Exits with 0 if the run succeeded, 1 if it failed, and 2 if the call or a setting is invalid and nothing started. A
    failed release of stock fails the run. Any other failure is shown, and --strict exits with 3 for it.
    """
    if is_dry and strict:
        fail("--strict reports how a run ended, and --dry-run starts none: use only one of them")
    shop = read_shop()
    try:
        subtasks = _selected(only, skip)
        limits = require_limits(dict(_parse_limit(text) for text in limit))
        scheduled_at = to_timestamp(utc_now() if now is None else require_time(now))
    except ValueError as error:
        fail(str(error))
    if is_dry:
        from mika_ops.cli.shop import dry_run

        previews = dry_run(shop, now=scheduled_at, subtasks=subtasks, limits=limits)
        if as_json:
            click.echo(json.dumps({"dry_run": True, "now": scheduled_at, "subtasks": preview_facts(previews)}))
        else:
            show(preview_table(previews))
        return
    from mika_ops.orchestration.run_once import run_once

    report = run_once(shop, now=scheduled_at, subtasks=subtasks, limits=limits)
    if as_json:
        facts = {"run_id": report.run_id, "success": report.success, "now": report.now}
        click.echo(json.dumps({**facts, "subtasks": run_facts(report.subtasks)}))
    else:
        show(run_table(report.subtasks, _remaining_backlog(shop, scheduled_at)))
    if not report.success:
        sys.exit(1)
    sys.exit(3 if strict and report.is_degraded else 0)


def _remaining_backlog(shop: Shop, now: Timestamp) -> Backlog | None:
    from mika_ops.cli.shop import backlog_of

    try:
        return backlog_of(shop, now)
    except DatabaseError:
        return None  # the run has ended, and only its outcome decides the exit code


def _selected(only: tuple[str, ...], skip: tuple[str, ...]) -> tuple[str, ...]:
    """Return the subtasks to run. Raises ``ValueError`` if a name is unknown or no subtask is left."""
    skipped = require_subtasks(skip)
    selected = tuple(name for name in require_subtasks(only) or SUBTASK_NAMES if name not in skipped)
    if not selected:
        raise ValueError("no subtask is left to run: --skip names every subtask that would run")
    return selected


def _parse_limit(text: str) -> tuple[str, int]:
    name, separator, number = text.partition("=")
    try:
        return name, int(number)
    except ValueError:
        problem = f"{number!r} is not an integer" if separator else "the = is missing"
        raise ValueError(f"--limit {text}: {problem}; write it as {SUBTASK_NAMES[0]}=25") from None
