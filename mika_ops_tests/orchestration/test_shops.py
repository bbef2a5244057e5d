"""Several shops in one code location: each with a job, a schedule, alerts, assets and settings of its own."""

import logging
from pathlib import Path

import dagster as dg
import pytest

from mika_ops.config.errors import SettingsError
from mika_ops.config.loading import isolated_settings, load_settings, unknown_variables
from mika_ops.host.host import Host
from mika_ops.orchestration.definitions import build_definitions
from mika_ops.orchestration.outcomes import read_outcomes
from mika_ops.ports.alerts import Alert
from mika_ops.store.database import Database
from mika_ops.subtasks.outcome import sentence_of
from mika_ops.subtasks.registry import SUBTASK_NAMES
from mika_ops_testing.builders import BEFORE, email, get, put
from mika_ops_testing.dagster_internals import SensorExecutionData
from mika_ops_tests.orchestration.fake_host import Broken, run_job, whole_host


class Alerts:
    """Keeps every alert."""

    def __init__(self) -> None:
        self.sent: list[Alert] = []

    def send(self, alert: Alert) -> None:
        self.sent.append(alert)


def ticked(
    definitions: dg.Definitions, sensor: str, instance: dg.DagsterInstance, cursor: str | None
) -> SensorExecutionData:
    """Evaluate a sensor once."""
    repository = definitions.get_repository_def()
    context = dg.build_sensor_context(instance=instance, cursor=cursor, repository_def=repository, sensor_name=sensor)
    return repository.get_sensor_def(sensor).evaluate_tick(context)


def test_a_named_shop_has_its_own_job_schedule_alerts_assets_and_tags() -> None:
    repository = build_definitions(name="eu", settings=isolated_settings()).get_repository_def()
    job = repository.get_job("mika_maintenance_eu")
    schedule = repository.get_schedule_def("mika_maintenance_eu_schedule")
    assert job.tags == {"mika/maintains": "eu", "mika/shop": "eu"}
    assert (schedule.name, schedule.job_name) == ("mika_maintenance_eu_schedule", "mika_maintenance_eu")
    assert {sensor.name for sensor in repository.sensor_defs} == {
        "mika_maintenance_eu_alerts",
        "mika_history_retention_eu_alerts",
    }
    names = {key.path[-1] for key in repository.asset_graph.get_all_asset_keys()}
    assert names == {*SUBTASK_NAMES, "shop", "hourly", "daily"}
    assert {tuple(key.path[:2]) for key in repository.asset_graph.get_all_asset_keys()} == {("mika", "eu")}


def test_shops_live_side_by_side_and_beside_one_without_a_name() -> None:
    merged = dg.Definitions.merge(
        build_definitions(settings=isolated_settings()),
        build_definitions(name="eu", settings=isolated_settings()),
        build_definitions(name="us", settings=isolated_settings(maintenance_enabled=False)),
    )
    dg.Definitions.validate_loadable(merged)
    repository = merged.get_repository_def()
    assert {"mika_maintenance", "mika_maintenance_eu", "mika_maintenance_us"} <= set(repository.job_names)
    assert {schedule.job_name for schedule in repository.schedule_defs} == {
        "mika_maintenance",
        "mika_maintenance_eu",
        "mika_history_retention",
        "mika_history_retention_eu",
    }


def test_each_shop_works_on_its_own_database(database: Database, url: str, tmp_path: Path) -> None:
    put(database, "ops", email("email_1"))
    to = tmp_path / "outbox"
    merged = dg.Definitions.merge(
        build_definitions(settings=isolated_settings()),
        build_definitions(name="eu", settings=isolated_settings(database_url=url, email_directory=to)),
    )
    skipped = merged.resolve_job_def("mika_maintenance").execute_in_process()
    assert skipped.success
    assert get(database, "ops", "email_1")["status"] == "queued"
    assert merged.resolve_job_def("mika_maintenance_eu").execute_in_process().success
    assert get(database, "ops", "email_1")["status"] == "sent"


def test_a_shop_whose_database_is_down_leaves_the_others_alone_and_alerts(
    database: Database, url: str, tmp_path: Path
) -> None:
    put(database, "ops", email("email_1"))
    eu, us = Alerts(), Alerts()
    well = isolated_settings(database_url=url, email_directory=tmp_path / "outbox")
    broken = isolated_settings(database_url="postgresql://nobody@127.0.0.1:1/none")
    merged = dg.Definitions.merge(
        build_definitions(name="eu", settings=well, host=Host(alert_sink=eu)),
        build_definitions(name="us", settings=broken, host=Host(alert_sink=us)),
    )
    with dg.DagsterInstance.ephemeral() as instance:
        cursors = {
            shop: ticked(merged, f"mika_maintenance_{shop}_alerts", instance, None).cursor for shop in ("eu", "us")
        }
        runs = {
            shop: merged.resolve_job_def(f"mika_maintenance_{shop}").execute_in_process(
                instance=instance, raise_on_error=False
            )
            for shop in ("us", "eu")
        }
        for shop, cursor in cursors.items():
            ticked(merged, f"mika_maintenance_{shop}_alerts", instance, cursor)
    assert (runs["eu"].success, runs["us"].success) == (True, False)
    assert get(database, "ops", "email_1")["status"] == "sent"
    assert eu.sent == []
    (alert,) = us.sent
    assert (alert.job, alert.run_id) == ("mika_maintenance_us", runs["us"].run_id)
    assert alert.sentence.startswith(f"mika_maintenance_us run {alert.run_id} failed: Nothing was changed: the shop's")
    assert {"mika_maintenance_eu", "mika_maintenance_us"} <= {
        schedule.job_name for schedule in merged.get_repository_def().schedule_defs
    }


