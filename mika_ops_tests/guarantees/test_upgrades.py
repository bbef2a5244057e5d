"""Tables of another version: ours say so, EmDash's may have more or less than we know."""

import pytest
from sqlalchemy import inspect, text

from mika_ops.config.loading import isolated_settings
from mika_ops.config.shop import Shop
from mika_ops.orchestration.run_once import RunReport, run_once
from mika_ops.store.acp_sessions import AcpSessionStore
from mika_ops.store.database import Database
from mika_ops.store.schema.own import acp_idempotency_keys, acp_sessions, own, own_version
from mika_ops_testing.builders import BEFORE, acp_session, email, get, put, rows_of
from mika_ops_testing.shop_at_work import shop_at_work
from mika_ops_tests.cli.test_run import called
from mika_ops_tests.doctor.diagnoses import diagnosed, done_to, forecast, result_of, status_of


def maintained(url: str) -> RunReport:
    return run_once(Shop(isolated_settings(database_url=url)), now="2026-03-01T12:00:00.000Z")


def failed(report: RunReport) -> dict[str, str]:
    return report.errors


def as_in_version_1(database: Database, *, named: bool) -> None:
    """Give the tables of ACP sessions the layout of version 1, with a key that was answered."""
    integer = "ALTER TABLE mika_acp_sessions ALTER COLUMN version TYPE integer"
    with database.engine.begin() as connection:
        if database.dialect == "postgresql":
            connection.exec_driver_sql(integer)
        for column in ("fencing_token", "expires_at"):
            connection.exec_driver_sql(f"ALTER TABLE mika_acp_idempotency_keys DROP COLUMN {column}")
        connection.exec_driver_sql("ALTER TABLE mika_acp_idempotency_keys ADD COLUMN response_json TEXT")
        connection.exec_driver_sql(
            f"INSERT INTO mika_acp_idempotency_keys VALUES ('answered', 'acp_2', '{BEFORE}', '{{}}')"
        )
        if named:
            connection.execute(own_version.update().values(version=1))
    if not named:
        own_version.drop(database.engine)


def layout_of(database: Database) -> dict[str, dict[str, str]]:
    with database.reading() as connection:
        look = inspect(connection)
        return {name: {each["name"]: str(each["type"]) for each in look.get_columns(name)} for name in own.tables}


@pytest.mark.parametrize("named", [True, False])
def test_tables_of_version_1_are_upgraded_in_place_by_preparing(database: Database, url: str, named: bool) -> None:
    current = layout_of(database)
    AcpSessionStore(database).put([acp_session("acp_1", expiresAt=BEFORE)])
    as_in_version_1(database, named=named)
    older = "the tables of ACP sessions are older than version 2: run `mika-ops db prepare`"

    assert failed(maintained(url)) == {"acp_sessions": older}
    assert result_of(diagnosed(database_url=url), "ACP tables").sentence == older
    assert rows_of(database, acp_sessions)["acp_1"]["expired_at"] is None

    assert called("db", "prepare", database_url=url).exit_code == 0
    assert layout_of(database) == current
    assert rows_of(database, acp_idempotency_keys)["answered"]["fencing_token"] is None, "an answered key is bound"
    assert failed(maintained(url)) == {}
    assert rows_of(database, acp_sessions)["acp_1"]["expired_at"] is not None
    assert called("db", "prepare", database_url=url).exit_code == 0


def test_tables_of_a_newer_mika_ops_are_reported_and_left_alone(database: Database, url: str) -> None:
    AcpSessionStore(database).put([acp_session("acp_1", expiresAt=BEFORE)])
    with database.engine.begin() as connection:
        connection.execute(own_version.update().values(version=3))
    newer = "the tables of ACP sessions are of version 3, made by a newer mika-ops; this one knows 2: upgrade it"

    assert failed(maintained(url)) == {"acp_sessions": newer}
    assert status_of(diagnosed(database_url=url), "ACP tables") == "broken"
    refused = called("db", "prepare", database_url=url)
    assert (refused.exit_code, refused.stderr) == (2, f"mika-ops: {newer}\n")
    assert rows_of(database, acp_sessions)["acp_1"]["expired_at"] is None
    with database.reading() as connection:
        assert connection.execute(own_version.select()).scalar_one() == 3


def test_a_site_whose_tables_have_more_columns_is_maintained_and_they_stay(database: Database, url: str) -> None:
    tables = ("_plugin_storage", "mika_stock_items", "mika_stock_events", "mika_ephemeral_records")
    done_to(url, *(f"ALTER TABLE {table} ADD COLUMN of_tomorrow TEXT DEFAULT 'kept'" for table in tables))

    with shop_at_work(url) as world:
        report = run_once(Shop(isolated_settings(**world.settings)))
        assert {outcome.status for outcome in report.subtasks.values()} == {"completed"}
        assert world.broken_promises(interruptions=0) == []

    with database.reading() as connection:
        assert set(connection.execute(text("SELECT of_tomorrow FROM _plugin_storage")).scalars()) == {"kept"}


@pytest.mark.parametrize(
    "prefix",
    [
        "idx_plugin_mika_ops",
        *(pytest.param(f"idx_mika_{name}", marks=pytest.mark.long) for name in ("stock", "ephemeral")),
    ],
)
def test_a_site_that_lacks_indexes_is_maintained_all_the_same(database: Database, url: str, prefix: str) -> None:
    names = (
        "SELECT name FROM sqlite_master WHERE type = 'index'"
        if database.dialect == "sqlite"
        else "SELECT indexname FROM pg_indexes"
    )
    with database.reading() as connection:
        dropped = [name for name in connection.execute(text(names)).scalars() if name.startswith(prefix)]
    done_to(url, *(f'DROP INDEX "{name}"' for name in dropped))

    with shop_at_work(url) as world:
        report = run_once(Shop(isolated_settings(**world.settings)))
        assert {outcome.status for outcome in report.subtasks.values()} == {"completed"}
        assert world.broken_promises(interruptions=0) == []

    assert len(dropped) > 2
    diagnosis = diagnosed(database_url=url)
    assert diagnosis.ok
    assert status_of(diagnosis, "indexes") == ("warning" if "plugin" in prefix else "ok")
    assert forecast(diagnosis, "cannot run") == []


def test_a_document_keeps_the_fields_that_we_do_not_know(database: Database, url: str) -> None:
    put(
        database, "ops", email("email_1", top={"ofTomorrow": {"a": [1]}}, attemptCount=5, leaseExpiresAt=BEFORE, also=2)
    )

    assert failed(maintained(url)) == {}

    stored = get(database, "ops", "email_1")
    assert stored["status"] == "failed"
    assert (stored["ofTomorrow"], stored["record"]["also"]) == ({"a": [1]}, 2)
