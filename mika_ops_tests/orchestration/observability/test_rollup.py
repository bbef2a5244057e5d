"""The roll-up of hours and days."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from mika_ops.orchestration.observability.rollup import LOOKBACK, roll_up
from mika_ops.ports.email import DrainedOutbox
from mika_ops_tests.orchestration.fake_host import Outbox, run_job
from mika_ops_tests.orchestration.observability.observing import LATE, host, seen

NOW = datetime.now(UTC)
THIS_HOUR = NOW.replace(minute=0, second=0, microsecond=0)


def rolled(instance: dg.DagsterInstance, *, later: timedelta) -> None:
    roll_up(instance, "mika_maintenance", None, now=datetime.now(UTC) + later)


def test_an_hour_is_added_up_once_it_has_ended(instance: dg.DagsterInstance) -> None:
    for sent in (2, 3):
        run_job(host(LATE, email_outbox=Outbox(answer=DrainedOutbox(sent=sent))), instance=instance)
    assert seen(instance, "hourly") == []

    rolled(instance, later=timedelta(hours=1))

    hours = seen(instance, "hourly")
    assert sum(hour["email_outbox.done"] for hour in hours) == 5
    assert max(hour["email_outbox.due"] for hour in hours) == 3
    assert sum(hour["shop.runs"] for hour in hours) == 2
    assert all(hour["since"].endswith(":00:00.000Z") for hour in hours)


def test_an_hour_is_recorded_once_however_many_runs_come_after_it(instance: dg.DagsterInstance) -> None:
    run_job(host(), instance=instance)
    for _ in range(3):
        rolled(instance, later=timedelta(hours=1))

    assert len({hour["since"] for hour in seen(instance, "hourly")}) == len(seen(instance, "hourly")) >= 1


def test_an_hour_in_which_nothing_ran_is_not_recorded(instance: dg.DagsterInstance) -> None:
    rolled(instance, later=timedelta(hours=1))

    assert seen(instance, "hourly") == []


def test_a_day_is_the_sum_of_its_hours(instance: dg.DagsterInstance) -> None:
    for sent in (2, 3):
        run_job(host(email_outbox=Outbox(answer=DrainedOutbox(sent=sent))), instance=instance)
    rolled(instance, later=timedelta(hours=1))

    rolled(instance, later=timedelta(days=1))

    days = seen(instance, "daily")
    assert sum(day["email_outbox.done"] for day in days) == 5
    assert sum(day["shop.runs"] for day in days) == 2
    assert all(day["since"].endswith("T00:00:00.000Z") for day in days)


def test_the_long_view_outlives_the_runs_it_adds_up(instance: dg.DagsterInstance) -> None:
    run = run_job(host(), instance=instance)
    rolled(instance, later=timedelta(hours=1))

    instance.delete_run(run.id)

    assert seen(instance, "email_outbox") == []
    assert len(seen(instance, "hourly")) >= 1


def test_after_a_long_silence_only_the_last_days_are_rolled_up(instance: dg.DagsterInstance) -> None:
    run_job(host(), instance=instance)

    rolled(instance, later=LOOKBACK + timedelta(hours=2))

    assert seen(instance, "hourly") == []


def test_a_long_view_that_cannot_be_kept_fails_no_run(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_args: object, **_options: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("mika_ops.orchestration.maintenance.summary.roll_up", refused)

    run = run_job(host(), instance=instance)

    assert run.success
    assert any("cannot roll up the last hour: OSError" in text or "the disk is full" in text for text in run.logged(30))
