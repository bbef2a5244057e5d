"""The width of the tables that commands print."""

from pathlib import Path

import pytest
from rich.table import Table

import mika_ops
from mika_ops.cli.tables import show


@pytest.mark.parametrize(("columns", "width"), [("80", 160), ("200", 200)])
def test_in_a_pipe_a_table_has_160_columns_or_those_of_the_environment(
    columns: str, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    table = Table()
    table.add_column("id", overflow="fold")
    table.add_row("x" * 300)

    show(table)

    assert {len(line) for line in capsys.readouterr().out.splitlines()} == {width}


def test_only_one_module_decides_the_width() -> None:
    package = Path(mika_ops.__file__).parent
    users = [file for file in package.rglob("*.py") if "rich.console" in file.read_text(encoding="utf-8")]
    assert [str(file.relative_to(package)) for file in users] == ["cli/tables.py"]
