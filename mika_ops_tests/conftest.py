"""The two databases, for every test that wants one: fresh, laid out as a site's, and empty."""

import gc
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import settings

from mika_ops.clock import Clock
from mika_ops.store.database import Database
from mika_ops.store.opening import open_database
from mika_ops_testing.sites import DatabaseKind, Sites, sites

SHARED = Path(__file__).resolve().parents[2] / "shared"
"""Reference material beside the project, where there is some; tests that read it are skipped elsewhere."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="Break things a hundred times, and in every way.")


def pytest_configure() -> None:
    """Have no test fail for a machine that is slow, and what tests start heed interrupts.

    A shell that starts pytest in the background has it ignore them.
    """
    settings.register_profile("any machine", deadline=None)
    settings.load_profile("any machine")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what shows nothing new and takes its time, unless it was asked for."""
    if config.getoption("--long"):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]


def pytest_collection_finish() -> None:
    """Have no test's garbage looked for in what is loaded by now, which lives to the end: a tenth of all the time."""
    gc.freeze()


@pytest.fixture(scope="session")
def sqlite_sites() -> Iterator[Sites]:
    with sites("sqlite") as made:
        yield made


@pytest.fixture(scope="session")
def postgres_sites() -> Iterator[Sites]:
    with sites("postgres") as made:
        yield made


@pytest.fixture(params=["sqlite", "postgres"])
def kind(request: pytest.FixtureRequest) -> DatabaseKind:
    """Run the test on each kind of database."""
    kind: DatabaseKind = request.param
    return kind


@pytest.fixture
def url(kind: DatabaseKind, request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the URL of an empty site."""
    made: Sites = request.getfixturevalue(f"{kind}_sites")
    new = made.new()
    yield new
    made.drop(new)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """Open an empty site."""
    with open_database(url) as opened:
        yield opened


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still at ``builders.NOW``."""
    return Clock.fixed(datetime(2026, 3, 1, 12, tzinfo=UTC))


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the tests from the settings of whoever runs them."""
    for name in list(os.environ):
        if name.startswith(("MIKA_", "DAGSTER_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
