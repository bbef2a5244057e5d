"""Showing people what a run did: one table on the terminal."""

from collections.abc import Mapping
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from mika_ops.backlog import Backlog

_STYLES: Final = {"completed": "green", "failed": "bold red", "skipped": "yellow"}


def run_table(result: Mapping[str, Mapping[str, Any]], left: Backlog | None) -> Table:
    """Return the outcomes of a run as a table; ``left`` is the backlog after it, where it is known."""
    table = Table(title="mika_maintenance", title_justify="left", expand=False)
    table.add_column("subtask", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("counts, or why not", overflow="fold")
    table.add_column("ms", justify="right")
    if left is not None:
        table.add_column("left", justify="right")
    for name, outcome in result.items():
        status = str(outcome["status"])
        row = [Text(name), Text(status, _STYLES[status]), Text(told(outcome)), Text(str(outcome["duration_ms"]))]
        if left is not None:
            row.append(Text(str(left.due[name].count) if name in left.due else "–"))
        table.add_row(*row)
    return table


def told(outcome: Mapping[str, Any]) -> str:
    """Say in words what became of a subtask."""
    sentence = outcome.get("error") or outcome.get("reason")
    return "; ".join(part for part in (sentence, counted(outcome)) if part) or "nothing due"


def counted(outcome: Mapping[str, Any]) -> str:
    """Say what a subtask counted, leaving out what is zero; empty where it did nothing."""
    return ", ".join(
        f"{name} {'yes' if value is True else value}"
        for name, value in outcome.items()
        if isinstance(value, int | float) and value and name != "duration_ms"
    )
