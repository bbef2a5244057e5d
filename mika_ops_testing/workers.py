"""A Redis server and Celery workers as processes, and runs of the job that they share."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from mika_ops_testing.dagster_dev import free_port
from mika_ops_testing.waiting import wait_until

PROJECT = Path(__file__).resolve().parents[1]

INSTANCE = "telemetry: {enabled: false}\npython_logs: {managed_python_loggers: [mika_ops], python_log_level: INFO}\n"


@dataclass
class Worker:
    """One Celery worker, which runs one task at a time."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return " ready." in self.log.read_text()

    def kill(self) -> None:
        """Kill it and the process of its task, as if its node were lost."""
        family = [*psutil.Process(self.process.pid).children(recursive=True), self.process]
        for each in family:
            each.send_signal(signal.SIGKILL)
        self.process.wait()


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """Run a Redis server; yield its address."""
    port = free_port()
    command = [shutil.which("redis-server") or "redis-server", "--port", str(port), "--bind", "127.0.0.1"]
    with subprocess.Popen(  # noqa: S603
        [*command, "--save", "", "--appendonly", "no", "--dir", str(folder)], stdout=subprocess.DEVNULL
    ) as server:
        try:
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.terminate()


@contextmanager
def workers(count: int, folder: Path, environment: Mapping[str, str]) -> Iterator[list[Worker]]:
    """Run so many workers; yield them once they take tasks."""
    with ExitStack() as stack:
        started = [stack.enter_context(_worker(number, folder, environment)) for number in range(count)]
        wait_until(lambda: all(worker.is_ready() for worker in started), what="workers that take tasks", seconds=120)
        yield started


@contextmanager
def _worker(number: int, folder: Path, environment: Mapping[str, str]) -> Iterator[Worker]:
    name = f"worker-{number}"
    log = folder / f"{name}.log"
    app = ["--app", "mika_ops.orchestration.celery_workers"]
    options = ["--concurrency", "1", "--hostname", f"{name}@%h", "--loglevel", "INFO"]
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "celery", *app, "worker", *options, "--without-gossip", "--without-mingle"],
            cwd=PROJECT,
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
        )
    worker = Worker(name, process, log)
    try:
        yield worker
    finally:
        if process.poll() is None:
            worker.kill()


def start_run(module: str, folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a run of the job of a code location."""
    (folder / "dagster.yaml").write_text(INSTANCE)
    with (folder / "run.log").open("wb") as output:
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "dagster", "job", "execute", "--module-name", module, "--job", "mika_maintenance"],
            cwd=PROJECT,
            env={**os.environ, **environment, "DAGSTER_HOME": str(folder)},
            stdout=output,
            stderr=output,
        )
