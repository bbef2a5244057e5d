"""The alert sensor over real runs: what it tells, to whom, and what it keeps."""

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from mika_ops.config.errors import SettingsError
from mika_ops.config.loading import isolated_settings
from mika_ops.host.host import Host
from mika_ops.host.lazy import lazily
from mika_ops.orchestration.alerts.monitor import Cursor
from mika_ops.orchestration.definitions import build_definitions
from mika_ops_tests.orchestration.alerts.alerting import Alerts, Pager
from mika_ops_tests.orchestration.fake_host import Broken, host_with, run_job, whole_host

SENSOR = "mika_maintenance_alerts"


HISTORY_SENSOR = "mika_history_retention_alerts"


@dg.op
def breaks() -> None:
    raise RuntimeError("another job's failure")


@dg.job
def another_job() -> None:
    breaks()


def test_the_sensors_are_on_as_soon_as_they_are_deployed_and_name_their_jobs() -> None:
    sensors = build_definitions(settings=isolated_settings()).get_repository_def().sensor_defs

    assert {sensor.name for sensor in sensors} == {SENSOR, HISTORY_SENSOR}
    for sensor in sensors:
        assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
        assert sensor.name.removesuffix("_alerts") in str(sensor.description)


def test_a_failed_run_is_reported_with_its_id_and_the_reason() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance, dagster_url="https://dagster.example/")
        run_id = alerts.run(whole_host(reservation_release=Broken()))

        (sentence,) = alerts.tick()

    (alert,) = alerts.pager.sent
    assert sentence.startswith(
        f"mika_maintenance run {run_id} failed: stock_reservations: the disk is on fire (first seen 20"
    )
    assert (alert.job, alert.run_id, alert.kind) == ("mika_maintenance", run_id, "opened")
    assert (alert.subtask, alert.url) == ("stock_reservations", f"https://dagster.example/runs/{run_id}")


def test_a_failure_is_reported_once_and_its_end_once() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance)
        for host in (whole_host(reservation_release=Broken()),) * 2 + (whole_host(),) * 2:
            alerts.run(host)
            alerts.tick()

        assert alerts.pager.notified == [("opened", "stock_reservations"), ("recovered", "stock_reservations")]


def test_a_failure_that_lasts_is_reported_again_after_the_cooldown() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance, alert_cooldown_minutes=30)
        alerts.run(whole_host(reservation_release=Broken()))
        alerts.tick()

        assert alerts.tick(after=timedelta(minutes=29)) == []
        (sentence,) = alerts.tick(after=timedelta(minutes=1))

    assert sentence.startswith("Still: mika_maintenance run ")


def test_failed_runs_of_one_tick_are_one_alert_that_counts_them() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance)
        ids = [alerts.run(whole_host(reservation_release=Broken())) for _ in range(3)]

        (sentence,) = alerts.tick()

    assert ids[-1] in sentence
    assert "3 times" in sentence


def test_a_failed_subtask_of_a_run_that_succeeded_is_reported() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance)
        run_id = alerts.run(whole_host(acp_sessions=Broken()))

        (sentence,) = alerts.tick()

    assert sentence.startswith(f"mika_maintenance: acp_sessions failed in run {run_id}: the disk is on fire (")


def test_a_subtask_that_is_not_configured_any_more_is_reported_and_one_that_is_not_chosen_is_not() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance)
        alerts.run()
        alerts.run(config={"subtasks": ["stuck_emails"]})
        assert alerts.tick() == []

        run_id = alerts.run(whole_host(acp_sessions=None))
        (sentence,) = alerts.tick()

    assert sentence.startswith(
        f"mika_maintenance: acp_sessions used to run, and was skipped in run {run_id}: not configured: acp_sessions; "
    )


def test_what_was_never_configured_is_not_reported() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance)
        alerts.run(host_with("ephemeral_purge"))
        alerts.run(host_with("ephemeral_purge"))

        assert alerts.tick() == []


def test_a_run_that_could_not_open_its_shop_is_reported_and_that_it_can_again() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance)
        run_id = alerts.run(Host(), isolated_settings(database_url="sqlite:///missing.db"))
        (sentence,) = alerts.tick()
        alerts.run()
        alerts.tick()

    assert sentence.startswith(
        f"mika_maintenance run {run_id} failed: Nothing was changed: the SQLite file missing.db does not exist"
    )
    assert alerts.pager.notified == [("opened", "run"), ("recovered", "run")]


