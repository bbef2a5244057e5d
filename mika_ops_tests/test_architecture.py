"""The direction of dependencies: what each package may import, checked over all imports of the package."""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

import mika_ops

ROOT = Path(mika_ops.__file__).parent


def modules_under(*packages: str) -> list[str]:
    """Return the names of the package's modules under these packages, or all of them."""
    folders = [ROOT / package for package in packages] or [ROOT]
    return [name_of(path) for folder in folders for path in sorted(folder.rglob("*.py"))]


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def path_of(module: str) -> Path | None:
    place = ROOT.parent.joinpath(*module.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.exists()), None)


@cache
def imports_of(module: str) -> frozenset[str]:
    """Return what a module imports, in functions too: modules of ours, and names of others."""
    path = path_of(module)
    return frozenset() if path is None else frozenset(_imported(ast.parse(path.read_text(encoding="utf-8"))))


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            assert node.module is not None
            yield node.module
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner.startswith("mika_ops.") and path_of(inner) is not None:
                    yield inner


def reached_from(module: str) -> dict[str, str]:
    """Return all that a module brings along, directly or not, each with the module that imports it."""
    reached: dict[str, str] = {}
    waiting = [module]
    while waiting:
        current = waiting.pop()
        for imported in imports_of(current):
            if imported not in reached:
                reached[imported] = current
                waiting.append(imported)
    return reached


def belongs_to(imported: str, package: str) -> bool:
    return imported == package or imported.startswith(f"{package}.")


def violations(modules: Iterable[str], *forbidden: str) -> list[str]:
    """Return how these modules reach, directly or not, what they must not."""
    return [
        f"{module} reaches {imported} by {by}"
        for module in modules
        for imported, by in reached_from(module).items()
        if any(belongs_to(imported, name) for name in forbidden)
    ]


def unit_of(module: str) -> str:
    """Return the package, or the module of the root, that a module belongs to."""
    return module.removeprefix("mika_ops").removeprefix(".").split(".")[0] or "mika_ops"


MAY_IMPORT: dict[str, str] = {
    "timestamps": "",
    "clock": "timestamps",
    "deadline": "",
    "redaction": "",
    "formatting": "",
    "setting_names": "",
    "documents": "deadline timestamps",
    "rules": "documents timestamps",
    "ports": "clock deadline documents timestamps",
    "store": "clock deadline documents ports redaction rules setting_names timestamps",
    "email": "clock deadline documents ports redaction rules setting_names timestamps",
    "admin_api": "clock deadline ports redaction setting_names timestamps",
    "host": "documents email ports redaction setting_names",
    "subtasks": "clock deadline documents formatting host ports redaction rules setting_names timestamps",
    "monitoring": "documents formatting ports rules subtasks timestamps",
    "config": "email host monitoring rules setting_names store subtasks timestamps",
    "alerting": "config deadline monitoring ports redaction setting_names timestamps",
    "assembly": "admin_api config documents email host ports rules store",
    "scheduling": "assembly config host ports redaction rules store subtasks timestamps",
    "doctor": "alerting assembly clock config email host ports redaction setting_names store subtasks",
    "orchestration": (
        "alerting assembly clock config deadline documents formatting host monitoring ports redaction scheduling store "
        "subtasks timestamps"
    ),
    "component": "config host orchestration setting_names",
    "cli": (
        "alerting assembly clock config doctor email formatting monitoring orchestration ports redaction rules "
        "setting_names store subtasks timestamps"
    ),
    "demo": "cli clock config documents orchestration store timestamps",
    "definitions": "config orchestration",
    "mika_ops": "component config host orchestration",
}
"""What each package, and each module of the root, may import of the others. A line uses only names above it."""


@pytest.mark.parametrize("unit", MAY_IMPORT)
def test_a_package_imports_only_what_the_table_allows(unit: str) -> None:
    allowed = {unit, *MAY_IMPORT[unit].split()}
    assert [
        f"{module} imports {imported}"
        for module in modules_under()
        if unit_of(module) == unit
        for imported in sorted(imports_of(module))
        if belongs_to(imported, "mika_ops") and imported != "mika_ops" and unit_of(imported) not in allowed
    ] == []


def test_the_table_names_every_package_and_has_no_cycles() -> None:
    assert {unit_of(module) for module in modules_under()} == set(MAY_IMPORT)
    above: set[str] = set()
    for unit, allowed in MAY_IMPORT.items():
        assert set(allowed.split()) <= above, f"{unit} may import what stands below it"
        above.add(unit)


def test_the_root_has_at_most_ten_modules() -> None:
    assert len(list(ROOT.glob("*.py"))) <= 10


INNER = ("documents", "rules", "ports", "store", "email", "host", "subtasks", "monitoring")


def test_the_inner_packages_do_not_reach_dagster() -> None:
    assert violations(modules_under(*INNER), "dagster", "mika_ops.orchestration") == []


@pytest.mark.parametrize("package", ["alerting", "scheduling"])
def test_what_reads_settings_reaches_dagster_through_them_alone(package: str) -> None:
    """The settings check a cron string as Dagster reads it, in ``config.cron``."""
    direct = [(module, name) for module in modules_under(package) for name in imports_of(module)]
    assert [(module, name) for module, name in direct if belongs_to(name, "dagster")] == []
    reached = violations(modules_under(package), "dagster")
    assert {line.rpartition(" by ")[2] for line in reached} <= {"mika_ops.config.cron"}


def test_the_orchestration_writes_no_sql() -> None:
    modules = modules_under("orchestration")
    assert [m for m in modules if any(belongs_to(imported, "sqlalchemy") for imported in imports_of(m))] == []


def test_rules_and_documents_use_python_alone() -> None:
    modules = modules_under("rules", "documents")
    assert violations(modules, "sqlalchemy", "pydantic", "httpx", "jinja2", "tenacity") == []


def test_subtasks_know_no_database() -> None:
    assert violations(modules_under("subtasks"), "mika_ops.store", "sqlalchemy") == []


def test_the_package_does_without_what_tests_it() -> None:
    assert violations(modules_under(), "mika_ops_testing", "mika_ops_tests", "pytest") == []


def test_no_rule_asks_for_the_time() -> None:
    asking = [
        f"{module}:{node.lineno}"
        for module in modules_under("rules")
        for node in ast.walk(ast.parse((path_of(module) or Path()).read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("now", "utcnow", "today", "time", "monotonic")
    ]
    assert asking == []


def test_these_tests_see_the_imports_that_they_judge() -> None:
    assert "mika_ops.documents.document" in imports_of("mika_ops.rules.email")
    assert "sqlalchemy" in reached_from("mika_ops.store.documents")
    assert "mika_ops.timestamps" in reached_from("mika_ops.subtasks.registry")
    assert violations(["mika_ops.orchestration.maintenance.job"], "dagster")
