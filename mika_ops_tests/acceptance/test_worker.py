"""A Cloudflare Worker can start maintenance, by Dagster's GraphQL."""

import json
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from dagster_graphql.schema import create_schema
from sqlalchemy import create_engine

from mika_ops.config.cron import require_cron
from mika_ops.demo.shop import demo_shop
from mika_ops.orchestration.maintenance.job import JOB_NAME
from mika_ops_testing.dagster_dev import DagsterDev, dagster_dev, free_port
from mika_ops_testing.sites import Sites
from mika_ops_tests.acceptance.test_schedulers import PROJECT, SCHEDULERS

PLANNED = datetime(2100, 1, 1, 12, tzinfo=UTC)
"""When the demo's shop has work to do: nothing of it is due before, so that what is done shows a run's clock."""

WORKER = SCHEDULERS / "worker" / "index.mjs"

TICK = """
// Calls the Worker as Cloudflare does, so many times in succession, and says what it logged and how it ended.
const { worker, scheduledTime, env, ticks, moved } = JSON.parse(process.argv[1]);
const { default: handler } = await import(worker);
const logs = [];
for (const level of ["log", "info", "warn", "error"]) console[level] = (...said) => logs.push(said.join(" "));
const send = globalThis.fetch;
globalThis.fetch = (url, options) => send(moved ? String(url).replace(moved[0], moved[1]) : url, options);
let error = null;
try {
  for (let tick = 0; tick < ticks; tick++) {
    await handler.scheduled({ scheduledTime, cron: "* * * * *" }, env, { waitUntil() {} });
  }
} catch (thrown) {
  error = thrown.message;
}
process.stdout.write(JSON.stringify({ logs, error }));
"""


@dataclass(frozen=True)
class TickResult:
    """What a Worker logged, and the sentence that it threw."""

    logs: list[str]
    error: str | None


def tick(env: Mapping[str, str], *, ticks: int = 1, moved: tuple[str, str] | None = None) -> TickResult:
    """Have Node call the Worker for the planned time. ``moved``: call a second address in the place of the first."""
    call = {
        "worker": WORKER.as_uri(),
        "scheduledTime": PLANNED.timestamp() * 1000,
        "env": env,
        "ticks": ticks,
        "moved": moved,
    }
    command = ["node", "--input-type=module", "--eval", TICK, json.dumps(call)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)  # noqa: S603
    assert (done.returncode, done.stderr) == (0, "")
    return TickResult(**json.loads(done.stdout))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dagster")
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(PROJECT / name, folder)
    return folder


@pytest.fixture(scope="module")
def dev(home: Path, sqlite_sites: Sites) -> Iterator[DagsterDev]:
    url = sqlite_sites.new()
    engine = create_engine(url)
    with engine.begin() as connection:
        demo_shop(PLANNED).write(connection)
    engine.dispose()
    port = free_port()
    environment = {
        "DAGSTER_HOME": str(home),
        "MIKA_DATABASE_URL": url,
        "MIKA_EMAIL_DIRECTORY": str(home / "emails"),
        "MIKA_MAINTENANCE_ENABLED": "false",
    }
    command = [sys.executable, "-m", "dagster", "dev", "-h", "127.0.0.1", "-p", str(port)]
    with dagster_dev(command, port, home, environment) as running:
        yield running


@pytest.fixture
def env(dev: DagsterDev) -> dict[str, str]:
    variables: dict[str, str] = tomllib.loads((WORKER.parent / "wrangler.toml").read_text())["vars"]
    return {**variables, "DAGSTER_URL": f"http://127.0.0.1:{dev.port}/"}


