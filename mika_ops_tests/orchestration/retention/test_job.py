"""The job mika_history_retention, on a SQLite and on a Postgres instance."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
from sqlalchemy import text

from mika_ops.config.loading import isolated_settings
from mika_ops.demo.embedded_postgres import create_database
from mika_ops.orchestration.dagster_internals import event_files
from mika_ops.orchestration.definitions import build_definitions
from mika_ops.orchestration.maintenance.job import JOB_NAME
from mika_ops.orchestration.retention import job as history_module
from mika_ops.orchestration.retention.instance_history import InstanceHistory, keeps_its_own_history
from mika_ops.orchestration.retention.job import HISTORY_JOB_NAME
from mika_ops.orchestration.retention.policy import Retention, delete_expired
from mika_ops_testing.sites import DatabaseKind, PostgresSites

PROJECT = Path(__file__).resolve().parents[3]
Status = dg.DagsterRunStatus

IN_A_PROCESS_OF_ITS_OWN = """
import os, signal, sys
import dagster as dg
from mika_ops.orchestration.definitions import build_definitions
from mika_ops.config.loading import isolated_settings

with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
    storage, asked = instance.event_log_storage, []
    delete_events = storage.delete_events

    def killed_at_the_tenth(run_id):
        asked.append(run_id)
        if len(asked) == 10:
            os.kill(os.getpid(), signal.SIGKILL)
        delete_events(run_id)

    storage.delete_events = killed_at_the_tenth
    job = build_definitions(settings=isolated_settings()).resolve_job_def("mika_history_retention")
    job.execute_in_process(instance=instance, run_config={"success_days": 0, "keep_runs": 2})
"""


@pytest.fixture
def home(kind: DatabaseKind, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the dagster.yaml of an empty instance."""
    folder = tmp_path / "home"
    folder.mkdir()
    if kind == "postgres":
        sites: PostgresSites = request.getfixturevalue("postgres_sites")
        url = create_database(sites.server_url, "dagster_history").replace("+psycopg:", "+psycopg2:")
        monkeypatch.setenv("DAGSTER_POSTGRES_URL", url)
        (folder / "dagster.yaml").write_text((PROJECT / "deploy" / "dagster.yaml").read_text())
    else:
        (folder / "dagster.yaml").write_text((PROJECT / "dagster.yaml").read_text().replace(".dagster", str(folder)))
    return folder


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(home)) as opened:
        yield opened


@pytest.fixture
def sqlite_instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as opened:
        yield opened


def record(
    instance: dg.DagsterInstance,
    count: int,
    *,
    days_ago: float = 0,
    status: dg.DagsterRunStatus = Status.SUCCESS,
    job: str = JOB_NAME,
) -> list[str]:
    """Record runs with an event and a log each; return their ids, the oldest first."""
    ids = []
    for _ in range(count):
        run = instance.add_run(dg.DagsterRun(job_name=job, run_id=str(uuid4()), status=status))
        instance.report_engine_event("did something", run)
        log = logs_of(instance, run.run_id)
        log.mkdir(parents=True)
        (log / "step.err").write_text("a line\n")
        ids.append(run.run_id)
    if days_ago:
        storage: Any = instance.run_storage
        created = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=days_ago)
        with storage.connect() as connection:
            for id_ in ids:
                connection.execute(
                    text("UPDATE runs SET create_timestamp = :created WHERE run_id = :id"),
                    {"created": str(created), "id": id_},
                )
    return ids


def logs_of(instance: dg.DagsterInstance, run_id: str) -> Path:
    manager: Any = instance.compute_log_manager
    return Path(manager.get_captured_local_path([run_id, "compute_logs", "step"], "err")).parent


@dataclass(frozen=True)
class RetentionResult:
    success: bool
    metadata: Mapping[str, Any]
    failure: str | None
    id: str