def test_a_shops_run_observes_its_assets(database: Database, url: str) -> None:
    put(database, "ops", *(email(f"email_{n}", attemptCount=5, leaseKey="k", leaseExpiresAt=BEFORE) for n in range(2)))
    settings = isolated_settings(database_url=url)
    with dg.DagsterInstance.ephemeral() as instance:
        build_definitions(name="eu", settings=settings).resolve_job_def("mika_maintenance_eu").execute_in_process(
            instance=instance
        )
        (seen,) = instance.fetch_observations(dg.AssetKey(["mika", "eu", "stuck_emails"]), limit=5).records
    metadata = {name: value.value for name, value in seen.asset_observation.metadata.items()}  # type: ignore[union-attr]
    assert (metadata["status"], metadata["done"]) == ("completed", 2)


def test_a_subtask_that_fails_is_observed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    with dg.DagsterInstance.ephemeral() as instance:
        run_job(whole_host(acp_sessions=Broken()), instance=instance)
        (seen,) = instance.fetch_observations(dg.AssetKey(["mika", "acp_sessions"]), limit=5).records
    assert seen.asset_observation is not None
    assert seen.asset_observation.metadata["status"].value == "failed"


def test_a_shops_settings_are_read_from_its_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIKA_SITE_NAME", "The other shop")
    monkeypatch.setenv("MIKA_EU_SITE_NAME", "Laden")
    monkeypatch.setenv("MIKA_EU_MAINTENANCE_SCHEDULE", "*/5 * * * *")
    assert load_settings(shop="eu").site_name == "Laden"
    assert load_settings(shop="us").site_name == "Our shop"
    schedule = build_definitions(name="eu").get_repository_def().get_schedule_def("mika_maintenance_eu_schedule")
    assert schedule.cron_schedule == "*/5 * * * *"


def test_a_wrong_setting_of_a_shop_is_named_by_its_own_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIKA_EU_ADMIN_API_URL", "https://shop.example")
    with pytest.raises(SettingsError, match=r"^MIKA_EU_ADMIN_API_TOKEN is missing"):
        build_definitions(name="eu")


def test_what_a_shop_lacks_is_named_by_its_own_variables() -> None:
    definitions = build_definitions(name="eu", settings=isolated_settings())
    with dg.DagsterInstance.ephemeral() as instance:
        run = definitions.resolve_job_def("mika_maintenance_eu").execute_in_process(instance=instance)
        reasons = {name: sentence_of(outcome) for name, outcome in read_outcomes(instance, run.run_id).items()}
    assert reasons["stuck_emails"] == "not configured: ops; set MIKA_EU_DATABASE_URL"


def test_the_error_of_a_hosts_own_component_is_not_changed() -> None:
    host = whole_host(acp_sessions=Broken(RuntimeError("check MIKA_DATABASE_URL")))
    definitions = build_definitions(name="eu", host=host, settings=isolated_settings())
    with dg.DagsterInstance.ephemeral() as instance:
        run = definitions.resolve_job_def("mika_maintenance_eu").execute_in_process(instance=instance)
        assert sentence_of(read_outcomes(instance, run.run_id)["acp_sessions"]) == "check MIKA_DATABASE_URL"


def test_emails_without_an_outbox_are_refused_by_the_shops_own_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIKA_EU_EMAIL_DIRECTORY", "out")
    with pytest.raises(SettingsError, match=r"^emails are configured without MIKA_EU_DATABASE_URL"):
        build_definitions(name="eu")


def test_the_variables_of_another_shop_are_no_typing_errors() -> None:
    assert unknown_variables({"MIKA_EU_DATABASE_URL": "x", "MIKA_EU_WEST_SMTP_URL": "x"}) == []


def test_a_misspelt_variable_of_a_shop_is_reported() -> None:
    assert unknown_variables({"MIKA_EU_SMPT_URL": "x", "MIKA_EU_SMTP_URL": "x"}, shop="eu") == [
        "MIKA_EU_SMPT_URL is no setting: did you mean MIKA_EU_SMTP_URL?"
    ]


@pytest.mark.parametrize("name", ["EU", "e-u", "", "1st", "ä", "a b"])
def test_a_name_that_no_job_can_have_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="is no name of a shop"):
        build_definitions(name=name, settings=isolated_settings())
