"""The command ``mika-ops doctor``: it tests every configured component, and changes nothing.

Exit codes: 0 nothing is broken, 1 something is, 2 nothing was tested: the call or a setting is invalid.
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
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
@reports_errors
def doctor(as_json: bool) -> None:
    """Test everything that the MIKA_ variables configure, and forecast each subtask of a run. Changes nothing.

    It reads the database and its privileges, logs in to the mail server without sending, and calls the admin API
    without releasing or replaying anything. Exits with 0 if nothing is broken, and 1 if something is.
    """
    diagnosis = diagnose(read_shop())
    if as_json:
        click.echo(json.dumps(_diagnosis_facts(diagnosis)))
    else:
        _print_diagnosis(diagnosis)
    sys.exit(0 if diagnosis.ok else 1)


def _print_diagnosis(diagnosis: Diagnosis) -> None:
    show(_table("check", "result", [(each.name, each.status, each.sentence) for each in diagnosis.results]))
    show(_table("subtask", "reason", [(each.name, each.status, each.reason or "") for each in diagnosis.subtasks]))
    # Below the tables, one statement a line, so that it can be copied.
    for result in diagnosis.results:
        for statement in result.statements:
            click.echo(f"{statement};")


def _table(subject: str, explanation: str, rows: list[tuple[str, str, str]]) -> Table:
    table = Table(expand=False)
    table.add_column(subject, no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column(explanation, overflow="fold")
    for name, status, sentence in rows:
        table.add_row(Text(name), Text(status, _STYLES[status]), Text(sentence))
    return table


def _diagnosis_facts(diagnosis: Diagnosis) -> dict[str, Any]:
    return {
        "ok": diagnosis.ok,
        "checks": [
            {"name": each.name, "status": each.status, "sentence": each.sentence, "statements": each.statements}
            for each in diagnosis.results
        ],
        "subtasks": [asdict(each) for each in diagnosis.subtasks],
    }