@pytest.mark.thorough
class TestCloudflareAndARealDagster:
    def runs(self, dev: DagsterDev) -> dict[str, Any]:
        found = dev.ask("{ runsOrError { ... on Runs { results { runId status runConfigYaml tags { key value } } } } }")
        return {run["runId"]: run for run in found["runsOrError"]["results"]}

    def ended(self, dev: DagsterDev, run_id: str) -> Any:
        """Return a run once it has ended."""

        def look() -> Any:
            run = self.runs(dev)[run_id]
            return run if run["status"] in ("SUCCESS", "FAILURE", "CANCELED") else None

        return dev.wait_for("end of the run", look, seconds=60)

    def launched(self, log: str) -> str:
        found = re.fullmatch(r"Launched run (\S+) of mika_maintenance for 2100-01-01T12:00:00.000Z\.", log)
        assert found is not None, log
        return found.group(1)

    def test_with_maintenance_disabled_dagster_has_no_schedule_of_its_own_beside_the_worker(
        self, dev: DagsterDev
    ) -> None:
        found = dev.ask("{ repositoriesOrError { ... on RepositoryConnection { nodes { schedules { name } } } } }")

        assert found["repositoriesOrError"]["nodes"] == [{"schedules": []}]

    def test_a_tick_launches_a_run_with_the_planned_time_as_its_clock(
        self, dev: DagsterDev, env: dict[str, str], home: Path
    ) -> None:
        result = tick(env)

        assert result.error is None
        (log,) = result.logs
        run = self.ended(dev, self.launched(log))
        assert run["status"] == "SUCCESS"
        assert yaml.safe_load(run["runConfigYaml"]) == {"now": PLANNED}
        assert {"key": "mika/scheduler", "value": "cloudflare"} in run["tags"]
        assert len(list((home / "emails").glob("*.eml"))) == 53

    def test_a_tick_while_a_run_is_in_progress_launches_none(self, dev: DagsterDev, env: dict[str, str]) -> None:
        before = self.runs(dev)

        result = tick(env, ticks=2)

        assert result.error is None
        first, second = result.logs
        launched = self.launched(first)
        assert f"{launched} is in progress" in second
        assert self.ended(dev, launched)["status"] == "SUCCESS"
        assert self.runs(dev).keys() - before.keys() == {launched}

    @pytest.mark.parametrize(
        ("name", "value", "place"),
        [
            ("DAGSTER_JOB", "mika_maintenence", "mika_maintenence of __repository__@mika-ops"),
            ("DAGSTER_LOCATION", "mika", "mika_maintenance of __repository__@mika"),
        ],
    )
    def test_a_job_that_is_not_there_fails_the_tick_with_a_sentence(
        self, dev: DagsterDev, env: dict[str, str], name: str, value: str, place: str
    ) -> None:
        before = self.runs(dev)

        result = tick({**env, name: value})

        assert result.error is not None
        assert result.error.startswith(
            f"Dagster did not launch {place}: PipelineNotFoundError: Could not find Pipeline "
        )
        assert result.logs == []
        assert self.runs(dev).keys() == before.keys()


Answer = Callable[[str], tuple[int, Mapping[str, str], str]]
"""What a server answers to a GraphQL query: status, headers, body."""


def data(**fields: Any) -> tuple[int, Mapping[str, str], str]:
    return 200, {"Content-Type": "application/json"}, json.dumps({"data": fields})


def idle(launch: Mapping[str, Any]) -> Answer:
    """Answer as a Dagster without a run in progress, which answers to a launch with this."""
    nothing_runs = {"__typename": "Runs", "results": []}
    return lambda query: data(launchRun=launch) if "launchRun" in query else data(runsOrError=nothing_runs)


@dataclass
class Requests:
    """What a server was asked, in order."""

    url: str
    bodies: list[Any] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


