"""Tables for the terminal, and the results of a run and of a dry run as tables and as JSON values."""

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
"""The least width of a table if no terminal sets it: an id should fit on one line."""

_STYLES: Final = {"completed": "green", "failed": "bold red", "skipped": "yellow"}


def run_table(outcomes: Mapping[str, Outcome], left: Backlog | None) -> Table:
    """Return the outcomes of a run as a table; ``left``: the backlog after the run, if it could be read."""
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


def preview_table(previews: RunPreview) -> Table:
    """Return the result of a dry run as a table."""
    table = Table(title="mika_maintenance, dry run: nothing was changed", title_justify="left", expand=False)
    table.add_column("subtask", no_wrap=True)
    table.add_column("due", justify="right")
    table.add_column("would take", justify="right")
    table.add_column("ids, or why not", overflow="fold")
    for name, preview in previews.items():
        if isinstance(preview, Skipped):
            table.add_row(Text(name), "–", "–", Text(f"skipped: {preview.reason}", _STYLES["skipped"]))
        else:
            table.add_row(Text(name), _number(preview.due), _number(preview.taken), Text(_describe(preview)))
    return table


def preview_facts(previews: RunPreview) -> dict[str, dict[str, Any]]:
    """Return the result of a dry run as JSON values. A subtask that would run has the status ``planned``."""
    return {
        name: {"status": preview.status, "reason": preview.reason}
        if isinstance(preview, Skipped)
        else {"status": "planned", **asdict(preview)}
        for name, preview in previews.items()
    }


def show(table: Table) -> None:
    """Print a table, in the width of the terminal. In a pipe, ``COLUMNS`` can only make it wider."""
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, WIDTH_IN_A_PIPE)
    console.print(table)


def _describe(preview: Preview) -> str:
    parts = [preview.note or "", format_ids(preview.ids, preview.taken or 0)] if preview.taken != 0 else []
    if preview.due and preview.taken == 0:
        parts.append("the limit is 0")
    if preview.malformed:
        ids = f": {format_ids(preview.malformed_ids, preview.malformed)}" if preview.malformed_ids else ""
        parts.append(f"{preview.malformed:,} malformed would be skipped{ids}")
    return "; ".join(part for part in parts if part) or "nothing due"


def _number(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"
