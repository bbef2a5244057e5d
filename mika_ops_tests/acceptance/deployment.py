"""What ``deploy/docker/compose.yaml`` starts, without Docker: the same commands, environment and files.

In the place of containers there are processes, in the place of its Postgres an embedded one, and in the place of the
shop the demo's. ``deploy/docker/check`` and ``make deploy-check`` run it to the end; tests look closer.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any, Final, TypeVar

import click
import yaml
from rich.console import Console
from sqlalchemy import create_engine

from mika_ops.clock import utc_now
from mika_ops.demo.embedded_postgres import create_database, embedded_postgres
from mika_ops.demo.shop import demo_shop
from mika_ops.store.schema.own import own
from mika_ops.store.schema.site import create_site
from mika_ops_testing.dagster_dev import DagsterDev, free_port, still_running

T = TypeVar("T")

PROJECT: Final = Path(__file__).resolve().parents[2]
DOCKER: Final = PROJECT / "deploy" / "docker"
COMPOSE: Final = DOCKER / "compose.yaml"

WITHOUT_DOCKER: Final = ("storage",)
"""The services that something else stands in for."""

RUNS: Final = """{ runsOrError(filter: {pipelineName: "mika_maintenance"}) { ... on Runs {
  results { runId status tags { key value } } } } }"""
SENSOR: Final = """query($selector: SensorSelector!) { sensorOrError(sensorSelector: $selector) { ... on Sensor {
  sensorState { ticks(limit: 1) { status } } } } }"""
OF_OURS: Final = {"repositoryLocationName": "mika-ops", "repositoryName": "__repository__"}


@dataclass
class Service:
    """One service of the file, as a process."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    environment: Mapping[str, str]
    healthcheck: list[str]
    grace_seconds: float

    def health(self) -> bool | None:
        """Run the service's healthcheck; ``None`` where it fails."""
        if self.process.poll() is not None:
            raise click.ClickException(f"{self.name} ended: {self.log.read_text()}")
        checked = subprocess.run(self.healthcheck, env=self.environment, capture_output=True, check=False)  # noqa: S603
        return checked.returncode == 0 or None

    def stop(self) -> int:
        """Ask it to stop, as Docker does; return its exit code, or that of a kill after its time of grace."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(self.grace_seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@dataclass
class Deployment:
    """The services, by name, once they are healthy."""

    folder: Path
    services: dict[str, Service] = field(default_factory=dict)
    port: int = field(default_factory=free_port)

    @property
    def dagster(self) -> DagsterDev:
        """Dagster's GraphQL."""
        webserver = self.services["webserver"]
        return DagsterDev(webserver.process, self.port, webserver.log)

    def runs(self) -> list[dict[str, Any]]:
        """Return the runs of maintenance, newest first."""
        runs: list[dict[str, Any]] = self.dagster.ask(RUNS)["runsOrError"]["results"]
        return runs

    def scheduled_run(self, status: str = "SUCCESS") -> dict[str, Any] | None:
        """Return a run that the schedule launched and that has come so far."""
        for run in self.runs():
            if run["status"] == status and any(tag["key"] == "dagster/schedule_name" for tag in run["tags"]):
                return run
        return None

    def has_ticked(self, sensor: str) -> bool | None:
        """Say whether a sensor has ticked; ``None`` where it has not."""
        found = self.dagster.ask(SENSOR, selector={**OF_OURS, "sensorName": sensor})["sensorOrError"]
        return bool(found["sensorState"]["ticks"]) or None

    def stop(self) -> dict[str, int]:
        """Stop all services, the last first; return their exit codes."""
        return {name: self.services[name].stop() for name in reversed(self.services)}


