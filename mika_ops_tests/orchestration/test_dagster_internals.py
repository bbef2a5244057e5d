"""What mika-ops uses of Dagster without a public API is in one module, which says what each name is for."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from mika_ops.orchestration import dagster_internals

PROJECT = Path(__file__).resolve().parents[2]
INTERNALS = {PROJECT / "mika_ops/orchestration/dagster_internals.py", PROJECT / "mika_ops_testing/dagster_internals.py"}
FOLDERS = ("mika_ops", "mika_ops_testing", "mika_ops_tests", "bench", "examples", "deploy")
MODULES = sorted(path for folder in FOLDERS for path in (PROJECT / folder).rglob("*.py"))

ENTRY = re.compile(r"^(``[^\n]+``)\n((?:    [^\n]+\n)+)", re.MULTILINE)
DOCUMENTED = {
    name: text
    for names, text in ENTRY.findall(f"{inspect.getdoc(dagster_internals)}\n")
    for name in re.findall(r"``([^`]+)``", names)
}


def private_names(path: Path) -> Iterator[str]:
    """Yield the names of Dagster's private modules that a module imports, in functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and re.match(r"dagster\w*\..*\b_|dagster\w*\._", f"{node.module}."):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if re.match(r"dagster\w*\._", alias.name))


def instance_attributes(path: Path) -> set[str]:
    """Return the attributes of a Dagster instance that a module uses: of anything that is called ``instance``."""
    return {
        node.attr
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and _name_of(node.value).lstrip("_") == "instance"
    }


def _name_of(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def is_public(attribute: str) -> bool:
    """Say whether Dagster's documentation names an attribute of an instance."""
    found = inspect.getattr_static(dg.DagsterInstance, attribute)
    return any(getattr(each, "_is_public", False) for each in (found, getattr(found, "fget", None)))


def test_no_other_module_imports_a_private_name() -> None:
    assert {path for path in MODULES if any(private_names(path))} == INTERNALS


def test_each_private_name_is_documented_and_no_other() -> None:
    path = PROJECT / "mika_ops/orchestration/dagster_internals.py"
    undocumented = {f"DagsterInstance.{name}" for name in instance_attributes(path) if not is_public(name)}

    used = {*private_names(path), *undocumented}

    assert used == set(DOCUMENTED) - {"DagsterEvent.step_failure_data.error_source"}
    assert len(undocumented) > 5


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_documentation_says_what_breaks_and_what_is_public(name: str) -> None:
    lines = [line.strip() for line in DOCUMENTED[name].splitlines()]

    assert any(line.startswith("Breaks: ") for line in lines)
    assert any(line.startswith("Public: ") for line in lines)


def test_no_other_module_uses_what_is_undocumented_of_an_instance() -> None:
    modules = {*(PROJECT / "mika_ops").rglob("*.py")} - INTERNALS

    assert {name for path in modules for name in instance_attributes(path) if not is_public(name)} == set()


def test_this_test_sees_what_it_judges() -> None:
    imported = set(private_names(PROJECT / "mika_ops/orchestration/dagster_internals.py"))

    assert "dagster._core.execution.api.execute_run" in imported
    assert is_public("get_run_records")
    assert not is_public("report_run_canceling")