def retained(instance: dg.DagsterInstance, *, shop: str | None = None, **config: Any) -> RetentionResult:
    """Run the job once."""
    job_name = HISTORY_JOB_NAME if shop is None else f"{HISTORY_JOB_NAME}_{shop}"
    job = build_definitions(settings=isolated_settings(history_keep_runs=2), name=shop).resolve_job_def(job_name)
    result = job.execute_in_process(run_config=config, instance=instance, raise_on_error=False)
    (event,) = [
        event
        for event in result.all_events
        if event.event_type in (dg.DagsterEventType.STEP_OUTPUT, dg.DagsterEventType.STEP_FAILURE)
    ]
    failure = event.step_failure_data.user_failure_data if event.is_step_failure else None
    metadata = failure.metadata if failure is not None else event.step_output_data.metadata
    values = {name: value.value for name, value in metadata.items()}
    return RetentionResult(result.success, values, failure.description if failure else None, result.run_id)


def left(instance: dg.DagsterInstance, ids: Sequence[str]) -> list[str]:
    return [id_ for id_ in ids if instance.has_run(id_)]


def test_old_runs_go_by_how_they_ended_and_all_others_stay(instance: dg.DagsterInstance) -> None:
    failed = record(instance, 3, days_ago=31, status=Status.FAILURE)
    canceled = record(instance, 2, days_ago=31, status=Status.CANCELED)
    failed_lately = record(instance, 2, days_ago=29, status=Status.FAILURE)
    succeeded = record(instance, 5, days_ago=8)
    succeeded_lately = record(instance, 3, days_ago=6)
    own = record(instance, 4, days_ago=8, job=HISTORY_JOB_NAME)

    done = retained(instance)

    assert left(instance, failed + canceled + succeeded) == []
    assert left(instance, failed_lately + succeeded_lately) == failed_lately + succeeded_lately
    assert left(instance, own) == own[2:]
    assert done.success
    expected = {"deleted_success": 7, "deleted_failure": 5, "kept": 7, "remaining": 0, "failed": 0, "files_left": 0}
    assert {name: done.metadata[name] for name in expected} == expected
    assert (done.metadata["status"], done.metadata["dry_run"]) == ("completed", False)
    assert done.metadata["duration_ms"] > 0


@pytest.mark.parametrize(
    "status", [Status.NOT_STARTED, Status.STARTING, Status.STARTED, Status.CANCELING, Status.MANAGED]
)
def test_a_run_that_has_not_ended_stays_however_old_it_is(
    sqlite_instance: dg.DagsterInstance, status: dg.DagsterRunStatus
) -> None:
    under_way = record(sqlite_instance, 4, days_ago=1_000, status=status)

    assert retained(sqlite_instance).metadata["remaining"] == 0
    assert left(sqlite_instance, under_way) == under_way


def test_runs_of_other_jobs_and_of_other_shops_stay(instance: dg.DagsterInstance) -> None:
    others = [
        id_
        for job in ("nightly_export", "mika_maintenance_us", "mika_history_retention_us", JOB_NAME, HISTORY_JOB_NAME)
        for id_ in record(instance, 4, days_ago=1_000, job=job)
    ]
    own = record(instance, 4, days_ago=1_000, job="mika_maintenance_eu")

    retained(instance, shop="eu", keep_runs=1)

    assert left(instance, others) == others
    assert left(instance, own) == own[3:]


def test_the_events_and_logs_of_a_run_go_with_it_and_no_others(instance: dg.DagsterInstance, home: Path) -> None:
    gone, kept = record(instance, 3, days_ago=9), record(instance, 2, days_ago=9)

    retained(instance)

    assert [logs_of(instance, id_).exists() for id_ in gone] == [False] * 3
    assert [logs_of(instance, id_).exists() for id_ in kept] == [True] * 2
    with dg.DagsterInstance.from_config(str(home)) as seen_anew:
        assert [len(seen_anew.all_logs(id_)) for id_ in gone + kept] == [0, 0, 0, 1, 1]


