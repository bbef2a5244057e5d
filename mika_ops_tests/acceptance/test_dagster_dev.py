import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from mika_ops.clock import utc_now
from mika_ops.demo.shop import demo_shop
from mika_ops.subtasks.registry import SUBTASK_NAMES
from mika_ops_testing.dagster_dev import DagsterDev, dagster_dev, free_port, still_running
from mika_ops_testing.sites import Sites

PROJECT = Path(__file__).resolve().parents[2]
LOCATION = {"repositoryName": "__repository__", "repositoryLocationName": "mika-ops"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder, with a space in its name, that has what Dagster reads of this project."""
    folder = tmp_path_factory.mktemp("dagster") / "my shop"
    folder.mkdir()
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(PROJECT / name, folder)
    return folder


@pytest.fixture(scope="module")
def environment(project: Path, sqlite_sites: Sites) -> dict[str, str]:
    """Return the settings of a shop with work for every subtask, as a user sets them."""
    url = sqlite_sites.new()
    engine = create_engine(url)
    with engine.begin() as connection:
        demo_shop(utc_now()).write(connection)
    engine.dispose()
    return {
        "DAGSTER_HOME": str(project),
        "MIKA_DATABASE_URL": url,
        "MIKA_EMAIL_DIRECTORY": str(project / "emails"),
        "COLUMNS": "200",
    }


@pytest.fixture(scope="module")
def dev(project: Path, environment: dict[str, str]) -> Iterator[DagsterDev]:
    port = free_port()
    command = [sys.executable, "-m", "dagster", "dev", "-h", "127.0.0.1", "-p", str(port)]
    with dagster_dev(command, port, project, environment) as running:
        yield running


def test_the_definitions_are_valid(project: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate"],
        cwd=project,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0
    assert "All code locations passed validation" in done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr


def test_a_wrong_setting_stops_the_code_location_naming_its_variable(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate"],
        cwd=project,
        env={**os.environ, "DAGSTER_HOME": str(project), "MIKA_MAINTENANCE_SCHEDULE": "every minute"},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 1
    assert "SettingsError: MIKA_MAINTENANCE_SCHEDULE: 'every minute' is no cron string" in done.stdout + done.stderr
    assert "During handling" not in done.stdout + done.stderr


def test_the_job_and_its_ten_ops_are_described(dev: DagsterDev) -> None:
    job = dev.ask(
        """query($job: PipelineSelector!) { pipelineOrError(params: $job) { ... on Pipeline {
             description solids { name definition { description } } } } }""",
        job={**LOCATION, "pipelineName": "mika_maintenance"},
    )["pipelineOrError"]

    assert job["description"].startswith("Runs the maintenance subtasks of the Mika storefront")
    assert {op["name"] for op in job["solids"]} == {*SUBTASK_NAMES, "summary"}
    assert [op["name"] for op in job["solids"] if not op["definition"]["description"]] == []


def test_the_resources_are_described(dev: DagsterDev) -> None:
    resources = dev.ask(
        """query($location: RepositorySelector!) { allTopLevelResourceDetailsOrError(repositorySelector: $location) {
             ... on ResourceDetailsList { results { name description } } } }""",
        location=LOCATION,
    )["allTopLevelResourceDetailsOrError"]["results"]

    described = {resource["name"]: resource["description"] for resource in resources}
    assert all(described.values())
    assert described["admin_api"].endswith("Not configured: set MIKA_ADMIN_API_URL and MIKA_ADMIN_API_TOKEN.")
    assert "Not configured" not in described["ops"]


def test_the_schedules_and_the_sensors_are_described_and_running(dev: DagsterDev) -> None:
    found = dev.ask(
        """query($location: RepositorySelector!) {
             schedulesOrError(repositorySelector: $location) { ... on Schedules {
               results { name description cronSchedule executionTimezone scheduleState { status } } } }
             sensorsOrError(repositorySelector: $location) { ... on Sensors {
               results { name description sensorState { status } } } } }""",
        location=LOCATION,
    )

    schedules = found["schedulesOrError"]["results"]
    assert {schedule["name"]: (schedule["cronSchedule"], schedule["executionTimezone"]) for schedule in schedules} == {
        "mika_maintenance_schedule": ("* * * * *", "UTC"),
        "mika_history_retention_schedule": ("17 4 * * *", "UTC"),
    }
    assert all(schedule["description"] for schedule in schedules)
    assert {schedule["scheduleState"]["status"] for schedule in schedules} == {"RUNNING"}
    sensors = found["sensorsOrError"]["results"]
    assert {sensor["name"] for sensor in sensors} == {"mika_maintenance_alerts", "mika_history_retention_alerts"}
    assert all(sensor["description"] for sensor in sensors)
    assert {sensor["sensorState"]["status"] for sensor in sensors} == {"RUNNING"}


def test_a_launchpad_that_cannot_be_meant_is_refused_in_the_ui_in_one_sentence(dev: DagsterDev) -> None:
    answer = dev.ask(
        """mutation($run: ExecutionParams!) { launchPipelineExecution(executionParams: $run) {
             __typename ... on PythonError { message } } }""",
        run={
            "selector": {**LOCATION, "pipelineName": "mika_maintenance"},
            "runConfigData": {"subtasks": ["stuck_email"]},
            "mode": "default",
        },
    )["launchPipelineExecution"]

    assert answer["__typename"] == "PythonError"
    assert answer["message"].endswith("'stuck_email' is no subtask: did you mean stuck_emails?\n")


@pytest.mark.thorough
def test_the_demos_ui_shows_the_demos_shop_and_stops_without_leaving_a_process(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    port = free_port()
    command = [sys.executable, "-m", "mika_ops.demo", "dev", "--port", str(port)]
    a_real_shop = {"MIKA_DATABASE_URL": "sqlite:////nowhere/shop.db", "MIKA_MAINTENANCE_SCHEDULE": "every minute"}

    with dagster_dev(command, port, tmp_path, a_real_shop) as dev:
        jobs = dev.ask("{ repositoriesOrError { ... on RepositoryConnection { nodes { jobs { name } } } } }")
        family = dev.family()
        assert dev.stop(signal.SIGTERM) == 0

    # Dagster adds a job of its own for the assets.
    assert {job["name"] for node in jobs["repositoriesOrError"]["nodes"] for job in node["jobs"]} == {
        "mika_history_retention",
        "mika_maintenance",
        "__ASSET_JOB",
    }
    assert len(family) > 4
    assert still_running(family) == []
    assert (tmp_path / "demo" / "shop.db").is_file()
    assert dev.warnings() == []


def scheduled_run(dev: DagsterDev) -> dict[str, Any] | None:
    runs = dev.ask(
        """{ runsOrError(filter: {pipelineName: "mika_maintenance", statuses: [SUCCESS, FAILURE, CANCELED]}) {
               ... on Runs { results { runId status tags { key value } } } } }"""
    )["runsOrError"]["results"]
    return next((run for run in runs if any(tag["key"] == "dagster/schedule_name" for tag in run["tags"])), None)


def metadata_of(dev: DagsterDev, run_id: str) -> dict[str, dict[str, Any]]:
    events = dev.ask(
        """query($run: ID!) { logsForRun(runId: $run) { ... on EventConnection { events {
             __typename ... on ExecutionStepOutputEvent { stepKey metadataEntries {
               label ... on TextMetadataEntry { text } ... on IntMetadataEntry { intValue } } } } } } }""",
        run=run_id,
    )["logsForRun"]["events"]
    return {
        event["stepKey"]: {
            entry["label"]: entry.get("text", entry.get("intValue")) for entry in event["metadataEntries"]
        }
        for event in events
        if event["__typename"] == "ExecutionStepOutputEvent"
    }


def test_the_schedule_runs_maintenance_and_dagster_dev_warns_of_nothing_and_stops_cleanly(
    dev: DagsterDev, project: Path
) -> None:
    run = dev.wait_for("scheduled run", lambda: scheduled_run(dev), seconds=85)

    assert run["status"] == "SUCCESS"
    metadata = metadata_of(dev, run["runId"])
    assert list(metadata) == [*SUBTASK_NAMES, "summary"]
    assert metadata["raw_provider_payloads"]["purged"] == 27
    assert metadata["webhook_retries"]["status"] == "skipped"
    assert "MIKA_ADMIN_API_URL" in metadata["webhook_retries"]["reason"]
    assert len(list((project / "emails").glob("*.eml"))) == metadata["email_outbox"]["sent"]
    # Planned for a full minute, however late it started.
    assert '"now": "' in dev.output()
    assert ':00.000Z", "email_outbox"' in dev.output()

    family = dev.family()
    assert dev.stop(signal.SIGINT) == 0
    assert still_running(family) == []
    # Dagster recommends its next command line on each call; everything else would be ours.
    assert [line for line in dev.warnings() if "SupersessionWarning" not in line] == []
