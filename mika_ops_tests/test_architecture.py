"""Which way the arrows point: what may know of what, over all of the package's imports."""

import ast
from collections.abc import Iterator
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


def told(module: str, forbidden: str) -> list[str]:
    return [
        f"{module} reaches {imported} by {by}"
        for imported, by in reached_from(module).items()
        if belongs_to(imported, forbidden)
    ]


@pytest.mark.parametrize("module", modules_under("rules", "subtasks", "store", "email"))
def test_nothing_below_the_orchestration_knows_of_dagster(module: str) -> None:
    assert told(module, "dagster") == []
    assert told(module, "mika_ops.orchestration") == []


@pytest.mark.parametrize("module", modules_under("orchestration"))
def test_the_orchestration_writes_no_sql(module: str) -> None:
    assert [imported for imported in imports_of(module) if belongs_to(imported, "sqlalchemy")] == []


@pytest.mark.parametrize("package", ["store", "subtasks", "email", "orchestration"])
@pytest.mark.parametrize("module", modules_under("rules"))
def test_the_rules_know_of_nobody(module: str, package: str) -> None:
    assert told(module, f"mika_ops.{package}") == []


@pytest.mark.parametrize("library", ["sqlalchemy", "pydantic", "httpx", "jinja2", "tenacity"])
@pytest.mark.parametrize("module", modules_under("rules"))
def test_the_rules_are_python_alone(module: str, library: str) -> None:
    assert told(module, library) == []


@pytest.mark.parametrize("module", modules_under("subtasks"))
def test_the_subtasks_know_no_database(module: str) -> None:
    assert told(module, "mika_ops.store") == []
    assert told(module, "sqlalchemy") == []


@pytest.mark.parametrize("module", modules_under("store"))
def test_the_store_knows_no_subtask(module: str) -> None:
    assert told(module, "mika_ops.subtasks") == []


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
    assert told("mika_ops.orchestration.maintenance.job", "dagster")
