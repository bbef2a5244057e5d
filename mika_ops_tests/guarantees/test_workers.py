"""Drains that are spread over real Celery workers, over a real Redis: everything once, also where one is lost."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from mika_ops_testing.dagster_dev import free_port
from mika_ops_testing.shop_at_work import EMAILS, World, shop_at_work
from mika_ops_testing.sites import Sites
from mika_ops_testing.waiting import wait_until
from mika_ops_testing.workers import redis, start_run, workers

pytestmark = pytest.mark.thorough  # Celery workers and their broker

LEASE_SECONDS = 12


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if shutil.which("redis-server") is None:
        pytest.skip("Debian's package redis-server is not installed")
    with redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


def environment(world: World, **more: object) -> dict[str, str]:
    settings = {
        **world.settings,
        "shards": 3,
        "time_budget_seconds": 60,
        "smtp_connect_timeout_seconds": 2,
        "smtp_timeout_seconds": 3,
        "email_lease_minutes": LEASE_SECONDS / 60,
        **more,
    }
    return {f"MIKA_{name.upper()}": str(value) for name, value in settings.items()}


def tags_and_statuses(home: Path) -> list[tuple[str, dict[str, str]]]:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        runs = reversed(list(instance.get_runs()))
        return [(run.status.value, {tag: v for tag, v in run.tags.items() if tag.startswith("mika/")}) for run in runs]


def leased_emails(world: World) -> list[str]:
    rows = world.state()["_plugin_storage"]
    return [key for key, row in rows.items() if "email_" in key and '"leaseKey": "' in row["data"]]


def pids_of_shards(home: Path) -> set[int]:
    """Return the processes that a shard of the emails was given to."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        entries = [entry for run in instance.get_runs() for entry in instance.all_logs(run.run_id)]
    events = [entry.get_dagster_event() for entry in entries if entry.is_dagster_event]
    started = [event for event in events if event.event_type == dg.DagsterEventType.STEP_WORKER_STARTED]
    shards = [event for event in started if str(event.step_key).startswith("email_outbox_shard[")]
    return {int(str(event.event_specific_data.metadata["pid"].value)) for event in shards}  # type: ignore[union-attr]


def doing_emails(home: Path) -> set[str]:
    """Return the names of the workers that a shard of the emails was given to."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        entries = [entry for run in instance.get_runs() for entry in instance.all_logs(run.run_id)]
    events = [entry.get_dagster_event() for entry in entries if entry.is_dagster_event]
    taken = [event for event in events if str(event.step_key).startswith("email_outbox_shard[")]
    data = [event.engine_event_data.metadata for event in taken if event.is_engine_event]
    return {str(each["Celery worker"].value).split("@")[0] for each in data if "Celery worker" in each}


def test_three_workers_do_everything_once(broker: str, postgres_sites: Sites, tmp_path: Path) -> None:
    with shop_at_work(postgres_sites.new()) as world:
        settings = environment(world, executor="celery", celery_broker_url=broker, email_lease_minutes=5)
        with workers(3, tmp_path, settings):
            assert start_run("mika_ops.definitions", tmp_path, settings).wait(timeout=150) == 0

        assert world.broken_promises(interruptions=0) == []
        assert len(world.mailroom.deliveries) == EMAILS
    assert len(doing_emails(tmp_path)) > 1, "all was done by one worker"
    [(status, tags)] = tags_and_statuses(tmp_path)
    assert status == "SUCCESS"
    assert "mika/failed" not in tags
    assert not any(secret in (tmp_path / "run.log").read_text() for secret in (broker, "ec_pat_test"))


@pytest.mark.long
def test_a_worker_that_is_lost_mid_drain_costs_nothing(broker: str, postgres_sites: Sites, tmp_path: Path) -> None:
    with shop_at_work(postgres_sites.new(), together=6) as world:
        # Redis gives a lost worker's task to another after twice the time that a run may drain, or half a minute.
        settings = environment(world, executor="celery", celery_broker_url=broker, time_budget_seconds=15)
        with workers(3, tmp_path, settings) as spread:
            run = start_run("mika_ops.definitions", tmp_path, settings)
            wait_until(lambda: len(world.mailroom.deliveries) >= 6, what="emails under way")
            next(worker for worker in spread if worker.name in doing_emails(tmp_path)).kill()
            assert run.wait(timeout=150) == 0
        # What it had leased is due again by now, and the time of the first run was spent on waiting for its answer.
        alone = environment(world, executor="in_process")
        assert start_run("mika_ops.definitions", tmp_path, alone).wait(timeout=60) == 0

        assert world.broken_promises(interruptions=1) == []
    assert [status for status, _tags in tags_and_statuses(tmp_path)] == ["SUCCESS", "SUCCESS"]


def test_a_broker_that_is_down_is_reported_in_a_sentence_and_nothing_is_changed(
    postgres_sites: Sites, tmp_path: Path
) -> None:
    with shop_at_work(postgres_sites.new()) as world:
        before = world.state()
        broker = f"redis://:secret@127.0.0.1:{free_port()}/0"
        settings = environment(world, executor="celery", celery_broker_url=broker)
        assert start_run("mika_ops.definitions", tmp_path, settings).wait(timeout=60) != 0
        assert world.state() == before
    log = (tmp_path / "run.log").read_text()
    assert "Nothing was changed: the broker of MIKA_CELERY_BROKER_URL cannot be reached" in log
    assert "secret" not in log
    assert [status for status, _tags in tags_and_statuses(tmp_path)] == ["FAILURE"]


@pytest.mark.long
def test_processes_of_one_machine_do_everything_once(sqlite_sites: Sites, tmp_path: Path) -> None:
    with shop_at_work(sqlite_sites.new()) as world:
        settings = environment(world, executor="multiprocess", shards=2, email_lease_minutes=5)
        assert start_run("mika_ops.definitions", tmp_path, settings).wait(timeout=180) == 0
        assert world.broken_promises(interruptions=0) == []
        assert len(world.mailroom.deliveries) == EMAILS


def test_processes_that_are_asked_to_stop_hold_no_lease_and_the_run_is_canceled(
    sqlite_sites: Sites, tmp_path: Path
) -> None:
    with shop_at_work(sqlite_sites.new(), together=4) as world:
        settings = environment(world, executor="multiprocess", shards=2, email_lease_minutes=5)
        run = start_run("mika_ops.definitions", tmp_path, settings)
        wait_until(lambda: len(world.mailroom.deliveries) >= 4, what="emails under way")
        run.send_signal(signal.SIGTERM)
        run.wait(timeout=30)
        assert leased_emails(world) == []
    assert [status for status, _tags in tags_and_statuses(tmp_path)] == ["CANCELED"]


def test_a_step_whose_process_is_asked_to_stop_cancels_the_run(sqlite_sites: Sites, tmp_path: Path) -> None:
    with shop_at_work(sqlite_sites.new(), together=EMAILS + 1) as world:
        settings = environment(world, executor="multiprocess", shards=2, email_lease_minutes=5)
        run = start_run("mika_ops.definitions", tmp_path, settings)
        wait_until(lambda: len(world.mailroom.deliveries) >= 4, what="emails under way")
        shards = pids_of_shards(tmp_path)
        assert shards
        for pid in shards:
            os.kill(pid, signal.SIGTERM)
        run.wait(timeout=60)
        assert leased_emails(world) == []
    assert [status for status, _tags in tags_and_statuses(tmp_path)] == ["CANCELED"]
