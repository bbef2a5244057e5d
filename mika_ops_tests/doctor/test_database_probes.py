"""The diagnosis of a database: tables, privileges and indexes."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from mika_ops.store import sqlite as sqlite_module
from mika_ops.store.database import Database
from mika_ops.store.schema.indexes import document_index_statements, document_indexes
from mika_ops.store.schema.own import acp_idempotency_keys, own
from mika_ops_testing.admin_api_server import running_site
from mika_ops_testing.sites import Sites
from mika_ops_testing.smtp_server import mail_server
from mika_ops_tests.doctor.diagnoses import (
    PASSWORD,
    TOKEN,
    connected,
    diagnosed,
    done_to,
    folder_for_everybody,
    forecast,
    reason_of,
    result_of,
    status_of,
    without_privileges,
)

INDEX = "idx_plugin_mika_ops_type_status"


class TestOurOwnTables:
    def test_without_them_only_acp_sessions_is_skipped(self, database: Database, url: str) -> None:
        with database.engine.begin() as connection:
            own.drop_all(connection)

        diagnosis = diagnosed(database_url=url)

        assert diagnosis.ok
        assert status_of(diagnosis, "ACP tables") == "not configured"
        assert "mika-ops db prepare" in result_of(diagnosis, "ACP tables").sentence
        assert "mika-ops db prepare" in str(reason_of(diagnosis, "acp_sessions"))
        assert forecast(diagnosis, "skipped") == ["email_outbox", "acp_sessions", "webhook_retries"]

    def test_one_without_the_other_is_broken(self, database: Database, url: str) -> None:
        with database.engine.begin() as connection:
            acp_idempotency_keys.drop(connection)

        diagnosis = diagnosed(database_url=url)

        assert status_of(diagnosis, "ACP tables") == "broken"
        assert "no mika_acp_idempotency_keys: `mika-ops db prepare`" in result_of(diagnosis, "ACP tables").sentence
        assert forecast(diagnosis, "cannot run") == ["acp_sessions"]


class TestIndexes:
    def test_they_are_counted(self, url: str) -> None:
        sentence = result_of(diagnosed(database_url=url), "indexes").sentence
        assert sentence.startswith(f"{len(list(document_indexes('mika')))} expression indexes")

    def test_one_that_is_missing_is_a_warning_with_the_statement_that_creates_it(
        self, database: Database, url: str
    ) -> None:
        done_to(url, f'DROP INDEX "{INDEX}"')

        lacking = diagnosed(database_url=url)
        (statement,) = result_of(lacking, "indexes").statements
        done_to(url, statement)
        repaired = diagnosed(database_url=url)

        assert lacking.ok
        assert status_of(lacking, "indexes") == "warning"
        assert "none to look up ops by type, status" in result_of(lacking, "indexes").sentence
        assert forecast(lacking, "cannot run") == []
        assert statement in document_index_statements(database.dialect, "mika")
        assert INDEX in statement
        assert result_of(repaired, "indexes").status == "ok"
        assert result_of(repaired, "indexes").statements == ()

    def test_one_that_maintenance_does_not_use_is_not_missed(self, url: str) -> None:
        done_to(url, 'DROP INDEX "idx_plugin_mika_catalog_active"')
        assert status_of(diagnosed(database_url=url), "indexes") == "ok"

    def test_one_that_starts_with_the_same_fields_serves_as_well(self, url: str) -> None:
        done_to(url, 'DROP INDEX "idx_plugin_mika_account_type_customerId"')
        assert status_of(diagnosed(database_url=url), "indexes") == "ok"

    def test_without_any_all_are_missing_and_the_statements_create_them(self, database: Database, url: str) -> None:
        done_to(url, *(f'DROP INDEX "{name}"' for name, *_ in document_indexes("mika")))

        lacking = diagnosed(database_url=url)
        done_to(url, *result_of(lacking, "indexes").statements)

        assert lacking.ok
        assert result_of(lacking, "indexes").sentence.startswith("0 expression indexes")
        assert status_of(diagnosed(database_url=url), "indexes") == "ok"

    def test_one_of_some_rows_only_does_not_count_and_is_replaced(self, database: Database, url: str) -> None:
        (statement,) = (each for each in document_index_statements(database.dialect, "mika") if INDEX in each)
        done_to(url, f'DROP INDEX "{INDEX}"', f"{statement} WHERE id > 'b'")

        statements = result_of(diagnosed(database_url=url), "indexes").statements
        done_to(url, *statements)

        assert statements == (f'DROP INDEX "{INDEX}"', statement)
        assert status_of(diagnosed(database_url=url), "indexes") == "ok"

    def test_one_that_was_left_half_made_does_not_count_and_is_replaced(self, postgres_sites: Sites) -> None:
        url = postgres_sites.new()
        done_to(url, f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '\"{INDEX}\"'::regclass")

        done_to(url, *result_of(diagnosed(database_url=url), "indexes").statements)

        assert status_of(diagnosed(database_url=url), "indexes") == "ok"

    def test_those_of_a_plugin_id_whose_names_are_cut_off_are_found_and_replaced(self, postgres_sites: Sites) -> None:
        url, plugin_id = postgres_sites.new(), "mika_of_a_shop_with_a_long_name_indeed"
        done_to(url, *document_index_statements("postgresql", plugin_id))
        assert status_of(diagnosed(database_url=url, plugin_id=plugin_id), "indexes") == "ok"


class TestADatabaseThatIsBroken:
    @pytest.mark.parametrize(
        ("database_url", "sentence"),
        [
            ("sqlite:///missing.db", "the SQLite file missing.db does not exist"),
            (f"postgresql://shop:{PASSWORD}@127.0.0.1:1/shop", "the shop's database: connection failed"),
        ],
    )
    def test_one_that_cannot_be_opened_is_reported_and_everything_else_is_tested(
        self, database_url: str, sentence: str
    ) -> None:
        with mail_server() as mailroom, running_site() as site:
            diagnosis = diagnosed(
                database_url=database_url,
                smtp_url=f"smtp://127.0.0.1:{mailroom.port}",
                email_from="shop@shop.test",
                admin_api_url=site.url,
                admin_api_token=TOKEN,
                alert_urls="json://127.0.0.1:1/hook",
            )

        assert not diagnosis.ok
        assert sentence in result_of(diagnosis, "database").sentence
        assert PASSWORD not in str(diagnosis)
        assert [result.name for result in diagnosis.results if result.status != "ok"] == ["database"]
        assert {(each.status, each.reason) for each in diagnosis.subtasks} == {("cannot run", "broken: database")}

    def test_one_that_is_no_site_is_reported_and_left_unchanged(self, tmp_path: Path) -> None:
        file = tmp_path / "empty.db"
        file.touch()

        diagnosis = diagnosed(database_url=f"sqlite:///{file}")

        assert result_of(diagnosis, "database").sentence.startswith("the database has no table _plugin_storage")
        assert file.stat().st_size == 0

    def test_a_missing_database_is_reported(self, postgres_sites: Sites) -> None:
        url = make_url(postgres_sites.new()).set(database="nowhere").render_as_string(hide_password=False)
        assert 'database "nowhere" does not exist' in result_of(diagnosed(database_url=url), "database").sentence

    def test_a_table_without_one_of_its_columns_stops_those_that_need_it(self, url: str) -> None:
        done_to(url, "ALTER TABLE mika_stock_items DROP COLUMN low_stock_threshold")

        diagnosis = diagnosed(database_url=url)

        assert status_of(diagnosis, "reading") == "broken"
        assert result_of(diagnosis, "reading").sentence.startswith("mika_stock_items: ")
        assert "low_stock_threshold" in result_of(diagnosis, "reading").sentence
        assert forecast(diagnosis, "cannot run") == ["stock_reservations", "account_delete_requests"]
        assert reason_of(diagnosis, "stock_reservations") == "broken: reading"

    def test_stock_does_not_fall_back_on_the_admin_api_for_a_table_that_is_broken(self, sqlite_sites: Sites) -> None:
        url = sqlite_sites.new()
        done_to(url, "ALTER TABLE mika_stock_items DROP COLUMN low_stock_threshold")
        with running_site() as site:
            diagnosis = diagnosed(database_url=url, admin_api_url=site.url, admin_api_token=TOKEN)

        assert status_of(diagnosis, "admin API") == "ok"
        assert reason_of(diagnosis, "stock_reservations") == "broken: reading"


@pytest.fixture
def role(postgres_sites: Sites) -> Iterator[tuple[str, str]]:
    """Return the URL of a site for its owner, and for a user who may read and write all that maintenance does."""
    url = postgres_sites.new()
    done_to(
        url,
        "CREATE ROLE limited LOGIN",
        "GRANT SELECT, UPDATE ON _plugin_storage, mika_stock_items, mika_stock_events TO limited",
        "GRANT SELECT, UPDATE, DELETE ON mika_ephemeral_records, mika_acp_sessions TO limited",
        "GRANT SELECT, DELETE ON mika_acp_idempotency_keys TO limited",
        "GRANT SELECT ON mika_ops_schema TO limited",
    )
    yield url, make_url(url).set(username="limited").render_as_string(hide_password=False)
    done_to(url, "DROP OWNED BY limited", "DROP ROLE limited")


class TestRightsInPostgres:
    def test_these_are_enough(self, role: tuple[str, str]) -> None:
        _owners, limited = role
        diagnosis = diagnosed(database_url=limited)
        assert diagnosis.ok
        assert forecast(diagnosis, "skipped") == ["email_outbox", "webhook_retries"]

    def test_so_are_those_on_the_columns_that_are_written(self, role: tuple[str, str]) -> None:
        owners, limited = role
        done_to(
            owners,
            "REVOKE UPDATE ON _plugin_storage FROM limited",
            "GRANT UPDATE (data, updated_at) ON _plugin_storage TO limited",
        )
        assert status_of(diagnosed(database_url=limited), "writing") == "ok"

    @pytest.mark.parametrize(
        ("right", "table", "check", "stopped"),
        [
            ("UPDATE", "mika_stock_events", "writing", ["stock_reservations", "account_delete_requests"]),
            ("SELECT", "mika_stock_events", "reading", ["stock_reservations", "account_delete_requests"]),
            ("DELETE", "mika_ephemeral_records", "writing", ["ephemeral_records", "account_delete_requests"]),
            ("DELETE", "mika_acp_idempotency_keys", "writing", ["acp_sessions"]),
            (
                "UPDATE",
                "_plugin_storage",
                "writing",
                ["stuck_emails", "raw_provider_payloads", "account_delete_requests", "stuck_workflows"],
            ),
        ],
    )
    def test_one_that_is_missing_is_named_and_stops_those_that_need_it(
        self, right: str, table: str, check: str, stopped: list[str], role: tuple[str, str]
    ) -> None:
        owners, limited = role
        done_to(owners, f"REVOKE {right} ON {table} FROM limited")

        diagnosis = diagnosed(database_url=limited)

        assert not diagnosis.ok
        assert result_of(diagnosis, check).sentence.startswith(f"{table}: ")
        if check == "writing":
            assert result_of(diagnosis, check).sentence == f"{table}: the user may not {right}"
        assert forecast(diagnosis, "cannot run") == stopped

    def test_a_user_whose_transactions_are_read_only_is_reported(self, role: tuple[str, str]) -> None:
        owners, limited = role
        done_to(owners, "ALTER ROLE limited SET default_transaction_read_only = on")

        diagnosis = diagnosed(database_url=limited)

        assert "transactions are read-only by default" in result_of(diagnosis, "writing").sentence
        assert "raw_provider_payloads" in forecast(diagnosis, "cannot run")

    def test_a_locked_table_is_reported_after_a_timeout(self, postgres_sites: Sites) -> None:
        url = postgres_sites.new()
        with connected(url) as somebody:
            somebody.execute(text("LOCK TABLE mika_stock_items IN ACCESS EXCLUSIVE MODE"))
            diagnosis = diagnosed(database_url=url)

        assert result_of(diagnosis, "reading").sentence.startswith("mika_stock_items: ")
        assert "lock timeout" in result_of(diagnosis, "reading").sentence
        assert status_of(diagnosis, "indexes") == "ok"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    with folder_for_everybody() as folder:
        yield folder


class TestRightsOnAFile:
    @pytest.fixture
    def file(self, sqlite_sites: Sites, open_folder: Path) -> Path:
        made = Path(make_url(sqlite_sites.new()).database or "").rename(open_folder / "site.db")
        made.chmod(0o666)
        return made

    def test_what_everybody_may_write_is_fine(self, file: Path) -> None:
        with without_privileges():
            assert diagnosed(database_url=f"sqlite:///{file}").ok

    @pytest.mark.parametrize(
        ("mode_of_file", "mode_of_folder", "sentence"),
        [
            (0o444, 0o777, "site.db cannot be written: allow it"),
            (0o666, 0o555, "cannot be written, where SQLite keeps its journal while it writes"),
        ],
    )
    def test_a_file_or_folder_that_is_read_only_stops_all_that_write(
        self, mode_of_file: int, mode_of_folder: int, sentence: str, file: Path
    ) -> None:
        file.chmod(mode_of_file)
        file.parent.chmod(mode_of_folder)

        with without_privileges():
            diagnosis = diagnosed(database_url=f"sqlite:///{file}")
        file.parent.chmod(0o777)

        assert status_of(diagnosis, "reading") == "ok"
        assert status_of(diagnosis, "writing") == "broken"
        assert sentence in result_of(diagnosis, "writing").sentence
        assert len(forecast(diagnosis, "cannot run")) == 7

    def test_a_file_that_is_locked_for_too_long_is_reported(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sqlite_module, "BUSY_TIMEOUT_SECONDS", 0.1)
        with closing(sqlite3.connect(file, isolation_level=None)) as somebody:
            somebody.execute("BEGIN IMMEDIATE")
            diagnosis = diagnosed(database_url=f"sqlite:///{file}")

        assert "database is locked" in result_of(diagnosis, "writing").sentence
