import logging

import dagster as dg
import pytest

from mika_ops.host import Host
from mika_ops.orchestration.definitions import build_definitions
from mika_ops.settings import Settings, isolated_settings
from mika_ops_tests.orchestration.pieces import Broken, run_job, whole_host


@dg.op
def breaks() -> None:
    raise RuntimeError("another job's failure")


@dg.job
def another_job() -> None:
    breaks()


class Alerts:
    """The alert sensor at work on an instance, tick by tick."""

    def __init__(self, instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture) -> None:
        self.instance = instance
        self._caplog = caplog
        self._cursor: str | None = None
        definitions = build_definitions(settings=isolated_settings())
        self.repository = dg.Definitions.merge(definitions, dg.Definitions(jobs=[another_job])).get_repository_def()
        self.sensor = self.repository.get_sensor_def("mika_maintenance_alerts")
        self.tick()

    def run(self, host: Host, settings: Settings | None = None) -> str:
        return run_job(host, settings=settings, instance=self.instance).id

    def tick(self) -> list[str]:
        """Evaluate the sensor once; return the alerts."""
        self._caplog.clear()
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self._cursor,
            repository_def=self.repository,
            sensor_name="mika_maintenance_alerts",
        )
        with self._caplog.at_level(logging.INFO, logger="mika_ops.alerts"):
            self._cursor = self.sensor.evaluate_tick(context).cursor
        records = [record for record in self._caplog.records if record.name == "mika_ops.alerts"]
        assert all(record.levelno == logging.ERROR for record in records)
        return [record.getMessage() for record in records]


def test_the_sensor_is_on_as_soon_as_it_is_deployed_and_watches_this_job() -> None:
    (sensor,) = build_definitions(settings=isolated_settings()).get_repository_def().sensor_defs

    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert "mika_maintenance" in str(sensor.description)


def test_a_failed_run_is_one_error_with_the_run_and_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance, caplog)
        run_id = alerts.run(whole_host(reservation_release=Broken()))

        assert alerts.tick() == [f"mika_maintenance run {run_id} failed: stock_reservations: the disk is on fire"]


def test_a_failure_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance, caplog)
        alerts.run(whole_host(reservation_release=Broken()))

        assert [len(alerts.tick()), len(alerts.tick())] == [1, 0]


def test_every_failed_run_of_a_tick_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance, caplog)
        ids = [alerts.run(whole_host(reservation_release=Broken())) for _ in range(3)]

        told = alerts.tick()

    assert len(told) == 3
    assert all(any(run_id in alert for alert in told) for run_id in ids)


def test_a_run_that_could_not_open_its_shop_is_told_in_the_same_sentence(caplog: pytest.LogCaptureFixture) -> None:
    settings = isolated_settings(database_url="sqlite:///missing.db")

    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance, caplog)
        run_id = alerts.run(Host(), settings)

        (told,) = alerts.tick()

    assert told.startswith(
        f"mika_maintenance run {run_id} failed: Nothing was changed: the SQLite file missing.db does not exist"
    )


@pytest.mark.parametrize("host", [whole_host(), whole_host(acp_sessions=Broken()), Host()])
def test_a_run_that_succeeded_is_not_told(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance, caplog)
        alerts.run(host)

        assert alerts.tick() == []


def test_the_failed_run_of_another_job_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance, caplog)
        assert not another_job.execute_in_process(instance=instance, raise_on_error=False).success

        assert alerts.tick() == []


def test_an_alert_holds_neither_addresses_nor_links(caplog: pytest.LogCaptureFixture) -> None:
    error = RuntimeError("bob@example.test could not open https://shop.example.test/magic/1")

    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance, caplog)
        alerts.run(whole_host(reservation_release=Broken(error)))

        (told,) = alerts.tick()

    assert told.endswith("failed: stock_reservations: <address> could not open <link>")


def test_an_interrupted_run_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance, caplog)
        run_id = alerts.run(whole_host(reservation_release=Broken(KeyboardInterrupt())))

        (told,) = alerts.tick()

    assert told.startswith(f"mika_maintenance run {run_id} failed: ")
