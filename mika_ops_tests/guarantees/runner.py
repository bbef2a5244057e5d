"""Runs of ``mika_maintenance``, each in a process of its own that is there within milliseconds, to be killed.

``python -m mika_ops_tests.guarantees.runner`` imports everything once. For each line that it is given, a JSON object of
settings and ``now``, it forks a process that runs the job; it prints the process's id, and its end once it has ended.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mika_ops.config.shop import Shop

PROJECT = Path(__file__).resolve().parents[2]

INSTANCE = """
telemetry: {enabled: false}
compute_logs: {module: dagster._core.storage.noop_compute_log_manager, class: NoOpComputeLogManager}
"""
"""Without Dagster's capture of what a run prints, which starts processes that a kill would leave behind."""


@dataclass
class Run:
    """One run under way."""

    pid: int
    runner: "Runner"

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self) -> int:
        """Return the run's exit code: 0 it succeeded, 1 it did not, negative it was ended by that signal."""
        return int(self.runner.read_line())


class Runner:
    """Starts runs, one at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(self, settings: dict[str, Any], *, now: str) -> Run:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"settings": settings, "now": now}) + "\n")
        self._process.stdin.flush()
        return Run(int(self.read_line()), self)

    def read_line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@contextmanager
def runner(home: Path) -> Iterator[Runner]:
    """Have runs kept in the history in ``home``."""
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text(INSTANCE)
    with subprocess.Popen(
        [sys.executable, "-m", "mika_ops_tests.guarantees.runner"],
        cwd=PROJECT,
        env={**os.environ, "DAGSTER_HOME": str(home)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield Runner(process)
        finally:
            process.kill()


def main() -> None:
    """Fork a run for each line."""
    from mika_ops.config.loading import isolated_settings
    from mika_ops.orchestration.maintenance.job import maintenance_job
    from mika_ops.orchestration.run_once import run_once

    maintenance_job()  # imports Dagster
    for line in sys.stdin:
        asked = json.loads(line)
        pid = os.fork()
        if pid == 0:
            report = run_once(Shop(isolated_settings(**asked["settings"])), now=asked["now"])
            os._exit(0 if report.success else 1)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
