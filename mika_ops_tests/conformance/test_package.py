"""What hosts get of ``mika_ops_testing``: it is in the wheel, documented, and needs no development package."""

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pathspec import GitIgnoreSpec

from mika_ops_testing import conformance
from mika_ops_tests.conformance.running import names_of_tests

PROJECT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())
PAGE = (PROJECT / "docs" / "own-host.md").read_text(encoding="utf-8")
SUITES = [getattr(conformance, name) for name in conformance.__all__ if name.endswith("Conformance")]

MY_SHOP = """
from examples.own_host_documents import Documents

class MyDocuments(Documents):
    def __init__(self, path, documents):
        path.touch()
        super().__init__(*documents)
"""
"""The module that the page's example tests."""


def shipped() -> list[Path]:
    """Return the modules of ``mika_ops_testing`` that are in the wheel."""
    left_out = GitIgnoreSpec.from_lines(PYPROJECT["tool"]["hatch"]["build"]["exclude"])
    modules = sorted((PROJECT / "mika_ops_testing").rglob("*.py"))
    return [path for path in modules if not left_out.match_file(str(path.relative_to(PROJECT)))]


def imported_by(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)


def module_of(path: Path) -> str:
    name = ".".join(path.relative_to(PROJECT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def test_the_wheel_has_the_suites_and_the_builders_alone() -> None:
    outside = {module_of(path) for path in shipped() if "conformance" not in path.parts}
    assert outside == {"mika_ops_testing", "mika_ops_testing.builders"}
    inside = {path.name for path in (PROJECT / "mika_ops_testing" / "conformance").glob("*.py")}
    assert {path.name for path in shipped() if "conformance" in path.parts} == inside


def test_what_is_shipped_needs_mika_ops_and_pytest_alone() -> None:
    ours = {module_of(path) for path in shipped()}
    needed = {"pytest", *(re.split(r"[\[<>=]", line)[0] for line in PYPROJECT["project"]["dependencies"])}
    foreign = {
        (module_of(path), name)
        for path in shipped()
        for name in imported_by(path)
        if name not in ours and name.partition(".")[0] not in {"mika_ops", *needed, *sys.stdlib_module_names}
    }
    assert foreign == set()
    assert [line.partition(">")[0] for line in PYPROJECT["project"]["optional-dependencies"]["testing"]] == ["pytest"]


def test_the_page_lists_every_suite() -> None:
    listed = re.findall(r"^\| `(\w+Conformance)` \|", PAGE, re.MULTILINE)
    assert sorted(listed) == sorted(suite.__name__ for suite in SUITES)


@pytest.mark.parametrize("suite", SUITES)
def test_what_a_host_defines_for_a_suite_is_on_its_row_of_the_page(suite: type) -> None:
    (row,) = re.findall(rf"^\| `{suite.__name__}` \|.*$", PAGE, re.MULTILINE)
    hooks = [name for name, _ in inspect.getmembers(suite) if not name.startswith(("_", "test_"))]
    assert [name for name in hooks if f"`{name}`" not in row and not name.endswith("webhook_id")] == []


@pytest.mark.parametrize("suite", SUITES)
def test_each_test_of_a_suite_says_which_promise_it_holds(suite: type) -> None:
    silent = [name for name in names_of_tests(suite) if ": " not in str(getattr(suite, name).__doc__)]
    assert silent == []
    assert len(names_of_tests(suite)) > 3


def test_the_example_of_the_page_runs(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(# test_my_shop\.py\n.*?)```", PAGE, re.DOTALL)
    (tmp_path / "my_shop.py").write_text(MY_SHOP)
    (tmp_path / "test_my_shop.py").write_text(example)
    ended = run_pytest(tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{len(re.findall('PASSED', ended.stdout))} passed" in ended.stdout


def test_a_class_without_its_fixture_says_what_to_define(tmp_path: Path) -> None:
    (tmp_path / "test_my_shop.py").write_text(
        "from mika_ops_testing.conformance import EmailSenderConformance\n"
        "class TestMySender(EmailSenderConformance):\n    pass\n"
    )
    ended = run_pytest(tmp_path)
    assert ended.returncode == 1
    assert "define the fixture sender in your test class; it returns an EmailSender" in ended.stdout


def test_a_failure_is_shown_with_its_advice_and_values(tmp_path: Path) -> None:
    (tmp_path / "test_my_shop.py").write_text(
        "import pytest\n"
        "from mika_ops_testing.conformance import EmailSenderConformance\n"
        "class TestMySender(EmailSenderConformance):\n"
        "    @pytest.fixture\n"
        "    def sender(self):\n"
        "        class MySender:\n"
        "            def send(self, envelope):\n"
        "                return 'sent'\n"
        "        return MySender()\n"
    )
    ended = run_pytest(tmp_path, "-k", "test_an_accepted_email and plain")
    assert "1 failed" in ended.stdout
    assert "send must return mika_ops.ports.SendResult, also without a provider's id" in ended.stdout
    assert "expected: SendResult" in ended.stdout
    assert "returned: str" in ended.stdout


def run_pytest(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder of its own, as a host does."""
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "--rootdir", str(folder), *options]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{folder}:{PROJECT}"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
