"""The diagnosis of real databases, mail servers and sites, which it leaves unchanged."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mika_ops.config.settings import Settings
from mika_ops.doctor import diagnosis as diagnosis_module
from mika_ops.doctor.diagnosis import Diagnosis
from mika_ops.doctor.probe import Probe, ProbeResult
from mika_ops.doctor.probes import PROBES
from mika_ops.store.database import Database
from mika_ops.subtasks.registry import SUBTASK_NAMES
from mika_ops_testing.admin_api_server import running_site, says
from mika_ops_testing.builders import email, put
from mika_ops_testing.recorded_admin_api import RecordedSite, recorded
from mika_ops_testing.sites import DatabaseKind, Sites
from mika_ops_testing.smtp_server import accepting, free_port, mail_server, self_signed, silent
from mika_ops_tests.doctor.diagnoses import (
    PASSWORD,
    TOKEN,
    diagnosed,
    dumped,
    folder_for_everybody,
    forecast,
    reason_of,
    result_of,
    status_of,
    without_privileges,
)


class TestAShopInOrder:
    def test_every_configured_component_is_tested_and_all_nine_subtasks_run(self, url: str) -> None:
        with mail_server(**accepting("shop", PASSWORD)) as mailroom, running_site() as site:
            diagnosis = diagnosed(
                database_url=url,
                smtp_url=f"smtp://shop:{PASSWORD}@127.0.0.1:{mailroom.port}",
                email_from="shop@shop.test",
                admin_api_url=site.url,
                admin_api_token=TOKEN,
                alert_urls="json://127.0.0.1:1/hook",
            )

        assert diagnosis.ok
        assert {result.status for result in diagnosis.results} == {"ok"}
        assert forecast(diagnosis, "runs") == list(SUBTASK_NAMES)

    def test_it_is_left_as_it_is(self, database: Database, url: str, tmp_path: Path) -> None:
        put(database, "ops", email())
        database.close()
        before = dumped(url)

        with mail_server() as mailroom:
            smtp = diagnosed(
                database_url=url, smtp_url=f"smtp://127.0.0.1:{mailroom.port}", email_from="shop@shop.test"
            )
        folder = diagnosed(database_url=url, email_directory=tmp_path / "not" / "made")

        assert smtp.ok
        assert folder.ok
        assert dumped(url) == before
        assert (mailroom.deliveries, mailroom.seen["MAIL"], mailroom.seen["QUIT"]) == ([], 0, 1)
        assert list(tmp_path.iterdir()) == []

    def test_the_database_says_which_it_is(self, kind: DatabaseKind, url: str) -> None:
        sentence = result_of(diagnosed(database_url=url), "database").sentence
        assert sentence.startswith(f"SQLite {sqlite3.sqlite_version}, " if kind == "sqlite" else "Postgres 1")

    def test_the_settings_that_are_set_are_named_without_their_values(self, url: str) -> None:
        sentence = result_of(diagnosed(database_url=url, site_name="Tea House"), "settings").sentence
        assert sentence == "set: MIKA_DATABASE_URL, MIKA_SITE_NAME"


def test_a_shop_with_nothing_configured_is_in_order_and_each_subtask_says_what_to_set() -> None:
    diagnosis = diagnosed()

    assert diagnosis.ok
    assert forecast(diagnosis, "skipped") == list(SUBTASK_NAMES)
    assert reason_of(diagnosis, "stuck_emails") == "not configured: ops; set MIKA_DATABASE_URL"
    assert status_of(diagnosis, "settings") == "warning"
    assert {status_of(diagnosis, name) for name in ("database", "email", "admin API")} == {"not configured"}


class TestTheMailServer:
    def settings(self, url: str, port: int, *, scheme: str = "smtp", **options: Any) -> dict[str, Any]:
        smtp = f"{scheme}://shop:{PASSWORD}@127.0.0.1:{port}"
        return {"database_url": url, "smtp_url": smtp, "email_from": "shop@shop.test", **options}

    @pytest.fixture
    def url(self, sqlite_sites: Sites) -> str:
        return sqlite_sites.new()

    def broken(self, diagnosis: Diagnosis) -> str:
        """Return the sentence about a mail server that is broken; all else goes on."""
        assert not diagnosis.ok
        assert [result.name for result in diagnosis.results if result.status == "broken"] == ["email"]
        assert (forecast(diagnosis, "cannot run"), reason_of(diagnosis, "email_outbox")) == (
            ["email_outbox"],
            "broken: email",
        )
        assert PASSWORD not in str(diagnosis)
        return result_of(diagnosis, "email").sentence

    def test_it_is_logged_in_to(self, url: str) -> None:
        with mail_server(**accepting("shop", PASSWORD)) as mailroom:
            diagnosis = diagnosed(**self.settings(url, mailroom.port))
        assert "connected, logged in; nothing was sent" in result_of(diagnosis, "email").sentence
        assert mailroom.connections == mailroom.seen["QUIT"] == 1
        assert mailroom.deliveries == []

    def test_a_wrong_login_is_reported(self, url: str) -> None:
        with mail_server(**accepting("shop", "another")) as mailroom:
            sentence = self.broken(diagnosed(**self.settings(url, mailroom.port)))
        assert "answered 535 to AUTH" in sentence
        assert "check the user and the password" in sentence

    def test_a_login_apart_from_the_url_is_used(self, url: str) -> None:
        with mail_server(**accepting("shop", PASSWORD)) as mailroom:
            apart = {"smtp_username": "shop", "smtp_password": PASSWORD}
            settings = self.settings(url, mailroom.port, **apart) | {"smtp_url": f"smtp://127.0.0.1:{mailroom.port}"}
            assert "logged in" in result_of(diagnosed(**settings), "email").sentence

    def test_a_port_without_a_server_is_reported(self, url: str) -> None:
        assert "could not be reached" in self.broken(diagnosed(**self.settings(url, free_port())))

    def test_a_silent_server_times_out(self, url: str) -> None:
        with silent() as port:
            sentence = self.broken(diagnosed(**self.settings(url, port, smtp_connect_timeout_seconds=0.2)))
        assert "timed out" in sentence

    def test_an_untrusted_certificate_is_reported_and_may_be_accepted(self, url: str, tmp_path: Path) -> None:
        _certificate, context = self_signed(tmp_path)
        with mail_server(tls_context=context, **accepting("shop", PASSWORD)) as mailroom:
            settings = self.settings(url, mailroom.port, scheme="smtp+starttls")
            refused = diagnosed(**settings)
            accepted = diagnosed(**settings, smtp_verify_tls=False)
        assert "certificate was not accepted" in self.broken(refused)
        assert status_of(accepted, "email") == "ok"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    with folder_for_everybody() as folder:
        yield folder


class TestTheFolderOfEmails:
    @pytest.fixture
    def url(self, sqlite_sites: Sites) -> str:
        return sqlite_sites.new()

    @pytest.mark.parametrize("name", ["", "made/later"])
    def test_one_that_is_there_or_can_be_made_is_fine(self, name: str, url: str, tmp_path: Path) -> None:
        assert status_of(diagnosed(database_url=url, email_directory=tmp_path / name), "email") == "ok"

    def test_one_that_is_named_from_here_is_fine(self, url: str) -> None:
        assert status_of(diagnosed(database_url=url, email_directory=Path("outbox")), "email") == "ok"

    def test_one_in_a_file_cannot_be_made(self, url: str, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        diagnosis = diagnosed(database_url=url, email_directory=tmp_path / "file" / "outbox")
        assert "is not a writable folder" in result_of(diagnosis, "email").sentence
        assert forecast(diagnosis, "cannot run") == ["email_outbox"]

    @pytest.mark.parametrize(("name", "problem"), [("", "cannot be written"), ("outbox", "cannot be created")])
    def test_one_that_may_not_be_written_is_broken(self, name: str, problem: str, open_folder: Path) -> None:
        open_folder.chmod(0o555)
        with without_privileges():
            diagnosis = diagnosed(database_url="sqlite:///missing.db", email_directory=open_folder / name)
        assert problem in result_of(diagnosis, "email").sentence


class TestTemplates:
    @pytest.mark.parametrize(
        ("name", "source", "sentence"),
        [
            ("download.txt.j2", "{% if %}", "the template download.txt.j2 cannot be read: line 1"),
            ("magic_link.html.j2", "\n{{ nobody }}", "magic_link: the template magic_link.html.j2, line 2, uses a"),
        ],
    )
    def test_one_that_does_not_work_is_reported(
        self, name: str, source: str, sentence: str, sqlite_sites: Sites, tmp_path: Path
    ) -> None:
        (tmp_path / name).write_text(source)
        diagnosis = diagnosed(
            database_url=sqlite_sites.new(), email_directory=tmp_path / "outbox", email_templates=tmp_path
        )
        assert sentence in result_of(diagnosis, "email templates").sentence
        assert forecast(diagnosis, "cannot run") == ["email_outbox"]

    def test_one_that_fails_for_one_purpose_of_a_magic_link_only_is_broken(self, tmp_path: Path) -> None:
        (tmp_path / "magic_link.txt.j2").write_text("{% if purpose == 'checkout' %}{{ nobody }}{% endif %}{{ link }}")
        assert status_of(diagnosed(email_templates=tmp_path), "email templates") == "broken"

    def test_a_file_that_takes_no_templates_place_is_a_warning(self, tmp_path: Path) -> None:
        (tmp_path / "magic-link.html.j2").touch()
        result = result_of(diagnosed(email_templates=tmp_path), "email templates")
        assert (result.status, "did you mean magic_link.html.j2?" in result.sentence) == ("warning", True)


class TestTheAdminApi:
    def test_a_site_that_takes_the_call_is_fine(self, sqlite_sites: Sites) -> None:
        with running_site() as site:
            diagnosis = diagnosed(database_url=sqlite_sites.new(), admin_api_url=site.url, admin_api_token=TOKEN)
        (call,) = site.calls
        assert call.headers["authorization"] == f"Bearer {TOKEN}"
        assert status_of(diagnosis, "admin API") == "ok"
        assert "webhook_retries" in forecast(diagnosis, "runs")

    def test_a_recorded_site_is_asked_for_nothing_that_it_records(self) -> None:
        with running_site() as site:
            site.reply_to = recorded_site = RecordedSite(TOKEN)
            diagnosis = diagnosed(admin_api_url=site.url, admin_api_token=TOKEN)
        sentence = (
            "the site accepts our calls: token, role, scope, key header and storage work; the test changed nothing"
        )
        assert result_of(diagnosis, "admin API").sentence == sentence
        assert (len(site.calls), recorded_site.ran) == (1, [])

    @pytest.mark.parametrize(
        "name", ["check-by-unknown-webhook-no-header", "replay-storage-missing", "release-scope-missing"]
    )
    def test_a_recorded_site_without_header_storage_or_scope_is_broken(self, name: str) -> None:
        with running_site() as site:
            site.will(recorded(name))
            diagnosis = diagnosed(admin_api_url=site.url, admin_api_token=TOKEN)
        assert status_of(diagnosis, "admin API") == "broken"
        assert forecast(diagnosis, "cannot run") == ["stock_reservations"]

    def test_without_a_database_it_releases_stock_and_no_more(self) -> None:
        with running_site() as site:
            diagnosis = diagnosed(admin_api_url=site.url, admin_api_token=TOKEN)
        assert forecast(diagnosis, "runs") == ["stock_reservations"]

    def test_a_refused_token_is_reported(self, sqlite_sites: Sites) -> None:
        refusal = says({"error": {"code": "INVALID_TOKEN", "message": f"No {TOKEN}"}}, status=401)
        with running_site() as site:
            site.will(refusal)
            diagnosis = diagnosed(database_url=sqlite_sites.new(), admin_api_url=site.url, admin_api_token=TOKEN)
        assert "set MIKA_ADMIN_API_TOKEN" in result_of(diagnosis, "admin API").sentence
        assert forecast(diagnosis, "cannot run") == ["webhook_retries"]
        assert TOKEN not in str(diagnosis)

    def test_an_unreachable_site_is_reported(self) -> None:
        diagnosis = diagnosed(admin_api_url=f"http://127.0.0.1:{free_port()}", admin_api_token=TOKEN)
        assert status_of(diagnosis, "admin API") == "broken"
        assert "check MIKA_ADMIN_API_URL" in result_of(diagnosis, "admin API").sentence
        assert forecast(diagnosis, "cannot run") == ["stock_reservations"]


def test_an_exception_of_a_probe_is_a_result_without_private_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(_settings: Settings) -> Iterator[ProbeResult]:
        yield ProbeResult("first", "ok", "fine")
        raise RuntimeError(f"shop@shop.test at https://shop.test/?t=1 with {TOKEN}")

    broken = Probe("second", frozenset(), raising)
    monkeypatch.setattr(diagnosis_module, "PROBES", (broken, *PROBES))

    diagnosis = diagnosed()

    assert [(result.name, result.status) for result in diagnosis.results][:3] == [
        ("first", "ok"),
        ("second", "broken"),
        ("settings", "warning"),
    ]
    assert result_of(diagnosis, "second").sentence == "<address> at <link> with <token>"


def test_the_addresses_of_alerts_are_read_and_nothing_is_sent() -> None:
    well = diagnosed(alert_urls="json://127.0.0.1:1/hook, mailto://user:hunter2@mail.example")
    assert status_of(well, "alerts") == "ok"
    assert result_of(well, "alerts").sentence == "2 valid addresses; `mika-ops alerts test` sends a test alert to each"
    assert status_of(diagnosed(), "alerts") == "not configured"


def test_an_address_of_alerts_that_is_none_is_broken_and_not_shown() -> None:
    wrong = diagnosed(alert_urls="json://127.0.0.1:1/hook, nonsense://hunter2")
    assert status_of(wrong, "alerts") == "broken"
    assert result_of(wrong, "alerts").sentence.startswith("MIKA_ALERT_URLS: number 2 is no address")
    assert "hunter2" not in str(wrong)
    assert not wrong.ok


class TestWorkers:
    def test_one_process_is_not_mentioned(self) -> None:
        assert "workers" not in {result.name for result in diagnosed().results}

    def test_shards_that_one_process_would_do_in_turn_are_a_warning(self) -> None:
        assert status_of(diagnosed(shards=4), "workers") == "warning"
        assert "has no effect with MIKA_EXECUTOR=in_process" in result_of(diagnosed(shards=4), "workers").sentence

    def test_processes_are_fine(self) -> None:
        found = result_of(diagnosed(executor="multiprocess", shards=4), "workers")
        assert (found.status, found.sentence) == ("ok", "multiprocess executes runs, in at most 4 shards")

    def test_a_broker_that_is_down_keeps_all_from_running(self, url: str) -> None:
        broker = f"redis://:{PASSWORD}@127.0.0.1:{free_port()}/0"
        found = diagnosed(database_url=url, executor="celery", celery_broker_url=broker)
        assert status_of(found, "workers") == "broken"
        sentence = result_of(found, "workers").sentence
        assert sentence.startswith("the broker of MIKA_CELERY_BROKER_URL cannot be reached (")
        assert PASSWORD not in sentence
        assert forecast(found, "runs") == []

    def test_celery_without_a_broker_is_broken(self) -> None:
        assert "needs MIKA_CELERY_BROKER_URL" in result_of(diagnosed(executor="celery"), "workers").sentence
