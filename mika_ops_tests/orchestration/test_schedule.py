from datetime import UTC, datetime

import dagster as dg
import pytest
from dagster._core.storage.tags import SCHEDULED_EXECUTION_TIME_TAG

from mika_ops.orchestration.definitions import build_definitions
from mika_ops.orchestration.job import JOB_NAME
from mika_ops.settings import SettingsError, isolated_settings, load_settings
from mika_ops_tests.orchestration.pieces import Outbox, run_job, whole_host

PLANNED = datetime(2026, 3, 1, 12, 5, tzinfo=UTC)


def schedules(**settings: object) -> list[dg.ScheduleDefinition]:
    repository = build_definitions(settings=isolated_settings(**settings)).get_repository_def()
    return list(repository.schedule_defs)


def test_maintenance_runs_every_minute_in_utc_as_soon_as_it_is_deployed() -> None:
    (schedule,) = schedules()

    assert (schedule.name, schedule.job_name) == ("mika_maintenance_schedule", JOB_NAME)
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("* * * * *", "UTC")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING


def test_the_settings_override_the_schedule_and_its_time_zone() -> None:
    (schedule,) = schedules(maintenance_schedule="*/5 2 * * *", maintenance_timezone="Europe/Berlin")

    assert (schedule.cron_schedule, schedule.execution_timezone) == ("*/5 2 * * *", "Europe/Berlin")
    assert schedule.description == "Runs maintenance at */5 2 * * * (Europe/Berlin)."


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

    with dg.DagsterInstance.ephemeral() as instance:
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
