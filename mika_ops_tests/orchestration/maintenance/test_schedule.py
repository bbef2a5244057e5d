from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from tempfile import TemporaryDirectory

import dagster as dg
import pytest

from mika_ops.config.errors import SettingsError
from mika_ops.config.loading import isolated_settings, load_settings
from mika_ops.host.host import Host
from mika_ops.orchestration.definitions import build_definitions
from mika_ops.orchestration.maintenance.job import JOB_NAME
from mika_ops.store.database import Database
from mika_ops_testing.builders import email, put
from mika_ops_testing.dagster_internals import SCHEDULED_EXECUTION_TIME_TAG
from mika_ops_tests.orchestration.fake_host import Broken, Outbox, run_job, whole_host

PLANNED = datetime(2026, 3, 1, 12, 5, tzinfo=UTC)


@contextmanager
def recorded() -> Iterator[dg.DagsterInstance]:
    """Make an instance on disk: each tick opens it again."""
    with TemporaryDirectory(prefix="mika-ops-history-") as folder, dg.DagsterInstance.local_temp(folder) as instance:
        yield instance


def schedules(**settings: object) -> list[dg.ScheduleDefinition]:
    repository = build_definitions(settings=isolated_settings(**settings)).get_repository_def()
    return [schedule for schedule in repository.schedule_defs if schedule.job_name == JOB_NAME]


def test_maintenance_runs_every_minute_in_utc_as_soon_as_it_is_deployed() -> None:
    (schedule,) = schedules()

    assert (schedule.name, schedule.job_name) == ("mika_maintenance_schedule", JOB_NAME)
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("* * * * *", "UTC")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING


def test_the_settings_override_the_schedule_and_its_time_zone() -> None:
    (schedule,) = schedules(maintenance_schedule="*/5 2 * * *", maintenance_timezone="Europe/Berlin")

    assert (schedule.cron_schedule, schedule.execution_timezone) == ("*/5 2 * * *", "Europe/Berlin")
    assert schedule.description == (
        "Cron */5 2 * * * (Europe/Berlin): starts a maintenance run if work is due, and at least every 60 minutes. "
        "Other ticks are skipped with the reason."
    )


def test_maintenance_that_is_not_enabled_has_no_schedule_but_its_job() -> None:
    repository = build_definitions(settings=isolated_settings(maintenance_enabled=False)).get_repository_def()

    assert repository.schedule_defs == []
    assert repository.has_job(JOB_NAME)


def test_a_cron_string_that_is_none_stops_the_definitions_naming_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIKA_MAINTENANCE_SCHEDULE", "every minute")

    with pytest.raises(SettingsError, match=r"^MIKA_MAINTENANCE_SCHEDULE: 'every minute' is no cron string: .*$"):
        build_definitions()


def test_the_definitions_read_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIKA_MAINTENANCE_ENABLED", "false")

    assert load_settings().maintenance_enabled is False
    assert build_definitions().get_repository_def().schedule_defs == []


def test_a_tick_asks_for_one_run_with_an_empty_launchpad() -> None:
    (schedule,) = schedules()

    with recorded() as instance:
        tick = schedule.evaluate_tick(dg.build_schedule_context(instance=instance, scheduled_execution_time=PLANNED))

    (request,) = tick.run_requests or []
    assert request.run_config == {}


def test_the_run_of_a_tick_judges_what_is_due_at_the_time_it_was_planned_for() -> None:
    outbox = Outbox()

    run_job(whole_host(email_outbox=outbox), tags={SCHEDULED_EXECUTION_TIME_TAG: PLANNED.isoformat()})

    assert outbox.drains == [("2026-03-01T12:05:00.000Z", None)]


def test_a_time_in_the_launchpad_comes_before_the_planned_one() -> None:
    outbox = Outbox()

    run_job(
        whole_host(email_outbox=outbox),
        tags={SCHEDULED_EXECUTION_TIME_TAG: PLANNED.isoformat()},
        config={"now": "2026-01-01T00:00:00Z"},
    )

    assert outbox.drains == [("2026-01-01T00:00:00.000Z", None)]


def ticked(instance: dg.DagsterInstance, **settings: object) -> str | None:
    """Evaluate a tick; return its reason to skip, or ``None`` where it asks for a run."""
    (schedule,) = schedules(**settings)
    return ticked_by(schedule, instance)


def ticked_by(schedule: dg.ScheduleDefinition, instance: dg.DagsterInstance) -> str | None:
    tick = schedule.evaluate_tick(dg.build_schedule_context(instance=instance, scheduled_execution_time=PLANNED))
    assert bool(tick.run_requests) == (tick.skip_message is None)
    return tick.skip_message


def run_once(instance: dg.DagsterInstance, host: Host | None = None) -> None:
    run_job(host or whole_host(), instance=instance)


def test_an_idle_shop_is_not_run_again_until_its_heartbeat() -> None:
    with recorded() as instance:
        assert ticked(instance) is None
        run_once(instance)
        assert ticked(instance) == "nothing due"
        assert ticked(instance, idle_ticks="run") is None
        assert ticked(instance, heartbeat_minutes=0.000001) is None


def test_what_is_due_in_the_shops_database_starts_a_run(database: Database, url: str) -> None:
    with recorded() as instance:
        run_once(instance)
        shop = {"database_url": url, "email_directory": "emails"}
        assert ticked(instance, **shop) == "nothing due"
        put(database, "ops", email("email_1"))
        assert ticked(instance, **shop) is None


def test_a_run_of_some_subtasks_only_says_nothing_of_the_others() -> None:
    with recorded() as instance:
        run_job(whole_host(), instance=instance, config={"subtasks": ["stuck_emails"]})
        assert ticked(instance) is None
        run_once(instance)
        run_job(whole_host(), instance=instance, config={"subtasks": ["stuck_emails"]})
        assert ticked(instance) == "nothing due"


def test_the_tick_after_a_failed_run_runs() -> None:
    with recorded() as instance:
        run_once(instance, whole_host(reservation_release=Broken()))
        assert ticked(instance) is None


def test_each_tick_of_one_code_server_goes_by_the_runs_that_have_ended_by_then() -> None:
    (schedule,) = schedules()
    with recorded() as instance:
        assert ticked_by(schedule, instance) is None
        run_once(instance)
        assert ticked_by(schedule, instance) == "nothing due"
        run_once(instance, whole_host(reservation_release=Broken()))
        assert ticked_by(schedule, instance) is None
        (failed,) = instance.get_run_ids(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
        instance.delete_run(failed)
        assert ticked_by(schedule, instance) == "nothing due"
        for run_id in instance.get_run_ids():
            instance.delete_run(run_id)
        assert ticked_by(schedule, instance) is None


def test_a_database_that_cannot_be_read_starts_a_run_that_shows_it() -> None:
    with recorded() as instance:
        run_once(instance)
        assert ticked(instance, database_url="sqlite:///missing.db") is None


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED])
def test_a_run_under_way_is_waited_for_but_not_for_ever(status: dg.DagsterRunStatus) -> None:
    with recorded() as instance:
        job = build_definitions(settings=isolated_settings()).resolve_job_def(JOB_NAME)
        run = instance.create_run_for_job(job, status=status)
        assert str(ticked(instance)).startswith(f"run {run.run_id} has been under way for ")
        assert ticked(instance, long_run_minutes=0.000001) is None


def test_another_jobs_runs_say_nothing_of_this_one() -> None:
    @dg.job
    def another() -> None: ...

    with recorded() as instance:
        instance.create_run_for_job(another, status=dg.DagsterRunStatus.STARTED)
        run_once(instance)
        assert ticked(instance) == "nothing due"
