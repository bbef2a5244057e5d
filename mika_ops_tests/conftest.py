"""The two databases, for every test that wants one: fresh, laid out as a site's, and empty."""

import atexit
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
from mika_ops_testing.reaper import Reaper
from mika_ops_testing.sites import DatabaseKind, Sites, sites

SHARED = Path(__file__).resolve().parents[2] / "shared"
"""Reference material beside the project, where there is some; tests that read it are skipped elsewhere."""

_DATABASE_FIXTURES = frozenset({"database", "url", "kind", "sqlite_sites", "postgres_sites"})


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--thorough", action="store_true", help="Include the end-to-end runs, series and repeats of CI.")
    parser.addoption("--long", action="store_true", help="Break things a hundred times, and in every way.")
    parser.addoption("--pure", action="store_true", help="Leave out every test that uses a database.")


def pytest_configure(config: pytest.Config) -> None:
    """Load the hypothesis profile, have what the tests start react to interrupts, and leave nothing behind.

    A shell that starts pytest in the background makes it ignore interrupts. No profile has a deadline: no test may
    fail because a machine is slow. The workers of a run in parallel share the reaper of their controller.
    """
    settings.register_profile("fast", deadline=None, max_examples=20)
    settings.register_profile("thorough", deadline=None, max_examples=50)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):
        # Last of all: an embedded Postgres has work to do at exit as well, and it was imported later.
        atexit.register(Reaper().finish)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only a larger run includes; see the options above and docs/testing.md."""
    left_out = []
    if not config.getoption("--long"):
        left_out += [item for item in items if item.get_closest_marker("long")]
        if not config.getoption("--thorough"):
            left_out += [item for item in items if item.get_closest_marker("thorough")]
    if config.getoption("--pure"):
        left_out += [item for item in items if _DATABASE_FIXTURES.intersection(getattr(item, "fixturenames", ()))]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


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