@contextmanager
def deployed(
    folder: Path, *, module: str = "mika_ops.definitions", more: Mapping[str, str] | None = None
) -> Iterator[Deployment]:
    """Start the services one after the other, each once those it depends on are healthy; in the end none is left.

    ``module``: the code location, in the place of the file's own. ``more``: more environment.
    """
    deployment = Deployment(folder)
    with ExitStack() as stack:
        server_url = stack.enter_context(embedded_postgres(folder / "postgres"))
        storage = create_database(server_url, "dagster").replace("+psycopg:", "+psycopg2:")
        standing_in = {
            "/opt/dagster": str(_home(folder)),
            "/run/secrets": str(_secrets(folder)),
            "0.0.0.0": "127.0.0.1",  # noqa: S104
            "127.0.0.1:3000": f"127.0.0.1:{deployment.port}",
            "mika_ops.definitions": module,
        }
        exact = {"4000": str(free_port()), "3000": str(deployment.port), "code": "127.0.0.1"}

        def here(text: str) -> str:
            for theirs, ours in standing_in.items():
                text = text.replace(theirs, ours)
            return exact.get(text, text)

        for name, service in _in_order(yaml.safe_load(COMPOSE.read_text())["services"]):
            environment = {key: here(value) for key, value in service["environment"].items()}
            environment.pop("DAGSTER_POSTGRES_PASSWORD_FILE")
            environment |= {"DAGSTER_POSTGRES_URL": storage, "DAGSTER_HOME": here("/opt/dagster"), **_of_this_process()}
            environment |= more or {}
            if name == "code":
                environment["MIKA_EMAIL_DIRECTORY"] = str(folder / "emails")
            command = [str(DOCKER / "entrypoint"), *map(here, service["command"])]
            check = [here(word) for word in service["healthcheck"]["test"][1:]]
            grace = float(str(service.get("stop_grace_period", "10s")).removesuffix("s"))
            started = stack.enter_context(_process(name, command, folder, environment))
            running = deployment.services[name] = Service(name, *started, environment, check, grace)
            wait_for(f"healthy {name}", running.health, seconds=90)
        yield deployment


def wait_for(what: str, look: Callable[[], T | None], *, seconds: float) -> T:
    """Look again and again until there is something. Raises ``click.ClickException`` after so many seconds."""
    deadline = time.monotonic() + seconds
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise click.ClickException(f"no {what} after {seconds:.0f} s")
        time.sleep(0.5)
    return found


def _in_order(services: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the services, each after those that it depends on."""
    done: list[str] = list(WITHOUT_DOCKER)
    while len(done) < len(services):
        done += [name for name in services if name not in done and set(services[name]["depends_on"]) <= set(done)]
    return [(name, services[name]) for name in done if name not in WITHOUT_DOCKER]


def _home(folder: Path) -> Path:
    home = folder / "home"
    (home / "storage").mkdir(parents=True)
    for file in (PROJECT / "deploy" / "dagster.yaml", DOCKER / "workspace.yaml"):
        (home / file.name).write_bytes(file.read_bytes())
    return home


def _secrets(folder: Path) -> Path:
    """Make the demo's shop, and the folder with its address."""
    url = f"sqlite:///{folder / 'shop.db'}"
    engine = create_engine(url)
    with engine.begin() as connection:
        create_site(connection)
        own.create_all(connection)
        demo_shop(utc_now()).write(connection)
    engine.dispose()
    secrets = folder / "secrets"
    secrets.mkdir()
    (secrets / "mika_database_url").write_text(url)
    return secrets


def _of_this_process() -> dict[str, str]:
    """Return what a service cannot do without; by the folder, the reaper knows what belongs to a test run."""
    return {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "TMPDIR": gettempdir()}


@contextmanager
def _process(
    name: str, command: list[str], folder: Path, environment: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)  # noqa: S603
    try:
        yield process, log
    finally:
        process.kill()
        process.wait()


@click.command()
def main() -> None:
    """Start all of it, have it run maintenance as scheduled, and stop it."""
    console = Console()

    def says(what: str) -> None:
        console.print(f"[green]✓[/green] {what}")

    with TemporaryDirectory(prefix="mika-ops-deploy-") as directory:
        folder = Path(directory)
        with deployed(folder) as running:
            says(f"healthy, one after the other: {', '.join(running.services)}")
            run = wait_for("scheduled run that succeeded", running.scheduled_run, seconds=150)
            says(f"the daemon launched run {run['runId'][:8]} as scheduled, the code server ran it, and it succeeded")
            emails = len(list((folder / "emails").glob("*.eml")))
            if not emails:
                raise click.ClickException("the run sent none of the shop's emails")
            says(f"{emails} emails of the shop were written")
            wait_for("tick of the alerts", lambda: running.has_ticked("mika_maintenance_alerts"), seconds=90)
            says("the sensor of the alerts ticks")
            family = [child for service in running.services.values() for child in _family(service)]
            codes = running.stop()
            if any(codes.values()):
                raise click.ClickException(f"not all stopped in order, by exit code: {codes}")
            if left := still_running(family):
                raise click.ClickException(f"left behind: {left}")
            says("all stopped in order, and nothing is left")


def _family(service: Service) -> list[Any]:
    import psutil

    parent = psutil.Process(service.process.pid)
    return [parent, *parent.children(recursive=True)]


if __name__ == "__main__":
    main()
