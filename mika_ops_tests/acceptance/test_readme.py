"""The README tells the truth about what can be set, run and read."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import PydanticUndefined

from mika_ops.config.settings import Settings
from mika_ops.monitoring.checks import CHECKS
from mika_ops.setting_names import PREFIX
from mika_ops.subtasks.registry import SUBTASKS

PROJECT = Path(__file__).resolve().parents[2]
README = (PROJECT / "README.md").read_text(encoding="utf-8")


def shown(default: Any) -> str:
    """Return a default as the README shows it."""
    if default is None or default is PydanticUndefined or default in ({}, ()):
        return "–"
    if isinstance(default, tuple):
        return f"`{','.join(default)}`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def row_of(name: str) -> str:
    field = Settings.model_fields[name]
    return f"| `{PREFIX}{name.upper()}` | {shown(field.default)} | {field.description} |"


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_stands_in_the_table_with_its_default_and_meaning(name: str) -> None:
    assert row_of(name) in README.splitlines()


def test_the_table_names_no_setting_that_there_is_not() -> None:
    named = set(re.findall(rf"^\| `({PREFIX}[A-Z_]+)`", README, re.MULTILINE))
    assert named == {PREFIX + name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize("subtask", SUBTASKS, ids=lambda subtask: subtask.name)
def test_every_subtask_stands_in_the_readme_with_its_description(subtask: Any) -> None:
    assert f"`{subtask.name}`" in README
    assert subtask.description in README


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_every_check_stands_in_the_readme_with_its_description_and_threshold(check: Any) -> None:
    row = f"| `{check.name}` | {check.description} | `{PREFIX}{check.threshold.upper()}` |"
    assert row in README.splitlines()


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", README))))
def test_every_file_that_the_readme_links_is_there(link: str) -> None:
    assert (PROJECT / link).exists()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"^make ([a-z-]+)", README, re.MULTILINE))))
def test_every_make_target_in_the_readme_is_there(target: str) -> None:
    assert re.search(rf"^{target}:", (PROJECT / "Makefile").read_text(), re.MULTILINE)