@contextmanager
def server(answer: Answer) -> Iterator[Requests]:
    """Run a server in the place of Dagster."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.bodies.append(body)
            asked.headers.append(dict(self.headers))
            self.answer(*answer(body["query"]))

        def do_GET(self) -> None:
            asked.headers.append(dict(self.headers))
            self.answer(200, {}, "a login page")

        def answer(self, status: int, headers: Mapping[str, str], body: str) -> None:
            asked.paths.append(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body.encode())), "Connection": "close"}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        asked = Requests(f"http://127.0.0.1:{http.server_port}")
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield asked
        http.shutdown()
        thread.join()


PUBLIC = "https://dagster.shop.example"
SECRETS = {
    "ACCESS_CLIENT_ID": "id-of-the-service-token",
    "ACCESS_CLIENT_SECRET": "secret-of-the-service-token",
    "DAGSTER_CLOUD_API_TOKEN": "user:token-of-dagster-plus",
}
LAUNCHED = idle({"__typename": "LaunchRunSuccess", "run": {"runId": "run-17"}})
REFUSALS = sorted(
    {kind.name for kind in create_schema().graphql_schema.get_type("LaunchRunResult").types} - {"LaunchRunSuccess"}
)


class TestCloudflareAndTheRest:
    def tick_with_secrets(self, dagster: Requests) -> TickResult:
        """Have the Worker call an address with TLS, and the server take that call."""
        return tick({"DAGSTER_URL": PUBLIC, **SECRETS}, moved=(PUBLIC, dagster.url))

    def test_its_settings_fit_the_worker_and_this_project(self) -> None:
        settings = tomllib.loads((WORKER.parent / "wrangler.toml").read_text())
        read = set(re.findall(r"\benv\.([A-Z_]+)", WORKER.read_text()))

        assert WORKER.name == settings["main"]
        assert [require_cron(cron) for cron in settings["triggers"]["crons"]] == ["* * * * *"]
        assert settings["workers_dev"] is False
        assert settings["vars"].keys() | SECRETS.keys() == read
        assert settings["vars"].keys().isdisjoint(SECRETS)
        assert settings["vars"]["DAGSTER_JOB"] == JOB_NAME
        (location,) = yaml.safe_load((PROJECT / "workspace.yaml").read_text())["load_from"]
        assert settings["vars"]["DAGSTER_LOCATION"] == location["python_module"]["location_name"]

    def test_a_run_that_was_lost_holds_nobody_back_once_dagster_has_ended_it(self) -> None:
        monitoring = yaml.safe_load((PROJECT / "deploy" / "dagster.yaml").read_text())["run_monitoring"]
        started = time.time()

        with server(LAUNCHED) as dagster:
            tick({"DAGSTER_URL": dagster.url})

        considered_since = dagster.bodies[0]["variables"]["filter"]["createdAfter"]
        assert started - 1 <= considered_since + monitoring["max_runtime_seconds"] <= time.time() + 1

    def test_the_secrets_go_into_headers_and_nowhere_else(self) -> None:
        with server(LAUNCHED) as dagster:
            result = self.tick_with_secrets(dagster)

        assert result == TickResult(["Launched run run-17 of mika_maintenance for 2100-01-01T12:00:00.000Z."], None)
        assert dagster.paths == ["/graphql", "/graphql"]
        for headers in dagster.headers:
            sent = {name.lower(): value for name, value in headers.items()}
            assert sent["cf-access-client-id"] == SECRETS["ACCESS_CLIENT_ID"]
            assert sent["cf-access-client-secret"] == SECRETS["ACCESS_CLIENT_SECRET"]
            assert sent["dagster-cloud-api-token"] == SECRETS["DAGSTER_CLOUD_API_TOKEN"]
        assert [secret for secret in SECRETS.values() if secret in json.dumps(dagster.bodies)] == []

    def test_without_secrets_no_header_is_sent_for_them(self) -> None:
        with server(LAUNCHED) as dagster:
            result = tick({"DAGSTER_URL": dagster.url})

        assert result.error is None
        assert not {"cf-access-client-id", "dagster-cloud-api-token"} & {name.lower() for name in dagster.headers[0]}

    @pytest.mark.parametrize("refusal", REFUSALS)
    def test_every_refusal_that_dagster_knows_fails_the_tick_with_its_name_and_reason(self, refusal: str) -> None:
        reason = (
            {"errors": [{"message": "no such field:\n  nwo"}, {"message": "did you mean now?"}]}
            if refusal == "RunConfigValidationInvalid"
            else {"message": "no such field:\n  nwo; did you mean now?\n"}
        )

        with server(idle({"__typename": refusal, **reason})) as dagster:
            result = tick({"DAGSTER_URL": dagster.url})

        assert result.logs == []
        assert result.error == (
            f"Dagster did not launch mika_maintenance of __repository__@mika-ops: {refusal}: "
            "no such field: nwo; did you mean now?"
        )

    def test_where_dagster_cannot_say_what_is_running_nothing_is_launched(self) -> None:
        failed = {"__typename": "PythonError", "message": "the history is locked"}

        with server(lambda _query: data(runsOrError=failed)) as dagster:
            result = tick({"DAGSTER_URL": dagster.url})

        assert result.error == (
            "Dagster cannot say whether mika_maintenance is running: PythonError: the history is locked"
        )
        assert len(dagster.bodies) == 1

    @pytest.mark.parametrize(
        ("answer", "sentence"),
        [
            ((302, {"Location": "/login"}, ""), "asks for a login"),
            ((403, {}, "<html>"), "refuses the credentials (403)"),
            ((401, {}, "<html>"), "refuses the credentials (401)"),
            ((502, {}, "<html>"), "answered with 502 and not as Dagster does"),
            ((200, {}, "<html>"), "answered with 200 and not as Dagster does"),
            ((200, {}, "null"), "answered with 200 and not as Dagster does"),
            ((400, {}, '{"errors": [{"message": "Cannot query field"}]}'), "the query: Cannot query field"),
        ],
        ids=["login", "forbidden", "unauthorized", "bad-gateway", "page", "null", "graphql"],
    )
    def test_whoever_answers_in_dagsters_place_fails_the_tick_and_learns_and_tells_no_secret(
        self, answer: tuple[int, Mapping[str, str], str], sentence: str
    ) -> None:
        with server(lambda _query: answer) as dagster:
            result = self.tick_with_secrets(dagster)

        assert result.error is not None
        assert sentence in result.error
        assert dagster.paths == ["/graphql"]
        assert [secret for secret in SECRETS.values() if secret in result.error] == []

    @pytest.mark.parametrize(
        ("env", "sentence"),
        [
            ({}, "DAGSTER_URL is no address: write it as https://dagster.shop.example"),
            ({"DAGSTER_URL": "dagster"}, "DAGSTER_URL is no address: write it as https://dagster.shop.example"),
            (
                {"DAGSTER_URL": "https://me:pa55@dagster.shop.example"},
                "DAGSTER_URL holds a login, which would be seen in logs: use the secrets of this Worker",
            ),
            (
                {"DAGSTER_URL": "http://dagster.shop.example", **SECRETS},
                "DAGSTER_URL must start with https:// as secrets are sent there",
            ),
            (
                {"DAGSTER_URL": PUBLIC, "ACCESS_CLIENT_ID": "id"},
                "a service token has two halves: set both ACCESS_CLIENT_ID and ACCESS_CLIENT_SECRET",
            ),
        ],
        ids=["none", "no-address", "login", "no-tls", "half"],
    )
    def test_settings_that_cannot_be_meant_fail_the_tick_before_anything_is_sent(
        self, env: dict[str, str], sentence: str
    ) -> None:
        assert tick(env) == TickResult([], sentence)

    def test_a_dagster_that_is_down_fails_the_tick_naming_its_host(self) -> None:
        port = free_port()

        result = tick({"DAGSTER_URL": f"http://127.0.0.1:{port}"})

        assert result.error == (
            f"Dagster at 127.0.0.1:{port} cannot be reached (TypeError): check DAGSTER_URL and that it is up"
        )
