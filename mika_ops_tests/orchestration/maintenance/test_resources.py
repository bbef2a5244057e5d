from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import text

from mika_ops.config.loading import isolated_settings
from mika_ops.config.settings import Settings
from mika_ops.host.components import COMPONENTS
from mika_ops.host.host import EmailOverrides, Host
from mika_ops.orchestration.definitions import build_definitions
from mika_ops.orchestration.maintenance.job import JOB_NAME
from mika_ops.setting_names import PLAIN_NAMES
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents
from mika_ops.store.opening import open_database
from mika_ops_testing.builders import email, get, put, webhook
from mika_ops_testing.fakes import Provider
from mika_ops_testing.sites import Sites
from mika_ops_tests.orchestration.fake_host import Outbox, Stock, host_with, run_job


def resources(settings: Settings | None = None, host: Host | None = None) -> dict[str, dg.ResourceDefinition]:
    definitions = build_definitions(host=host, settings=settings or isolated_settings())
    return dict(definitions.get_repository_def().get_top_level_resources())


def failed_run(settings: Settings) -> str:
    """Run the job on a shop that cannot be opened; return what the run says."""
    with dg.DagsterInstance.ephemeral() as instance:
        run = run_job(settings=settings, instance=instance)
        assert not run.success
        assert run.metadata == {}
        (failed,) = instance.all_logs(run.id, of_type=dg.DagsterEventType.PIPELINE_FAILURE)
    error = failed.get_dagster_event().job_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    assert error is not None
    assert error.cls_name == "Failure"
    return error.message.partition("Failure: ")[2].strip()


def test_every_component_of_the_host_is_a_described_resource_whether_or_not_it_is_configured() -> None:
    found = resources()

    assert set(COMPONENTS) <= set(found)
    assert [name for name, resource in found.items() if not resource.description] == []


@pytest.mark.parametrize("name", sorted(COMPONENTS))
def test_a_component_that_is_not_configured_says_which_setting_supplies_it(name: str) -> None:
    component = COMPONENTS[name]
    remedy = component.remedy(PLAIN_NAMES)

    assert resources()[name].description == f"{component.purpose} Not configured: {remedy}."


def test_a_component_that_is_configured_says_what_it_is_for() -> None:
    found = resources(isolated_settings(database_url="sqlite:///shop.db"))

    assert found["ops"].description == COMPONENTS["ops"].purpose
    assert "Not configured" in str(found["admin_api"].description)


def test_a_component_that_the_host_supplies_says_what_it_is_for() -> None:
    assert resources(host=host_with("admin_api"))["admin_api"].description == COMPONENTS["admin_api"].purpose


def test_building_the_definitions_connects_to_nothing() -> None:
    settings = isolated_settings(
        database_url="postgresql://127.0.0.1:1/none",
        smtp_url="smtp://127.0.0.1:1",
        email_from="shop@example.test",
        admin_api_url="http://127.0.0.1:1",
        admin_api_token="ec_pat_x",
    )

    assert build_definitions(settings=settings).get_repository_def().has_job(JOB_NAME)


def test_a_component_of_the_host_comes_before_that_of_the_settings(url: str) -> None:
    outbox = Outbox()

    run = run_job(Host(email_outbox=outbox), settings=isolated_settings(database_url=url))

    assert len(outbox.drains) == 1
    assert run.statuses["stuck_emails"] == "completed"


def test_a_host_with_its_own_storage_needs_no_database() -> None:
    run = run_job(Host(reservation_release=Stock()))

    assert run.success
    assert run.statuses["stock_reservations"] == "completed"


def test_the_run_works_on_the_shop_that_the_settings_name(database: Database, url: str) -> None:
    put(database, "ops", webhook())

    run = run_job(settings=isolated_settings(database_url=url), config={"now": "2026-03-01T12:00:00Z"})

    assert run.metadata["raw_provider_payloads"]["purged"] == 1


def test_a_missing_sqlite_file_fails_the_run_before_anything_is_changed() -> None:
    said = failed_run(isolated_settings(database_url="sqlite:///missing.db"))

    assert said.startswith("Nothing was changed: the SQLite file missing.db does not exist")
    assert said.count("\n") == 0


def test_an_unreachable_server_fails_the_run_before_anything_is_changed() -> None:
    said = failed_run(isolated_settings(database_url="postgresql://shop:hidden@127.0.0.1:1/shop"))

    assert said.startswith("Nothing was changed: the shop's database: connection failed")
    assert "hidden" not in said


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("ALTER TABLE _plugin_storage RENAME TO other", "has no table _plugin_storage: it is not an EmDash site's"),
        ("ALTER TABLE mika_stock_events RENAME TO other", "an EmDash site without Mika, or one on which Mika's"),
    ],
)
def test_a_database_without_the_sites_tables_fails_the_run(url: str, statement: str, sentence: str) -> None:
    with open_database(url) as database, database.engine.begin() as connection:
        connection.execute(text(statement))

    said = failed_run(isolated_settings(database_url=url))

    assert said.startswith("Nothing was changed: the database has no table")
    assert sentence in said


def test_a_site_that_keeps_its_documents_under_another_plugin_id_fails_the_run(database: Database, url: str) -> None:
    put(database, "ops", webhook())

    said = failed_run(isolated_settings(database_url=url, plugin_id="mikka"))

    assert "no documents of plugin id 'mikka', but has some of 'mika': set MIKA_PLUGIN_ID" in said


def test_a_file_that_is_no_database_fails_the_run(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("shop") / "notes.txt"
    file.write_text("not a database, only some notes" * 100)

    said = failed_run(isolated_settings(database_url=f"sqlite:///{file}"))

    assert said == "Nothing was changed: the shop's database: file is not a database."


def test_the_shop_is_closed_at_the_end_of_a_run(postgres_sites: Sites) -> None:
    url = postgres_sites.new()
    assert run_job(settings=isolated_settings(database_url=url)).success

    others = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with open_database(url) as database, database.reading() as connection:
        assert connection.execute(others).scalar_one() == 0


def test_a_host_with_documents_and_a_sender_of_its_own_has_an_outbox_on_them(database: Database, url: str) -> None:
    put(database, "ops", email("email_1"))
    provider = Provider()
    host = Host(
        ops=Documents(database, "ops"), ledger=Documents(database, "ledger"), email=EmailOverrides(sender=provider)
    )
    run = run_job(host)
    assert run.metadata["email_outbox"]["sent"] == 1
    assert provider.ids == ["email_1"]
    assert run.statuses["acp_sessions"] == "skipped"


def test_the_outbox_works_on_the_documents_that_the_host_supplies_and_not_on_those_of_the_settings(
    database: Database, url: str, sqlite_sites: Sites, tmp_path: Path
) -> None:
    put(database, "ops", email("email_1"))
    with open_database(sqlite_sites.new()) as other:
        put(other, "ops", email("email_2"))
        host = Host(ops=Documents(other, "ops"))
        run_job(host, settings=isolated_settings(database_url=url, email_directory=tmp_path / "emails"))
        assert get(other, "ops", "email_2")["status"] == "sent"
    assert get(database, "ops", "email_1")["status"] == "queued"
