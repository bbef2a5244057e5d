"""Maintenance can be started by cron, systemd, Kubernetes and Cloudflare with the files in deploy/schedulers."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from configparser import ConfigParser
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

from mika_ops.cli import main
from mika_ops.cron import require_cron
from mika_ops.demo.shop import demo_shop
from mika_ops.orchestration.job import JOB_NAME
from mika_ops.settings import Settings, isolated_settings, load_settings, unknown_variables
from mika_ops_tests.dagster_dev import DagsterDev, dagster_dev, free_port
from mika_ops_tests.sites import Sites

PROJECT = Path(__file__).resolve().parents[1]
SCHEDULERS = PROJECT / "deploy" / "schedulers"
GUIDE = PROJECT / "docs" / "schedulers.md"

PLANNED = datetime(2100, 1, 1, 12, tzinfo=UTC)
"""When the demo's shop has work to do: nothing of it is due before, so that what is done shows a run's clock."""


def of_run(command: Sequence[str]) -> dict[str, Any]:
    """Return what the command ``mika-ops run`` understands of a command line; it refuses options that it has not."""
    program, subcommand, *options = command
    assert (Path(program).name, subcommand) == ("mika-ops", "run")
    return main.commands["run"].make_context("run", options).params


def is_setting(name: str) -> bool:
    return name.removeprefix("MIKA_").lower() in Settings.model_fields


def mika_ops_cron(env_file: Path, path: str) -> subprocess.CompletedProcess[str]:
    command = ["/bin/sh", str(SCHEDULERS / "mika-ops-cron"), str(env_file)]
    return subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True)  # noqa: S603


class TestTheGuide:
    def test_it_names_every_file(self) -> None:
        files = [path for path in SCHEDULERS.rglob("*") if path.is_file()]

        assert len(files) >= 9
        assert [path.name for path in files if f"../{path.relative_to(PROJECT)}" not in GUIDE.read_text()] == []

    def test_its_links_lead_somewhere(self) -> None:
        links = re.findall(r"\]\((?!http)([^)#]+)\)", GUIDE.read_text())

        assert [link for link in links if not (GUIDE.parent / link).exists()] == []

    def test_no_file_names_a_setting_that_there_is_not(self) -> None:
        for path in [GUIDE, *(path for path in SCHEDULERS.rglob("*") if path.is_file())]:
            named = set(re.findall(r"\bMIKA_[A-Z_]+\b", path.read_text()))
            assert [name for name in named if not is_setting(name)] == [], path.name


class TestTheEnvironmentFile:
    def test_a_shell_and_systemd_read_the_same_settings_from_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # systemd takes what stands between single quotes as it is.
        by_systemd = dict(re.findall(r"^(\w+)='([^'\\]*)'$", (SCHEDULERS / "mika-ops.env").read_text(), re.MULTILINE))

        script = 'set -a; . "$0"; exec "$1" -c "import json, os; print(json.dumps(dict(os.environ)))"'
        command = ["/bin/sh", "-c", script, str(SCHEDULERS / "mika-ops.env"), sys.executable]
        read = subprocess.run(command, capture_output=True, check=True)  # noqa: S603

        by_shell = {name: value for name, value in json.loads(read.stdout).items() if name.startswith("MIKA_")}
        assert by_shell == by_systemd
        for name, value in by_shell.items():
            monkeypatch.setenv(name, value)
        assert load_settings().email_from == "Shop <orders@shop.example>"
        assert unknown_variables() == []


class TestCron:
    @pytest.fixture
    def tools(self, tmp_path: Path) -> Path:
        """Return a folder with a ``logger`` that writes into a file beside it, in the place of syslog."""
        folder = tmp_path / "bin"
        folder.mkdir()
        self.program(folder / "logger", 'echo "$*" >> "${0%/*}/../syslog"; cat >> "${0%/*}/../syslog"')
        return folder

    def program(self, path: Path, script: str) -> None:
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def run(self, tools: Path, env_file: str) -> subprocess.CompletedProcess[str]:
        (tools.parent / "env").write_text(env_file)
        path = os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]])
        return mika_ops_cron(tools.parent / "env", path)

    def test_the_crontab_starts_the_script_every_minute_unless_it_is_running(self) -> None:
        (line,) = (line for line in (SCHEDULERS / "crontab").read_text().splitlines() if line.startswith("*"))
        *schedule, user, command = line.split(maxsplit=6)

        assert require_cron(" ".join(schedule)) == "* * * * *"
        assert user == "mika-ops"
        assert command == "flock --nonblock /run/lock/mika-ops.lock mika-ops-cron"
        assert os.access(SCHEDULERS / "mika-ops-cron", os.X_OK)

    def test_a_run_that_ends_well_is_logged_and_mails_nothing(self, tools: Path, sqlite_sites: Sites) -> None:
        done = self.run(tools, f"MIKA_DATABASE_URL='{sqlite_sites.new()}'\n")

        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        options, told = (tools.parent / "syslog").read_text().splitlines()
        assert options == "--size 8192 --tag mika-ops --priority cron.info"
        assert json.loads(told)["success"] is True

    def test_a_wrong_setting_is_logged_as_an_error_and_mailed_in_its_sentence(self, tools: Path) -> None:
        done = self.run(tools, "MIKA_SMTP_URL=smtp://mail.shop.example\n")

        assert done.returncode == 2
        assert "MIKA_SMTP_URL is set without MIKA_EMAIL_FROM" in done.stdout
        assert "MIKA_SMTP_URL is set without MIKA_EMAIL_FROM" in (tools.parent / "syslog").read_text()
        assert "--priority cron.err" in (tools.parent / "syslog").read_text()

    @pytest.mark.parametrize("code", [1, 2, 3])
    def test_a_run_that_does_not_end_well_is_mailed_and_its_exit_code_kept(self, tools: Path, code: int) -> None:
        self.program(tools / "mika-ops", f'echo "called with $*"; echo "on stderr" >&2; exit {code}')

        done = self.run(tools, "")

        assert done.returncode == code
        heading, call, rest = done.stdout.splitlines()
        assert heading == f"mika-ops run exited with {code}:"
        assert of_run(["mika-ops", *call.removeprefix("called with ").split()])["strict"] is True
        assert rest == "on stderr"

    def test_a_run_that_hangs_is_ended_after_ten_minutes_and_mailed(self, tools: Path) -> None:
        self.program(tools / "timeout", 'echo "called with $*"; exit 124')

        done = self.run(tools, "")

        assert done.returncode == 124
        heading, call = done.stdout.splitlines()
        assert heading == "mika-ops run exited with 124:"
        assert call.startswith("called with --kill-after=30s 10m mika-ops run ")

    def test_an_environment_file_that_is_not_there_starts_nothing(self, tools: Path) -> None:
        self.program(tools / "mika-ops", "echo started")

        done = mika_ops_cron(tools / "nowhere", f"{tools}{os.pathsep}{os.environ['PATH']}")

        assert done.returncode != 0
        assert str(tools / "nowhere") in done.stderr
        assert done.stdout == ""


class TestSystemd:
    def unit(self, name: str) -> ConfigParser:
        # A directive may be repeated, and % is systemd's own.
        unit = ConfigParser(strict=False, interpolation=None)
        unit.optionxform = str  # type: ignore[assignment, method-assign]
        unit.read_string((SCHEDULERS / name).read_text())
        return unit

    def test_the_service_runs_maintenance_once_as_a_user_of_its_own(self) -> None:
        service = self.unit("mika-ops.service")["Service"]

        assert service["Type"] == "oneshot"
        assert of_run(service["ExecStart"].split())["strict"] is True
        assert service["User"] != "root"
        assert service["EnvironmentFile"] == "/etc/mika-ops/env"

    def test_a_failed_run_starts_what_tells_of_it(self) -> None:
        told_by = self.unit("mika-ops.service")["Unit"]["OnFailure"]

        assert self.unit(told_by)["Service"]["Type"] == "oneshot"
        assert "mika-ops.service" in self.unit(told_by)["Service"]["ExecStart"]

    def test_the_timer_starts_the_service_at_every_minute_and_makes_up_for_none(self) -> None:
        # A timer starts the service of its own name.
        timer = self.unit("mika-ops.timer")

        assert timer["Timer"]["OnCalendar"] == "*-*-* *:*:00"
        assert timer["Timer"]["AccuracySec"] == "1s"
        assert timer["Timer"]["Persistent"] == "false"
        assert timer["Install"]["WantedBy"] == "timers.target"


class TestKubernetes:
    @pytest.fixture
    def cronjob(self) -> Any:
        return yaml.safe_load((SCHEDULERS / "cronjob.yaml").read_text())["spec"]

    @pytest.fixture
    def pod(self, cronjob: Any) -> Any:
        return cronjob["jobTemplate"]["spec"]["template"]["spec"]

    def test_runs_do_not_overlap_and_one_that_fails_or_hangs_is_not_repeated(self, cronjob: Any) -> None:
        assert require_cron(cronjob["schedule"]) == "* * * * *"
        assert cronjob["concurrencyPolicy"] == "Forbid"
        assert 10 <= cronjob["startingDeadlineSeconds"] < 60
        job = cronjob["jobTemplate"]["spec"]
        assert job["backoffLimit"] == 0
        assert job["activeDeadlineSeconds"] == 600
        assert job["template"]["spec"]["restartPolicy"] == "Never"

    def test_its_command_is_ours_and_its_variables_are_settings_that_fit_together(self, pod: Any) -> None:
        (container,) = pod["containers"]
        secrets = {"MIKA_DATABASE_URL": "postgresql://mika:password@db.shop.example/shop"}
        values = {each["name"]: each.get("value") or secrets.get(each["name"], "password") for each in container["env"]}

        assert of_run(container["command"])["strict"] is True
        assert [name for name in values if not is_setting(name)] == []
        settings = {name.removeprefix("MIKA_").lower(): value for name, value in values.items()}
        assert isolated_settings(**settings).time_budget_seconds < 60

    def test_every_secret_comes_from_a_secret(self, pod: Any) -> None:
        (container,) = pod["containers"]

        from_secrets = {each["name"] for each in container["env"] if "secretKeyRef" in each.get("valueFrom", {})}

        assert from_secrets == {"MIKA_DATABASE_URL", "MIKA_SMTP_PASSWORD", "MIKA_ADMIN_API_TOKEN"}

    def test_it_runs_without_privileges_and_writes_temporary_files_only(self, pod: Any) -> None:
        (container,) = pod["containers"]

        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 - where it is, in a pod
        assert [(volume["name"], "emptyDir" in volume) for volume in pod["volumes"]] == [("tmp", True)]


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
class Told:
    """What a Worker logged, and the sentence that it threw."""

    logs: list[str]
    error: str | None


def tick(env: Mapping[str, str], *, ticks: int = 1, moved: tuple[str, str] | None = None) -> Told:
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
    return Told(**json.loads(done.stdout))


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

    def launched(self, told: str) -> str:
        found = re.fullmatch(r"Launched run (\S+) of mika_maintenance for 2100-01-01T12:00:00.000Z\.", told)
        assert found is not None, told
        return found.group(1)

    def test_with_maintenance_disabled_dagster_has_no_schedule_of_its_own_beside_the_worker(
        self, dev: DagsterDev
    ) -> None:
        found = dev.ask("{ repositoriesOrError { ... on RepositoryConnection { nodes { schedules { name } } } } }")

        assert found["repositoriesOrError"]["nodes"] == [{"schedules": []}]

    def test_a_tick_launches_a_run_with_the_planned_time_as_its_clock(
        self, dev: DagsterDev, env: dict[str, str], home: Path
    ) -> None:
        told = tick(env)

        assert told.error is None
        (log,) = told.logs
        run = self.ended(dev, self.launched(log))
        assert run["status"] == "SUCCESS"
        assert yaml.safe_load(run["runConfigYaml"]) == {"now": PLANNED}
        assert {"key": "mika/scheduler", "value": "cloudflare"} in run["tags"]
        assert len(list((home / "emails").glob("*.eml"))) == 53

    def test_a_tick_while_a_run_is_in_progress_launches_none(self, dev: DagsterDev, env: dict[str, str]) -> None:
        before = self.runs(dev)

        told = tick(env, ticks=2)

        assert told.error is None
        first, second = told.logs
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

        told = tick({**env, name: value})

        assert told.error is not None
        assert told.error.startswith(f"Dagster did not launch {place}: PipelineNotFoundError: Could not find Pipeline ")
        assert told.logs == []
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
    def tick_with_secrets(self, dagster: Requests) -> Told:
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
            told = self.tick_with_secrets(dagster)

        assert told == Told(["Launched run run-17 of mika_maintenance for 2100-01-01T12:00:00.000Z."], None)
        assert dagster.paths == ["/graphql", "/graphql"]
        for headers in dagster.headers:
            sent = {name.lower(): value for name, value in headers.items()}
            assert sent["cf-access-client-id"] == SECRETS["ACCESS_CLIENT_ID"]
            assert sent["cf-access-client-secret"] == SECRETS["ACCESS_CLIENT_SECRET"]
            assert sent["dagster-cloud-api-token"] == SECRETS["DAGSTER_CLOUD_API_TOKEN"]
        assert [secret for secret in SECRETS.values() if secret in json.dumps(dagster.bodies)] == []

    def test_without_secrets_no_header_is_sent_for_them(self) -> None:
        with server(LAUNCHED) as dagster:
            told = tick({"DAGSTER_URL": dagster.url})

        assert told.error is None
        assert not {"cf-access-client-id", "dagster-cloud-api-token"} & {name.lower() for name in dagster.headers[0]}

    @pytest.mark.parametrize("refusal", REFUSALS)
    def test_every_refusal_that_dagster_knows_fails_the_tick_with_its_name_and_reason(self, refusal: str) -> None:
        reason = (
            {"errors": [{"message": "no such field:\n  nwo"}, {"message": "did you mean now?"}]}
            if refusal == "RunConfigValidationInvalid"
            else {"message": "no such field:\n  nwo; did you mean now?\n"}
        )

        with server(idle({"__typename": refusal, **reason})) as dagster:
            told = tick({"DAGSTER_URL": dagster.url})

        assert told.logs == []
        assert told.error == (
            f"Dagster did not launch mika_maintenance of __repository__@mika-ops: {refusal}: "
            "no such field: nwo; did you mean now?"
        )

    def test_where_dagster_cannot_say_what_is_running_nothing_is_launched(self) -> None:
        failed = {"__typename": "PythonError", "message": "the history is locked"}

        with server(lambda _query: data(runsOrError=failed)) as dagster:
            told = tick({"DAGSTER_URL": dagster.url})

        assert told.error == (
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
            told = self.tick_with_secrets(dagster)

        assert told.error is not None
        assert sentence in told.error
        assert dagster.paths == ["/graphql"]
        assert [secret for secret in SECRETS.values() if secret in told.error] == []

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
        assert tick(env) == Told([], sentence)

    def test_a_dagster_that_is_down_fails_the_tick_naming_its_host(self) -> None:
        port = free_port()

        told = tick({"DAGSTER_URL": f"http://127.0.0.1:{port}"})

        assert told.error == (
            f"Dagster at 127.0.0.1:{port} cannot be reached (TypeError): check DAGSTER_URL and that it is up"
        )
