"""Showing people what a run did or would do: one table on the terminal, and the same as facts for programs."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mika_ops.formatting import format_ids
from mika_ops.ports.backlog import Backlog
from mika_ops.subtasks.dry_run import Preview, RunPreview
from mika_ops.subtasks.outcome import Outcome, Skipped, format_outcome, outcome_facts

WIDTH_IN_A_PIPE: Final = 160
"""Columns of a table with ids where no terminal says how wide it is: an id should stand on one line."""

_STYLES: Final = {"completed": "green", "failed": "bold red", "skipped": "yellow"}


def run_table(outcomes: Mapping[str, Outcome], left: Backlog | None) -> Table:
    """Return the outcomes of a run as a table; ``left`` is the backlog after it, where it is known."""
    table = Table(title="mika_maintenance", title_justify="left", expand=False)
    table.add_column("subtask", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("counts, or why not", overflow="fold")
    table.add_column("ms", justify="right")
    if left is not None:
        table.add_column("left", justify="right")
    for name, outcome in outcomes.items():
        row = [
            Text(name),
            Text(outcome.status, _STYLES[outcome.status]),
            Text(format_outcome(outcome)),
            Text(str(outcome.duration_ms)),
        ]
        if left is not None:
            row.append(Text(str(left.due[name].count) if name in left.due else "–"))
        table.add_row(*row)
    return table


def run_facts(outcomes: Mapping[str, Outcome]) -> dict[str, dict[str, Any]]:
    """Return the outcomes of a run as JSON values; ids are lists."""
    return {name: outcome_facts(outcome) for name, outcome in outcomes.items()}


def plan_table(plan: RunPreview) -> Table:
    """Return what a run would do as a table."""
    table = Table(title="mika_maintenance, dry run: nothing was changed", title_justify="left", expand=False)
    table.add_column("subtask", no_wrap=True)
    table.add_column("due", justify="right")
    table.add_column("would take", justify="right")
    table.add_column("ids, or why not", overflow="fold")
    for name, intent in plan.items():
        if isinstance(intent, Skipped):
            table.add_row(Text(name), "–", "–", Text(f"skipped: {intent.reason}", _STYLES["skipped"]))
        else:
            table.add_row(Text(name), _number(intent.due), _number(intent.taken), Text(_intended(intent)))
    return table


def plan_facts(plan: RunPreview) -> dict[str, dict[str, Any]]:
    """Return what a run would do for programs; unlike a run's outcomes, what would be done has the status planned."""
    return {
        name: {"status": intent.status, "reason": intent.reason}
        if isinstance(intent, Skipped)
        else {"status": "planned", **asdict(intent)}
        for name, intent in plan.items()
    }


def show(table: Table) -> None:
    """Print a table that holds ids."""
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, WIDTH_IN_A_PIPE)
    console.print(table)


def _intended(intent: Preview) -> str:
    told_of_it = [intent.note or "", format_ids(intent.ids, intent.taken or 0)] if intent.taken != 0 else []
    if intent.due and intent.taken == 0:
        told_of_it.append("the limit is 0")
    if intent.malformed:
        ids = f": {format_ids(intent.malformed_ids, intent.malformed)}" if intent.malformed_ids else ""
        told_of_it.append(f"{intent.malformed:,} malformed would be left alone{ids}")
    return "; ".join(part for part in told_of_it if part) or "nothing due"


def _number(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"
