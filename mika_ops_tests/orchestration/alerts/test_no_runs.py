"""The alert that no run has finished for too long."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from mika_ops.config.loading import isolated_settings
from mika_ops.orchestration.alerts.overdue import overdue_at
from mika_ops_tests.orchestration.alerts.alerting import Alerts


def test_missing_runs_are_reported_until_a_run_finishes() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance, alert_no_run_minutes=120)
        alerts.run()
        assert alerts.tick(after=timedelta(minutes=119)) == []
        (sentence,) = alerts.tick(after=timedelta(minutes=2))
        alerts.run()
        alerts.later = timedelta(0)
        alerts.tick()

    assert sentence.startswith("mika_maintenance: no run has finished since ")
    assert alerts.pager.notified == [("opened", "no_runs"), ("recovered", "no_runs")]


def test_without_any_run_an_alert_comes_once_the_sensor_has_existed_for_so_long() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance)
        assert alerts.tick(after=timedelta(minutes=149)) == []
        assert len(alerts.tick(after=timedelta(minutes=2))) == 1


def test_where_no_schedule_is_registered_silence_is_meant() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance, maintenance_enabled=False)
        assert alerts.tick(after=timedelta(days=9)) == []


@pytest.mark.parametrize(
    ("settings", "until"),
    [
        ({}, "14:30"),
        ({"alert_no_run_minutes": 20, "idle_ticks": "run"}, "12:20"),
        ({"alert_no_run_minutes": 20, "heartbeat_minutes": 180}, "15:15"),
        ({"maintenance_schedule": "0 20 * * *"}, "20:15"),
        ({"maintenance_schedule": "0 20 * * *", "maintenance_timezone": "Europe/Berlin"}, "19:15"),
    ],
)
def test_silence_is_never_shorter_than_what_the_schedule_and_the_heartbeat_wait(
    settings: dict[str, Any], until: str
) -> None:
    last = datetime(2026, 3, 1, 12, tzinfo=UTC)

    assert overdue_at(isolated_settings(**settings))(last).astimezone(UTC).strftime("%H:%M") == until
