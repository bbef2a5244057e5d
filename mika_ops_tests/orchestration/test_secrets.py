from pathlib import Path

import dagster as dg
import pytest
from dagster_shared.serdes import serialize_value
from sqlalchemy import make_url

from mika_ops.config.errors import SettingsError
from mika_ops.config.loading import isolated_settings, load_settings
from mika_ops.config.settings import Settings
from mika_ops.orchestration.definitions import build_definitions
from mika_ops.store.opening import open_database
from mika_ops.store.schema.site import stock_events
from mika_ops_testing.builders import email, put, put_rows, reservation, workflow
from mika_ops_testing.dagster_internals import RepositorySnap
from mika_ops_tests.orchestration.fake_host import run_job

CANARY = "canary-5f2c"
TO_SOMEBODY = "somebody-77aa"


def with_password(url: str) -> str:
    return make_url(url).set(username="postgres", password=CANARY).render_as_string(hide_password=False)


def settings_full_of_secrets(database_url: str) -> Settings:
    return isolated_settings(
        database_url=database_url,
        smtp_url=f"smtp://shop:{CANARY}@127.0.0.1:1",
        email_from="shop@example.test",
        admin_api_url="http://127.0.0.1:1",
        admin_api_token=f"ec_pat_{CANARY}",
    )


def recorded_in(home: Path) -> dg.DagsterInstance:
    return dg.DagsterInstance.local_temp(str(home), overrides={"telemetry": {"enabled": False}})


def files_with(word: str, folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and word.encode() in path.read_bytes()]


@pytest.mark.filterwarnings("ignore:Property `ScheduleDefinition.environment_vars` is deprecated:DeprecationWarning")
def test_the_definitions_that_the_ui_reads_hold_no_secret() -> None:
    settings = settings_full_of_secrets(f"postgresql://shop:{CANARY}@127.0.0.1:1/shop")
    repository = build_definitions(settings=settings).get_repository_def()

    shown = serialize_value(RepositorySnap.from_def(repository))

    assert "Drains the email outbox" in shown
    assert CANARY not in shown


def test_settings_show_no_secret_when_they_are_printed() -> None:
    settings = settings_full_of_secrets(f"postgresql://shop:{CANARY}@127.0.0.1:1/shop")

    assert CANARY not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


@pytest.mark.parametrize(
    "values",
    [
        {"database_url": f"postgresql://shop@host:{CANARY}/shop"},
        {"database_url": CANARY},
        {"smtp_url": f"smtp://shop:{CANARY}@host:port", "email_from": "shop@example.test"},
        {"admin_api_url": "https://shop.example", "admin_api_token": f"{CANARY} with a space"},
        {"admin_api_token": CANARY},
    ],
)
def test_wrong_settings_are_reported_without_their_secrets(values: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(**values)
    with pytest.raises(ValueError, match="validation error") as raw:
        Settings(**values)  # type: ignore[arg-type]

    assert CANARY not in f"{error.value} {raw.value}"


def test_neither_a_failing_nor_a_succeeding_run_leaves_a_secret_in_dagsters_storage(
    url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with open_database(url) as database:
        put(database, "ops", email(toEmail=f"{TO_SOMEBODY}@example.test"))
        put(database, "ops", workflow(nextAttemptAt="2026-02-28T12:00:00.000Z"))
    on_postgres = make_url(url).get_backend_name() == "postgresql"
    home = tmp_path / "home"
    home.mkdir()

    with recorded_in(home) as instance:
        failing = run_job(
            settings=settings_full_of_secrets(f"postgresql://shop:{CANARY}@127.0.0.1:1/shop"), instance=instance
        )
        succeeding = run_job(
            settings=settings_full_of_secrets(with_password(url) if on_postgres else url), instance=instance
        )

    assert (failing.success, succeeding.success) == (False, True)
    assert succeeding.metadata["webhook_retries"]["failed"] == 1
    assert succeeding.metadata["email_outbox"]["sent"] == 0
    assert files_with(succeeding.id, home) != []
    assert files_with(CANARY, home) == []
    assert files_with(TO_SOMEBODY, home) == []
    captured = capfd.readouterr()
    assert "mika_maintenance" in captured.err + captured.out
    assert CANARY not in captured.err + captured.out


def test_a_run_that_fails_for_its_stock_leaves_no_secret_in_dagsters_storage(url: str, tmp_path: Path) -> None:
    with open_database(url) as database:
        put_rows(database, stock_events, reservation(stock_item_id="gone", customer_id=TO_SOMEBODY))
    home = tmp_path / "home"
    home.mkdir()

    with recorded_in(home) as instance:
        run = run_job(settings=settings_full_of_secrets(url), instance=instance)

    assert not run.success
    assert "event_1" in str(run.failure)
    assert files_with(CANARY, home) == []
    assert files_with(TO_SOMEBODY, home) == []