def test_the_failed_run_of_another_job_is_not_reported() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance)
        assert not another_job.execute_in_process(instance=instance, raise_on_error=False).success

        assert alerts.tick() == []


def test_a_canceled_run_is_not_reported() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance)
        add_run(instance, dg.DagsterRunStatus.CANCELED)

        assert alerts.tick() == []
        assert alerts.said.startswith("1 run finished")


def test_neither_alerts_nor_the_cursor_hold_addresses_links_or_causes() -> None:
    error = RuntimeError("bob@example.test could not open https://shop.example.test/magic/1 by Bearer abc123")

    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance)
        alerts.run(whole_host(reservation_release=Broken(error), acp_sessions=Broken(error)))
        sentences = alerts.tick()

    assert "stock_reservations: <address> could not open <link> by <token>" in "".join(sentences)
    for kept in (*sentences, str(alerts.cursor)):
        assert not any(secret in kept for secret in ("bob", "example.test", "magic", "abc123"))
    assert "could not open" not in str(alerts.cursor)


def test_a_run_that_somebody_tags_later_is_not_taken_for_a_new_one() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance)
        failed = alerts.run(whole_host(reservation_release=Broken()))
        alerts.run()
        alerts.tick()
        place = Cursor.read(alerts.cursor)
        assert place is not None
        alerts.cursor = place.model_copy(update={"since": datetime.now(UTC), "seen": ()}).written()
        instance.add_run_tags(failed, {"owner": "bob"})

        assert alerts.tick() == []
        assert alerts.said == "0 runs finished"


def test_an_alert_that_cannot_be_delivered_is_delivered_once_later() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance, Pager(refuses="mika"))
        alerts.run(whole_host(reservation_release=Broken()))
        assert alerts.tick() == []
        assert "stock_reservations (the pager of <address> does not answer)" in alerts.said

        with pytest.raises(Exception, match="not delivered") as refused:
            alerts.tick()
        assert "bob" not in str(refused.value.__cause__ or refused.value)

        alerts.pager.refuses = None
        assert [len(alerts.tick()), len(alerts.tick())] == [1, 0]


def test_an_incident_that_ended_before_it_could_be_reported_is_reported_all_the_same() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance, Pager(refuses="mika"))
        alerts.run(whole_host(reservation_release=Broken()))
        alerts.tick()
        alerts.run()
        with pytest.raises(Exception, match="not delivered"):
            alerts.tick()
        alerts.pager.refuses = None
        alerts.tick()

        assert alerts.pager.notified == [("opened", "stock_reservations"), ("recovered", "stock_reservations")]


def test_what_was_delivered_is_not_delivered_again_when_the_rest_was_not() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance, Pager(refuses="acp_sessions"))
        alerts.run(whole_host(reservation_release=Broken(), acp_sessions=Broken()))
        assert len(alerts.tick()) == 1
        with pytest.raises(Exception, match="not delivered"):
            alerts.tick()
        alerts.pager.refuses = None
        alerts.tick()

        assert alerts.pager.notified == [("opened", "stock_reservations"), ("opened", "acp_sessions")]


def test_a_pager_that_cannot_be_made_loses_nothing() -> None:
    def make() -> Pager:
        raise OSError("no route to the pager")

    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance)
        alerts.run(whole_host(reservation_release=Broken()))
        definitions = build_definitions(settings=isolated_settings(), host=Host(alert_sink=lazily(make)))
        context = dg.build_sensor_context(instance=instance, cursor=alerts.cursor)
        data = definitions.get_repository_def().get_sensor_def(SENSOR).evaluate_tick(context)

    assert "no route to the pager" in str(data.skip_message)
    assert "stock_reservations" in str(data.cursor)


@pytest.mark.parametrize(
    "cursor",
    ["", "nonsense", "1234", "[]", '{"version":1,"state":"lost"}', '{"version":0}', '{"version":99,"since":1}'],
)
def test_a_cursor_that_cannot_be_read_starts_anew_from_the_newest_run(cursor: str) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance)
        for _ in range(5):
            alerts.run(whole_host(acp_sessions=Broken()))
        alerts.run(whole_host(reservation_release=Broken()))
        alerts.cursor = cursor

        assert len(alerts.tick()) == 1
        assert alerts.pager.notified == [("opened", "stock_reservations")]


