"""A run of the tests leaves no process and no temporary file behind, however it ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pytest

from mika_ops_testing.dagster_dev import still_running
from mika_ops_testing.waiting import wait_until

PROJECT = Path(__file__).resolve().parents[1]

TESTS = """
import os, subprocess, sys, time
from pathlib import Path

SLEEP = "import time; time.sleep(600)"
START = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]], start_new_session=True)"

def test_that_starts_a_server_a_child_and_a_process_that_loses_its_parent(postgres_sites, tmp_path):
    postgres_sites.new()
    (tmp_path / "file").write_text("temporary")
    subprocess.run([sys.executable, "-c", START, SLEEP], check=True)
    subprocess.Popen([sys.executable, "-c", SLEEP])

def test_that_is_interrupted():
    ready = Path("{ready}")
    ready.write_text(str(os.getpid()))
    while ready.exists():
        time.sleep(0.05)
"""


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Return a folder for temporary files whose path is short enough for the socket of a server."""
    with TemporaryDirectory() as directory:
        yield Path(directory).resolve()


@contextmanager
def run_of_tests(folder: Path, temporary: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start a run; yield it, and the id of the process that executes the tests, once one of them can be interrupted."""
    ready = folder / "ready"
    (folder / "test_run.py").write_text(TESTS.replace("{ready}", str(ready)))
    plugins = ["-p", "mika_ops_tests.conftest", "-p", "no:cacheprovider"]
    with (
        (folder / "output").open("wb") as output,
        subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "pytest", *plugins, "--rootdir", str(folder), *options, str(folder / "test_run.py")],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(PROJECT), "TMPDIR": str(temporary)},
            stdout=output,
            stderr=output,
            text=True,
        ) as run,
    ):
        wait_until(lambda: ready.exists() and ready.read_text() != "", what=f"a test that runs, see {output.name}")
        yield run, int(ready.read_text())


def processes_that_use(temporary: Path) -> list[Any]:
    """Return the processes whose temporary files lie in the folder, and their children."""
    found: set[Any] = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if Path(process.environ().get("TMPDIR", "")).is_relative_to(temporary):
                found |= {process, *process.children(recursive=True)}
    return list(found)


def leaves_nothing(temporary: Path, started: list[Any]) -> None:
    wait_until(lambda: not processes_that_use(temporary), what="an end of all processes, the reaper as well")
    assert still_running(started) == []
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "options"),
    [
        pytest.param(signal.SIGKILL, [], id="killed"),
        pytest.param(signal.SIGINT, ["-n1"], id="Ctrl-C", marks=pytest.mark.thorough),
        pytest.param(signal.SIGTERM, ["-n1"], id="terminated", marks=pytest.mark.thorough),
    ],
)
def test_a_run_that_is_interrupted_leaves_nothing(
    tmp_path: Path, temporary: Path, number: signal.Signals, options: list[str]
) -> None:
    with run_of_tests(tmp_path, temporary, *options) as (run, _):
        started = processes_that_use(temporary)
        assert "postgres" in {process.name() for process in started}
        run.send_signal(number)
        run.wait(timeout=60)

    leaves_nothing(temporary, started)


@pytest.mark.thorough
def test_a_run_whose_worker_is_killed_leaves_nothing(tmp_path: Path, temporary: Path) -> None:
    with run_of_tests(tmp_path, temporary, "-n1") as (run, worker):
        started = processes_that_use(temporary)
        os.kill(worker, signal.SIGKILL)
        assert run.wait(timeout=60) == 1

    leaves_nothing(temporary, started)


@pytest.mark.thorough
def test_a_run_leaves_nothing_that_its_tests_have_started(tmp_path: Path, temporary: Path) -> None:
    with run_of_tests(tmp_path, temporary) as (run, _):
        started = processes_that_use(temporary)
        (tmp_path / "ready").unlink()
        assert run.wait(timeout=60) == 0

    leaves_nothing(temporary, started)