def test_on_sqlite_the_files_of_a_deleted_run_are_removed_and_no_others(sqlite_instance: dg.DagsterInstance) -> None:
    gone, kept = record(sqlite_instance, 3, days_ago=9), record(sqlite_instance, 2, days_ago=9)
    folder = event_files(sqlite_instance, kept[0])[0].parent
    (folder / "notes.db").write_text("not ours")
    before = {file.name for file in folder.iterdir()}

    done = retained(sqlite_instance)

    assert before - {file.name for file in folder.iterdir()} == {f"{id_}.db" for id_ in gone}
    assert done.metadata["files_left"] == 0


@pytest.mark.parametrize("name", ["index", "../history/index", "notes", "", "A" * 36])
def test_a_run_whose_id_is_no_uuid_has_no_files_to_remove(sqlite_instance: dg.DagsterInstance, name: str) -> None:
    assert event_files(sqlite_instance, name) == []


def test_a_storage_in_one_database_has_no_files_of_runs() -> None:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        assert event_files(ephemeral, str(uuid4())) == []


def test_a_file_that_cannot_be_removed_is_counted(
    sqlite_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(sqlite_instance, 3, days_ago=9)

    def refuse(*_arguments: object, **_options: object) -> None:
        raise PermissionError("in use")

    monkeypatch.setattr(Path, "unlink", refuse)
    done = retained(sqlite_instance)

    assert done.success
    assert (done.metadata["deleted_success"], done.metadata["files_left"]) == (1, 3)


def test_a_dry_run_counts_and_names_what_would_go_and_deletes_nothing(instance: dg.DagsterInstance) -> None:
    ids = record(instance, 5, days_ago=9)

    done = retained(instance, dry_run=True)

    assert left(instance, ids) == ids
    assert done.metadata["dry_run"] is True
    assert (done.metadata["deleted_success"], done.metadata["remaining"], done.metadata["kept"]) == (0, 3, 2)
    assert done.metadata["next_ids"].split("\n") == ids[:3]


def test_the_launchpad_comes_before_the_settings(sqlite_instance: dg.DagsterInstance) -> None:
    failed = record(sqlite_instance, 5, days_ago=2, status=Status.FAILURE)
    succeeded = record(sqlite_instance, 5, days_ago=2)

    retained(sqlite_instance, failure_days=1, success_days=1.5, keep_runs=1)

    assert left(sqlite_instance, failed + succeeded) == [failed[-1], succeeded[-1]]


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"success_days": -1.0}, "success_days is -1: it must be between 0 and 36500"),
        ({"failure_days": float("nan")}, "failure_days is nan: it must be between 0 and 36500"),
        ({"keep_runs": 0}, "keep_runs is 0: it must be between 1 and 100000"),
    ],
)
def test_a_launchpad_that_cannot_be_meant_is_refused_in_one_sentence(
    sqlite_instance: dg.DagsterInstance, config: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(dg.DagsterError) as refused:
        retained(sqlite_instance, **config)
    assert str(refused.value) == sentence


@pytest.mark.parametrize("config", [{"days": 1}, {"keep_runs": "all"}, {"jobs": ["nightly_export"]}])
def test_a_launchpad_of_other_fields_or_types_is_refused(
    sqlite_instance: dg.DagsterInstance, config: dict[str, Any]
) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError):
        retained(sqlite_instance, **config)