def test_five_thousand_failed_runs_are_one_alert_of_one_tick_and_one_read_of_the_history(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance)
        for _ in range(5000):
            add_run(instance, dg.DagsterRunStatus.FAILURE)
        calls = counted_calls(instance, monkeypatch)

        (sentence,) = alerts.tick()
        assert "5000 times" in sentence
        assert calls == ["get_run_records", "get_records_for_run", "get_records_for_run"]
        assert len(str(alerts.cursor)) < 5000
        assert alerts.tick() == []


def test_more_runs_than_a_tick_reads_are_read_by_the_next_and_no_alert_is_sent_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mika_ops.orchestration.alerts.monitor.RUNS_A_TICK", 10)
    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance)
        for _ in range(25):
            add_run(instance, dg.DagsterRunStatus.FAILURE)

        ticks = [alerts.tick() for _ in range(4)]

    assert [len(sentences) for sentences in ticks] == [0, 0, 1, 0]
    assert "25 times" in ticks[2][0]


def test_without_a_sink_and_addresses_alerts_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    settings = isolated_settings()
    sensor = build_definitions(settings=settings).get_repository_def().get_sensor_def(SENSOR)
    cursor = None
    with dg.DagsterInstance.ephemeral() as instance, caplog.at_level(logging.INFO, logger="mika_ops.alerts"):
        for host in (whole_host(), whole_host(acp_sessions=Broken()), whole_host()):
            run_job(host, instance=instance)
            cursor = sensor.evaluate_tick(dg.build_sensor_context(instance=instance, cursor=cursor)).cursor
    logged = [record for record in caplog.records if record.name == "mika_ops.alerts"]

    assert [record.levelno for record in logged] == [logging.ERROR, logging.INFO]


def test_an_address_that_is_none_is_refused_when_the_definitions_are_built() -> None:
    with pytest.raises(SettingsError, match=r"^MIKA_EU_ALERT_URLS: number 2 is no address") as refused:
        build_definitions(
            name="eu", settings=isolated_settings(alert_urls=("json://pager.example", "slack://s3cret@none"))
        )
    assert "s3cret" not in str(refused.value)


def test_a_run_names_in_its_tags_how_its_subtasks_ended() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run_id = run_job(
            whole_host(acp_sessions=Broken(), admin_api=None),
            config={"subtasks": ["stuck_emails", "acp_sessions", "webhook_retries"]},
            instance=instance,
        ).id
        tags = instance.get_run_by_id(run_id).tags  # type: ignore[union-attr]

    assert {name: value for name, value in tags.items() if name.startswith("mika/")} == {
        "mika/completed": "stuck_emails",
        "mika/failed": "acp_sessions",
        "mika/skipped": "webhook_retries",
        "mika/maintains": "the shop",
    }


def test_a_run_that_repeats_another_does_not_keep_its_tags() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run_id = run_job(whole_host(), tags={"mika/failed": "acp_sessions"}, instance=instance).id

        assert instance.get_run_by_id(run_id).tags["mika/failed"] == ""  # type: ignore[union-attr]


def test_the_cursor_is_compact_and_says_which_version_wrote_it() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        alerts = Alerts(instance)
        alerts.run(whole_host(reservation_release=Broken()))
        alerts.tick()
    kept = json.loads(str(alerts.cursor))

    assert kept["version"] == 2
    assert list(kept["state"]["incidents"]) == ["stock_reservations"]
    assert len(str(alerts.cursor)) < 800


def add_run(instance: dg.DagsterInstance, status: dg.DagsterRunStatus) -> None:
    """Put a finished run into the history, without its events."""
    instance.add_run(dg.DagsterRun(job_name="mika_maintenance", status=status))


def counted_calls(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note every read of runs and of events from now on."""
    calls: list[str] = []

    def noted(name: str) -> Callable[..., Any]:
        method = getattr(instance, name)

        def noting(*args: Any, **options: Any) -> Any:
            calls.append(name)
            return method(*args, **options)

        return noting

    for name in ("get_run_records", "get_records_for_run", "all_logs", "get_runs"):
        monkeypatch.setattr(instance, name, noted(name))
    return calls
