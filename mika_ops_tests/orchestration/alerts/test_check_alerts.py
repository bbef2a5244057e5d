"""Alerts on what no run of maintenance fails for: checks that are errors, and a history that is not kept small."""

from datetime import timedelta

import dagster as dg
import pytest

from mika_ops.clock import utc_now
from mika_ops.config.loading import isolated_settings
from mika_ops.config.shop import Shop
from mika_ops.host.host import Host
from mika_ops.orchestration.alerts.sensors import history_alert_sensor
from mika_ops.orchestration.definitions import build_definitions
from mika_ops.ports.backlog import Backlog, Due
from mika_ops_tests.orchestration.alerts.alerting import Alerts, Pager
from mika_ops_tests.orchestration.fake_host import Backlogs, whole_host

LATE = Backlogs(Backlog({"email_outbox": Due(3, "2020-01-01T00:00:00.000Z")}))
IN_ORDER = Backlogs(Backlog({"email_outbox": Due()}))


def test_a_failing_check_that_is_an_error_is_reported_with_what_it_found_and_again_when_it_passes() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance, check_errors=("oldest_due_email",))
        run_id = alerts.run(whole_host(backlog=LATE), alerts.settings)
        (opened,) = alerts.tick()
        alerts.run(whole_host(backlog=LATE), alerts.settings)
        assert alerts.tick() == []
        alerts.run(whole_host(backlog=IN_ORDER), alerts.settings)
        (over,) = alerts.tick()

    assert opened.startswith(
        f"mika_maintenance: the check oldest_due_email fails since run {run_id}: emails due: 3, the oldest for "
    )
    assert over.startswith("mika_maintenance: oldest_due_email passes again since run ")
    assert [alert.subtask for alert in alerts.pager.sent] == ["email_outbox", "email_outbox"]


def test_a_failing_check_that_is_no_error_is_not_reported() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance)
        alerts.run(whole_host(backlog=LATE), alerts.settings)

        assert alerts.tick() == []


def test_an_incident_of_a_check_ends_when_its_failing_is_no_error_any_more() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        before = Alerts(instance, check_errors=("oldest_due_email",))
        before.run(whole_host(backlog=LATE), before.settings)
        before.tick()
        alerts = Alerts(instance, check_errors=())
        alerts.cursor = before.cursor
        alerts.run(whole_host(backlog=LATE), alerts.settings)

        (over,) = alerts.tick()

    assert "oldest_due_email passes again" in over


def test_history_that_is_not_kept_small_any_more_is_reported() -> None:
    settings = isolated_settings()
    job = build_definitions(settings=settings).resolve_job_def("mika_history_retention")
    pager = Pager()
    later = [timedelta(hours=hours) for hours in (0, 0, 25)]
    began = utc_now()
    sensor = history_alert_sensor(Shop(settings, supplied=Host(alert_sink=pager)), job, now=lambda: began + later[0])
    with dg.DagsterInstance.ephemeral() as instance:
        cursor = None
        while later:
            assert pager.sent == []
            cursor = sensor.evaluate_tick(dg.build_sensor_context(instance=instance, cursor=cursor)).cursor
            later.pop(0)

    (alert,) = pager.sent
    assert (alert.job, alert.incident, alert.kind) == ("mika_history_retention", "no_runs", "opened")


def test_a_retention_that_fails_is_reported_by_its_own_sensor_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_args: object, **_options: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("mika_ops.orchestration.retention.job.delete_expired", refused)
    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance)
        job = build_definitions(settings=alerts.settings).resolve_job_def("mika_history_retention")
        sensor = history_alert_sensor(Shop(alerts.settings, supplied=Host(alert_sink=alerts.pager)), job)
        cursor = sensor.evaluate_tick(dg.build_sensor_context(instance=instance)).cursor
        run = job.execute_in_process(instance=instance, raise_on_error=False)

        assert alerts.tick() == []
        sensor.evaluate_tick(dg.build_sensor_context(instance=instance, cursor=cursor))

    (alert,) = alerts.pager.sent
    assert alert.sentence.startswith(f"mika_history_retention run {run.run_id} failed: the disk is full")