def test_one_run_that_cannot_be_deleted_stops_no_other_and_fails_the_job(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, *others = record(instance, 6, days_ago=9)
    delete_run = instance.delete_run

    def picky(run_id: str) -> None:
        if run_id == bad:
            raise RuntimeError("the disk is on fire")
        delete_run(run_id)

    with monkeypatch.context() as patched:
        patched.setattr(instance, "delete_run", picky)
        done = retained(instance)

    assert done.failure == "Runs that could not be deleted: 1. The log has the reasons; the next run retries them."
    assert left(instance, [bad, *others]) == [bad, *others[-2:]]
    assert (done.metadata["failed"], done.metadata["failed_ids"], done.metadata["deleted_success"]) == (1, bad, 3)
    assert retained(instance).metadata["deleted_success"] == 1
    assert left(instance, [bad]) == []


def test_a_run_whose_logs_cannot_be_deleted_is_kept_and_found_again(
    sqlite_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = record(sqlite_instance, 3, days_ago=9)

    def refuse(**_options: object) -> None:
        raise PermissionError("the bucket says no")

    with monkeypatch.context() as patched:
        patched.setattr(sqlite_instance.compute_log_manager, "delete_logs", refuse)
        assert not retained(sqlite_instance).success

    assert left(sqlite_instance, ids) == ids


def test_what_the_time_does_not_suffice_for_is_left_to_the_next_run(
    sqlite_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = record(sqlite_instance, 5, days_ago=9)
    with monkeypatch.context() as patched:
        patched.setattr(history_module, "TIME_BUDGET", timedelta(0))
        done = retained(sqlite_instance)

    assert done.success
    assert (done.metadata["remaining"], left(sqlite_instance, ids)) == (3, ids)
    assert retained(sqlite_instance).metadata["deleted_success"] == 3


def test_a_job_that_was_killed_half_way_is_gone_on_with_by_the_next(instance: dg.DagsterInstance, home: Path) -> None:
    ids = record(instance, 30)
    other = record(instance, 3, job="nightly_export")
    command = [sys.executable, "-c", IN_A_PROCESS_OF_ITS_OWN, str(home)]
    killed = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "PYTHONPATH": str(PROJECT)})  # noqa: S603

    assert killed.returncode == -signal.SIGKILL
    assert left(instance, ids) == ids[10:]

    done = retained(instance, success_days=0)

    assert (done.success, done.metadata["deleted_success"]) == (True, 18)
    assert left(instance, ids + other) == ids[-2:] + other


def test_the_days_are_counted_from_the_clock_that_is_given(instance: dg.DagsterInstance) -> None:
    ids = record(instance, 12)
    history, retention = InstanceHistory(instance), Retention(success_days=7, failure_days=30, keep_runs=5)

    today = delete_expired(history, [JOB_NAME], retention, now=datetime.now(UTC))
    in_8_days = delete_expired(history, [JOB_NAME], retention, now=datetime.now(UTC) + timedelta(days=8))

    assert (today.deleted_success, in_8_days.deleted_success) == (0, 7)
    assert left(instance, ids) == ids[-5:]


def test_on_dagster_plus_the_job_is_skipped_with_the_reason(
    sqlite_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = record(sqlite_instance, 5, days_ago=9)
    assert not keeps_its_own_history(sqlite_instance)
    agents = type("DagsterCloudAgentInstance", (dg.DagsterInstance,), {"__module__": "dagster_cloud.instance"})
    monkeypatch.setattr(sqlite_instance, "__class__", agents)

    done = retained(sqlite_instance)

    assert done.success
    assert done.metadata == {"status": "skipped", "reason": "Dagster+ keeps the history of runs itself"}
    assert left(sqlite_instance, ids) == ids


def test_the_schedule_runs_daily_in_the_time_zone_of_maintenance_as_soon_as_it_is_deployed() -> None:
    settings = isolated_settings(maintenance_timezone="Europe/Vienna")
    schedule = (
        build_definitions(settings=settings, name="eu")
        .get_repository_def()
        .get_schedule_def("mika_history_retention_eu_schedule")
    )
    assert (schedule.job_name, schedule.cron_schedule) == ("mika_history_retention_eu", "17 4 * * *")
    assert schedule.execution_timezone == "Europe/Vienna"
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING


def test_without_maintenance_there_is_no_schedule_and_the_job_can_still_be_launched() -> None:
    repository = build_definitions(settings=isolated_settings(maintenance_enabled=False)).get_repository_def()
    assert repository.schedule_defs == []
    assert repository.has_job(HISTORY_JOB_NAME)
