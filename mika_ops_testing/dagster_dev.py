"""A real ``dagster dev`` in its own process group, and a client of its GraphQL API."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

T = TypeVar("T")

WARNS = re.compile(r"warn|error|exception|traceback|deprecat|supersed", re.IGNORECASE)

# gRPC's C library writes the severity as the first letter. Its information may hold the word "error": a client that is
# open while the server stops reports "err=UNAVAILABLE".
GRPC_INFORMATION = re.compile(r"I\d{4} \d\d:\d\d:\d\d\.")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@dataclass
class DagsterDev:
    """A running ``dagster dev``."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    seen: set[Any] = field(default_factory=set)

    def ask(self, query: str, **variables: Any) -> Any:
        answer = httpx.post(
            f"http://127.0.0.1:{self.port}/graphql", json={"query": query, "variables": variables}, timeout=20
        ).json()
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def wait_for(self, what: str, poll: Callable[[], T | None], *, seconds: float) -> T:
        """Poll until there is a result; fail after so many seconds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"dagster dev ended: {self.output()}"
            try:
                found = poll()
            except httpx.TransportError:
                found = None
            if found is not None:
                return found
            time.sleep(0.25)
        raise AssertionError(f"no {what} after {seconds} s: {self.output()}")

    def family(self) -> list[Any]:
        """Return the process and all its descendants."""
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def stop(self, number: signal.Signals) -> int:
        """Ask it to stop; return its exit code."""
        self.process.send_signal(number)
        # Dagster's code server gives calls that are under way sixty seconds by itself.
        return self.process.wait(timeout=90)

    def output(self) -> str:
        return self.log.read_text()

    def warnings(self) -> list[str]:
        """Return the lines of its output that hold a warning."""
        lines = self.output().splitlines()
        return [line for line in lines if WARNS.search(line) and not GRPC_INFORMATION.match(line)]


@contextmanager
def dagster_dev(
    command: Sequence[str], port: int, folder: Path, environment: Mapping[str, str]
) -> Iterator[DagsterDev]:
    """Run a command that serves Dagster's UI on a port; kill all its processes at the end."""
    log = folder / "dagster-dev.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603
            command, cwd=folder, env={**os.environ, **environment}, stdout=output, stderr=output, process_group=0
        )
    dev = DagsterDev(process, port, log)
    started: list[Any] = []
    try:
        # Two minutes: on a busy machine, the three services of Dagster alone take one to import.
        dev.wait_for("answer", lambda: dev.ask("{ version }"), seconds=120)
        started = dev.family()
        yield dev
    finally:
        # A start that fails leaves services behind as well, and a service may have lost its parent by now.
        if process.poll() is None:
            started += dev.family()
        for service in started:
            if service.is_running():
                service.kill()
        process.wait()


def still_running(processes: Sequence[Any], *, seconds: float = 10) -> list[Any]:
    """Return which processes do not end within so many seconds."""
    _gone, alive = psutil.wait_procs(processes, timeout=seconds)
    return [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
