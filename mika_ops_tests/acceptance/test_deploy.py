"""The files for production are ready to use."""

import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import dagster as dg
import kubernetes_validate
import pytest
import yaml
from dagster_cloud_cli.config.models import load_dagster_cloud_yaml
from dagster_cloud_cli.core.pex_builder.deps import collect_requirements
from dagster_k8s.job import UserDefinedDagsterK8sConfig

from mika_ops.config.loading import isolated_settings
from mika_ops.demo.embedded_postgres import create_database
from mika_ops.orchestration.definitions import build_definitions
from mika_ops.store.opening import open_database
from mika_ops_testing.builders import email, put
from mika_ops_testing.sites import PostgresSites
from mika_ops_tests.acceptance.deployment import OF_OURS, deployed, wait_for

PROJECT = Path(__file__).resolve().parents[2]
DOCKER = PROJECT / "deploy" / "docker"

LAUNCH = """mutation($selector: JobOrPipelineSelector!) {
  launchRun(executionParams: {selector: $selector}) { ... on LaunchRunSuccess { run { runId } } } }"""
RELOAD = """mutation { reloadRepositoryLocation(repositoryLocationName: "mika-ops") {
  ... on WorkspaceLocationEntry { loadStatus locationOrLoadError { __typename } } } }"""
TIMES = """query($run: ID!) { runOrError(runId: $run) { ... on Run { status startTime endTime } } }"""

SLOW_SHOP = """
import os, time
from mika_ops import EmailOverrides, Host, build_definitions
from mika_ops.ports.email import SendResult

class Provider:
    def send(self, envelope):
        time.sleep({seconds})
        with open(os.environ["SENT_FILE"], "a") as file:
            file.write("{version}\\n")
        return SendResult("{version}")

defs = build_definitions(host=Host(email=EmailOverrides(sender=Provider())))
"""


def slow_shop(folder: Path, *, seconds: float) -> tuple[Path, Path, dict[str, str]]:
    """Write a code location that sends one email after the other, each in so many seconds.

    Return its module, the file that says which version of it sent each email, and the environment that it needs.
    """
    module, sent = folder / "code" / "slow_shop.py", folder / "sent"
    module.parent.mkdir()
    module.write_text(SLOW_SHOP.format(version="old", seconds=seconds))
    return module, sent, {"PYTHONPATH": str(module.parent), "SENT_FILE": str(sent), "MIKA_EMAIL_CONCURRENCY": "1"}


def test_the_production_instance_keeps_a_run_on_postgres(
    postgres_sites: PostgresSites, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = create_database(postgres_sites.server_url, "dagster").replace("+psycopg:", "+psycopg2:")
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", url)
    (tmp_path / "dagster.yaml").write_text((PROJECT / "deploy" / "dagster.yaml").read_text())
    job = build_definitions(settings=isolated_settings()).resolve_job_def("mika_maintenance")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        run = job.execute_in_process(instance=instance)
        assert run.success
        kept = instance.get_run_by_id(run.run_id)
        assert kept is not None
        assert kept.status is dg.DagsterRunStatus.SUCCESS
        events = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_SUCCESS)
        assert len(events) == 10
        assert type(instance.event_log_storage).__name__ == "PostgresEventLogStorage"
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_max_runtime_seconds == isolated_settings().long_run_minutes * 60
        assert not instance.telemetry_enabled


