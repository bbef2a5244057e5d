"""The command ``mika-ops doctor``: is everything that is configured as it should be? It changes nothing.

Exit codes: 0 nothing is broken, 1 something is, 2 it was not looked, as the call or a setting is wrong.
"""

import json
import sys
from dataclasses import asdict
from typing import Any, Final

import click
from rich.table import Table
from rich.text import Text

from mika_ops.cli.errors import read_shop, reports_errors
from mika_ops.cli.tables import show
from mika_ops.doctor.diagnosis import Diagnosis, diagnose

_STYLES: Final = {
    "ok": "green",
    "warning": "yellow",
    "broken": "bold red",
    "not configured": "dim",
    "runs": "green",
    "skipped": "yellow",
    "cannot run": "bold red",
}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object instead of tables.")
@reports_errors
def doctor(as_json: bool) -> None:
    """Try everything that the MIKA_ variables ask for, and say what a run would make of each subtask. Changes nothing.

    The database is read and asked what may be written, the mail server is logged in to and sent nothing, and the admin
    API is called for nothing. Exits with 0 where nothing is broken, 1 where something is.
    """
    diagnosis = diagnose(read_shop())
    if as_json:
        click.echo(json.dumps(_facts(diagnosis)))
    else:
        _show(diagnosis)
    sys.exit(0 if diagnosis.ok else 1)


def _show(diagnosis: Diagnosis) -> None:
    show(_table("check", "what was found", [(each.name, each.status, each.sentence) for each in diagnosis.checks]))
    show(_table("subtask", "why not", [(each.name, each.status, each.reason or "") for each in diagnosis.subtasks]))
    # Below the tables, each on one line: to be copied.
    for check in diagnosis.checks:
        for statement in check.statements:
            click.echo(f"{statement};")


def _table(what: str, message: str, rows: list[tuple[str, str, str]]) -> Table:
    table = Table(expand=False)
    table.add_column(what, no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column(message, overflow="fold")
    for name, status, sentence in rows:
        table.add_row(Text(name), Text(status, _STYLES[status]), Text(sentence))
    return table


def _facts(diagnosis: Diagnosis) -> dict[str, Any]:
    return {
        "ok": diagnosis.ok,
        "checks": [
            {"name": each.name, "status": each.status, "sentence": each.sentence, "statements": each.statements}
            for each in diagnosis.checks
        ],
        "subtasks": [asdict(each) for each in diagnosis.subtasks],
    }