@pytest.mark.thorough
class TestDocker:
    @pytest.mark.long
    def test_its_check_starts_all_of_it_has_it_run_maintenance_and_stops_it(self) -> None:
        checked = subprocess.run([DOCKER / "check"], capture_output=True, text=True, timeout=400, check=False)  # noqa: S603

        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert [line[0] for line in checked.stdout.splitlines() if line[0] == "✓"] == ["✓"] * 5

    def test_the_entrypoint_reads_the_storages_password_from_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "password").write_text("abc123\n")
        output = subprocess.run(  # noqa: S603
            [DOCKER / "entrypoint", "sh", "-c", "echo $DAGSTER_POSTGRES_URL"],
            env={"DAGSTER_POSTGRES_PASSWORD_FILE": str(tmp_path / "password"), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert output == "postgresql+psycopg2://dagster:abc123@storage:5432/dagster\n"

    def test_the_image_has_what_the_development_environment_has_pinned(self) -> None:
        ours, all_of_them = (pins(path) for path in (DOCKER / "requirements.lock", PROJECT / "requirements.lock"))
        assert {name: version for name, version in ours.items() if name in all_of_them} == {
            name: all_of_them[name] for name in ours if name in all_of_them
        }
        assert {"dagster", "dagster-postgres", "dagster-webserver", "dagster-celery", "dagster-k8s"} <= set(ours)
        assert "pytest" not in ours

    @pytest.mark.long
    def test_an_upgrade_lets_the_run_that_is_under_way_finish_and_the_next_has_the_new_code(
        self, tmp_path: Path
    ) -> None:
        module, sent, more = slow_shop(tmp_path, seconds=0.25)
        with deployed(tmp_path, module="slow_shop", more=more) as running:
            first = wait_for("run", lambda: running.scheduled_run("STARTED"), seconds=120)["runId"]
            selector = {"jobName": "mika_maintenance", **OF_OURS}
            second = running.dagster.ask(LAUNCH, selector=selector)["launchRun"]["run"]["runId"]

            shutil.rmtree(module.parent / "__pycache__")
            module.write_text(SLOW_SHOP.format(version="new", seconds=0))
            reloaded = running.dagster.ask(RELOAD)["reloadRepositoryLocation"]
            assert reloaded["locationOrLoadError"]["__typename"] == "RepositoryLocation"
            with open_database(f"sqlite:///{tmp_path / 'shop.db'}") as shop:
                put(shop, "ops", email("after_the_upgrade"))

            def times_of(run: str) -> Any:
                return running.dagster.ask(TIMES, run=run)["runOrError"]

            assert times_of(first)["status"] == "STARTED", "the run was through before the upgrade: make it slower"
            wait_for("end of the second run", lambda: times_of(second)["endTime"], seconds=120)
            assert times_of(first)["status"] == times_of(second)["status"] == "SUCCESS"
            # The second waited in the queue: a shop has one run at a time.
            assert times_of(second)["startTime"] >= times_of(first)["endTime"]
            versions = Counter(sent.read_text().split())
            assert versions["new"] == 1
            assert versions["old"] > 40
            assert not any(running.stop().values())

    @pytest.mark.long
    def test_a_code_server_that_is_stopped_lets_the_run_that_is_under_way_finish(self, tmp_path: Path) -> None:
        _module, sent, more = slow_shop(tmp_path, seconds=0.5)
        with deployed(tmp_path, module="slow_shop", more=more) as running:
            run = wait_for("run", lambda: running.scheduled_run("STARTED"), seconds=120)["runId"]
            wait_for("email", lambda: sent.exists() or None, seconds=60)
            assert running.services["code"].stop() == 0
            assert running.dagster.ask(TIMES, run=run)["runOrError"]["status"] == "SUCCESS"


class TestKubernetes:
    values = yaml.safe_load((PROJECT / "deploy" / "k8s" / "values.yaml").read_text())

    def test_the_code_locations_pod_is_one_that_kubernetes_takes(self) -> None:
        [deployment] = self.values["dagster-user-deployments"]["deployments"]
        probes = {name: {k: v for k, v in deployment[name].items() if k != "enabled"} for name in PROBES}
        container = {
            "name": deployment["name"],
            "image": ":".join((deployment["image"]["repository"], deployment["image"]["tag"])),
            "imagePullPolicy": deployment["image"]["pullPolicy"],
            "args": deployment["codeServerArgs"],
            "ports": [{"containerPort": deployment["port"]}],
            "env": deployment["env"],
            "envFrom": [{"secretRef": secret} for secret in deployment["envSecrets"]],
            "resources": deployment["resources"],
            "securityContext": deployment["securityContext"],
            "volumeMounts": deployment["volumeMounts"],
            **{name: {**probe, "exec": {"command": ["true"]}} for name, probe in probes.items()},
        }
        assert takes(
            {
                "containers": [container],
                "securityContext": deployment["podSecurityContext"],
                "volumes": deployment["volumes"],
            }
        )

    @pytest.mark.parametrize("service", ["dagsterDaemon", "dagsterWebserver"])
    def test_so_are_dagsters_own(self, service: str) -> None:
        assert takes({"containers": [{"name": "a", "image": "b", "resources": self.values[service]["resources"]}]})

    def test_a_runs_pod_is_one_that_dagster_can_make(self) -> None:
        launcher = self.values["runLauncher"]["config"]["k8sRunLauncher"]
        config = run_config(
            {snake(section): snake_keys(fields) for section, fields in launcher["runK8sConfig"].items()}
        )
        assert config.job_spec_config["active_deadline_seconds"] == isolated_settings().long_run_minutes * 60
        assert config.container_config["resources"]["limits"]["memory"] == "512Mi"

    def test_the_chart_is_of_the_version_of_dagster_in_the_image(self) -> None:
        values = (PROJECT / "deploy" / "k8s" / "values.yaml").read_text()
        assert f"--version {pins(DOCKER / 'requirements.lock')['dagster']} " in values

    def test_the_queue_has_one_run_for_each_shop_as_everywhere(self) -> None:
        queue = self.values["dagsterDaemon"]["runCoordinator"]["config"]["queuedRunCoordinator"]
        instance = yaml.safe_load((PROJECT / "deploy" / "dagster.yaml").read_text())
        assert queue["tagConcurrencyLimits"] == instance["concurrency"]["runs"]["tag_concurrency_limits"]
        job = build_definitions(settings=isolated_settings()).resolve_job_def("mika_maintenance")
        assert {limit["key"] for limit in queue["tagConcurrencyLimits"]} <= set(job.tags)


class TestDagsterPlus:
    @pytest.mark.parametrize("file", ["dagster_cloud.yaml", "deploy/dagster-plus/hybrid.yaml"])
    def test_the_command_line_of_dagster_plus_takes_the_file(self, file: str) -> None:
        [location] = load_dagster_cloud_yaml((PROJECT / file).read_text()).locations
        assert location.code_source is not None
        assert location.code_source.module_name == "mika_ops.definitions"
        if location.container_context is not None:
            run_config(location.container_context["k8s"]["run_k8s_config"])

    def test_serverless_installs_what_the_package_needs_and_no_more(self) -> None:
        folder = load_dagster_cloud_yaml((PROJECT / "dagster_cloud.yaml").read_text()).locations[0].build
        assert folder is not None
        packages, needed = collect_requirements(str(PROJECT / str(folder.directory)), sys.executable)
        project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
        assert sorted(needed) == sorted(["dagster-cloud>=1.13,<1.14", *project["dependencies"]])
        assert packages == []

    def test_the_workflow_calls_commands_that_there_are(self) -> None:
        [job] = yaml.safe_load((PROJECT / "deploy" / "dagster-plus" / "github-workflow.yml").read_text())[
            "jobs"
        ].values()
        [command] = [step["run"].split() for step in job["steps"] if "dagster-cloud serverless" in step.get("run", "")]
        program, *words = command
        output = subprocess.run(  # noqa: S603
            [Path(sys.executable).parent / program, *words[:2], "--help"],
            env={"COLUMNS": "200", "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert [word for word in words if word.startswith("--") and word not in output] == []


PROBES = ("startupProbe", "readinessProbe")


def takes(pod: dict[str, Any]) -> bool:
    """Say whether Kubernetes takes a pod; raises, naming what is wrong, where it does not."""
    resource = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": pod}
    kubernetes_validate.validate(resource, "1.31", strict=True)
    return True


def run_config(fields: dict[str, Any]) -> UserDefinedDagsterK8sConfig:
    """Return what Dagster makes of a run's Kubernetes configuration; raises where it is none."""
    return UserDefinedDagsterK8sConfig.from_dict(fields)  # type: ignore[no-untyped-call, no-any-return]


def snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def snake_keys(fields: dict[str, Any]) -> dict[str, Any]:
    return {snake(name): value for name, value in fields.items()}


def pins(lock: Path) -> dict[str, str]:
    lines = [line.split(" ")[0] for line in lock.read_text().splitlines() if line[:1].isalnum()]
    return dict(line.split("==") for line in lines)
