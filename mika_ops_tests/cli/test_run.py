import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import inspect

from mika_ops.cli.main import main
from mika_ops.store.database import Database
from mika_ops.store.opening import open_database
from mika_ops.store.schema.own import own
from mika_ops.store.schema.site import stock_events
from mika_ops.subtasks.registry import SUBTASK_NAMES
from mika_ops_testing.builders import email, put, put_rows, reservation, webhook
from mika_ops_testing.sites import Sites

COMMAND = Path(sys.executable).with_name("mika-ops")
NOW = "2026-03-01T12:00:00Z"
PASSWORD = "canary-5f2c"


def called(*arguments: str, **variables: str) -> Result:
    """Call the command with settings of its own, on a wide terminal."""
    environment = {f"MIKA_{name.upper()}": value for name, value in variables.items()}
    return CliRunner().invoke(main, arguments, env={**environment, "COLUMNS": "200"})


def refused(*arguments: str, **variables: str) -> str:
    """Call the command with something wrong; return its one sentence."""
    result = called(*arguments, **variables)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert result.stderr.startswith("mika-ops: ")
    return result.stderr.removeprefix("mika-ops: ").removesuffix("\n")


def row_of(result: Result, subtask: str) -> str:
    (row,) = (line for line in result.stdout.splitlines() if f"│ {subtask} " in line)
    return row


def test_a_run_shows_what_each_subtask_did_and_exits_with_0(database: Database, url: str) -> None:
    put(database, "ops", webhook())

    result = called("run", "--now", NOW, database_url=url)

    assert result.exit_code == 0
    assert "scanned 1, purged 1" in row_of(result, "raw_provider_payloads")
    assert "nothing due" in row_of(result, "stuck_emails")


def outcomes_in(result: Result) -> dict[str, dict[str, Any]]:
    subtasks: dict[str, dict[str, Any]] = json.loads(result.stdout)["subtasks"]
    return subtasks


def test_a_shop_with_nothing_configured_is_a_run_of_nine_skipped_subtasks() -> None:
    result = called("run")

    assert result.exit_code == 0
    assert result.stdout.count("skipped") == 9
    assert "set MIKA_ADMIN_API_URL and MIKA_ADMIN_API_TOKEN" in row_of(result, "webhook_retries")


def test_a_run_that_fails_exits_with_1_and_shows_why(database: Database, url: str) -> None:
    put_rows(database, stock_events, reservation("event_7", stock_item_id="gone"))

    result = called("run", database_url=url)

    assert result.exit_code == 1
    assert "event_7" in result.stdout
    assert result.stderr == ""


def test_a_run_shows_what_it_left(database: Database, url: str) -> None:
    put(database, "ops", *(webhook(f"webhook_{number}") for number in range(5)))

    result = called("run", "--now", NOW, "--limit", "raw_provider_payloads=2", database_url=url)

    assert "scanned 2, purged 2, has_more yes" in row_of(result, "raw_provider_payloads")
    assert row_of(result, "raw_provider_payloads").rstrip("│ ").endswith("3")


def test_only_the_subtasks_that_are_named_run(database: Database, url: str) -> None:
    put(database, "ops", webhook())

    result = called("run", "--now", NOW, "--only", "stuck_emails", "--only", "acp_sessions", database_url=url)

    assert "not chosen for this run" in row_of(result, "raw_provider_payloads")
    assert result.stdout.count("completed") == 2


def test_all_but_the_subtasks_that_are_skipped_run(database: Database, url: str) -> None:
    result = called("run", "--skip", "stuck_emails", "--skip", "acp_sessions", database_url=url)

    assert "not chosen for this run" in row_of(result, "stuck_emails")
    assert "not chosen for this run" in row_of(result, "acp_sessions")
    assert result.stdout.count("not chosen for this run") == 2


def test_what_is_skipped_is_taken_out_of_what_is_named(database: Database, url: str) -> None:
    chosen = ("--only", "stuck_emails", "--only", "acp_sessions", "--skip", "acp_sessions")

    outcomes = outcomes_in(called("run", *chosen, "--json", database_url=url))

    assert [name for name, outcome in outcomes.items() if outcome["status"] == "completed"] == ["stuck_emails"]


def test_a_run_for_programs_is_one_json_object_and_nothing_else(database: Database, url: str) -> None:
    put(database, "ops", webhook(), email("broken_1", attemptCount="x"), email("broken_2", attemptCount="x"))

    result = called("run", "--now", NOW, "--json", database_url=url, email_directory="outbox")

    assert (result.exit_code, result.stderr) == (0, "")
    facts = json.loads(result.stdout)
    assert list(facts) == ["run_id", "success", "now", "subtasks"]
    assert (facts["success"], facts["now"]) == (True, "2026-03-01T12:00:00.000Z")
    assert list(facts["subtasks"]) == list(SUBTASK_NAMES)
    purged = facts["subtasks"]["raw_provider_payloads"]
    assert (purged["status"], purged["purged"], purged["has_more"]) == ("completed", 1, False)
    assert facts["subtasks"]["email_outbox"]["malformed_ids"] == ["broken_1", "broken_2"]
    assert "MIKA_ADMIN_API_URL" in facts["subtasks"]["webhook_retries"]["reason"]


def test_a_run_that_fails_is_reported_to_programs_as_well(database: Database, url: str) -> None:
    put_rows(database, stock_events, reservation("event_7", stock_item_id="gone"))

    result = called("run", "--json", "--strict", database_url=url)

    assert result.exit_code == 1
    assert json.loads(result.stdout)["success"] is False
    assert "event_7" in outcomes_in(result)["stock_reservations"]["error"]


def test_a_strict_run_in_which_a_subtask_failed_exits_with_3(database: Database, url: str) -> None:
    put(database, "ops", email())
    nowhere = {"smtp_url": "smtp://127.0.0.1:1", "email_from": "shop@example.test"}

    lenient, strict = (called("run", *flags, database_url=url, **nowhere) for flags in ((), ("--strict",)))

    assert (lenient.exit_code, strict.exit_code) == (0, 3)
    assert "failed" in row_of(strict, "email_outbox")


def test_a_strict_run_does_not_mind_what_is_not_configured_and_what_is_malformed(database: Database, url: str) -> None:
    put(database, "ops", email("broken", attemptCount="x", nextAttemptAt=NOW))

    assert called("run", "--strict").exit_code == 0
    result = called("run", "--strict", database_url=url, email_directory="outbox")
    assert result.exit_code == 0
    assert "malformed 1" in row_of(result, "email_outbox")


def test_what_is_due_is_judged_at_the_time_that_is_given(database: Database, url: str) -> None:
    put(database, "ops", webhook(receivedAt="2026-02-15T12:00:00.001Z"))

    before = called("run", "--now", NOW, database_url=url)
    after = called("run", "--now", "2026-03-01T12:00:00.001Z", database_url=url)

    assert "nothing due" in row_of(before, "raw_provider_payloads")
    assert "purged 1" in row_of(after, "raw_provider_payloads")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--only", "stuck_email"], "'stuck_email' is no subtask: did you mean stuck_emails?"),
        (["--skip", "stuck_email"], "'stuck_email' is no subtask: did you mean stuck_emails?"),
        (
            ["--only", "stuck_emails", "--skip", "stuck_emails"],
            "no subtask is left to run: --skip names every subtask that would run",
        ),
        (
            [argument for name in SUBTASK_NAMES for argument in ("--skip", name)],
            "no subtask is left to run: --skip names every subtask that would run",
        ),
        (["--dry-run", "--now", "yesterday"], "'yesterday' is no time: write ISO 8601, such as 2026-03-01T12:00:00Z"),
        (["--now", "yesterday"], "'yesterday' is no time: write ISO 8601, such as 2026-03-01T12:00:00Z"),
        (["--limit", "email_outbox=-1"], "the limit of email_outbox is -1: it must be 0 or more"),
        (["--limit", "email_outbox"], "--limit email_outbox: the = is missing; write it as email_outbox=25"),
        (
            ["--limit", "email_outbox=all"],
            "--limit email_outbox=all: 'all' is not an integer; write it as email_outbox=25",
        ),
    ],
)
def test_a_call_that_is_wrong_is_reported_in_one_sentence(arguments: list[str], sentence: str) -> None:
    assert refused("run", *arguments) == sentence


def test_a_limit_on_what_takes_none_is_reported_with_what_takes_one() -> None:
    assert refused("run", "--limit", "stock_reservations=1").startswith("'stock_reservations' takes no limit: write ")


@pytest.mark.parametrize(
    ("name", "value", "start"),
    [
        ("maintenance_schedule", "every minute", "MIKA_MAINTENANCE_SCHEDULE: 'every minute' is no cron string"),
        ("limits", "{", "MIKA_LIMITS is not JSON"),
        ("locale", "zz_QQ", "MIKA_LOCALE: "),
        ("database_url", "shop.db", "MIKA_DATABASE_URL is not a database URL"),
        ("database_url", f"postgresql://shop:{PASSWORD}@host:port/shop", "MIKA_DATABASE_URL has a port that is no"),
        ("database_url", f"mysql://shop:{PASSWORD}@host/shop", "MIKA_DATABASE_URL names a mysql database"),
        ("database_url", "sqlite:///missing.db", "the SQLite file missing.db does not exist"),
        ("database_url", f"postgresql://shop:{PASSWORD}@127.0.0.1:1/shop", "the shop's database: connection failed"),
    ],
)
def test_an_invalid_setting_is_reported_in_one_sentence_without_its_secret(name: str, value: str, start: str) -> None:
    sentence = refused("run", **{name: value})

    assert sentence.startswith(start)
    assert PASSWORD not in sentence
    assert "\n" not in sentence


def test_a_database_that_is_no_sites_is_reported_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "empty.db"
    file.touch()

    assert refused("run", database_url=f"sqlite:///{file}").startswith("the database has no table _plugin_storage")
    assert file.stat().st_size == 0


def test_a_site_of_another_plugin_id_is_reported_with_the_ids_it_has(database: Database, url: str) -> None:
    put(database, "ops", webhook())

    assert "has some of 'mika'" in refused("run", database_url=url, plugin_id="mikka")


def test_a_variable_that_is_no_setting_is_a_warning_and_the_run_goes_on() -> None:
    result = called("run", side_name="The lamp shop")

    assert result.exit_code == 0
    assert result.stderr == "Warning: MIKA_SIDE_NAME is no setting: did you mean MIKA_SITE_NAME?\n"


@pytest.mark.parametrize("home", ["missing", "/nowhere/at/all"])
def test_a_dagster_home_that_is_no_folder_is_reported(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", home)

    assert refused("run").startswith(f"DAGSTER_HOME is '{home}': set it to the absolute path of a folder")


def test_a_run_is_in_the_history_of_the_dagster_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))

    assert called("run").exit_code == 0

    with dg.DagsterInstance.get() as instance:
        (run,) = instance.get_runs()
    assert (run.job_name, run.status) == ("mika_maintenance", dg.DagsterRunStatus.SUCCESS)


@pytest.mark.parametrize("arguments", [["--bogus"], ["bogus"], ["run", "--bogus"], ["run", "bogus"]])
def test_a_call_that_the_command_does_not_know_exits_with_2(arguments: list[str]) -> None:
    assert called(*arguments).exit_code == 2


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["db", "prepare", "--help"], ["--version"]])
def test_the_command_explains_itself(arguments: list[str]) -> None:
    result = called(*arguments)

    assert result.exit_code == 0
    assert len(result.stdout) > 10


def test_preparing_makes_our_own_tables_in_a_site_that_has_none(database: Database, url: str) -> None:
    with database.engine.begin() as connection:
        own.drop_all(connection)

    for _ in range(2):
        result = called("db", "prepare", database_url=url)
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout.startswith("Tables that exist now: mika_acp_sessions, ")

    with open_database(url) as prepared, prepared.reading() as connection:
        assert set(own.tables) <= set(inspect(connection).get_table_names())
        assert prepared.has_acp_sessions


def test_preparing_without_a_database_is_reported() -> None:
    assert refused("db", "prepare") == "MIKA_DATABASE_URL is not set: there is no database to open"


def test_preparing_what_is_no_site_makes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "empty.db"
    file.touch()

    assert "no table _plugin_storage" in refused("db", "prepare", database_url=f"sqlite:///{file}")
    assert file.stat().st_size == 0


def environment_of(url: str) -> dict[str, str]:
    return {**os.environ, "MIKA_DATABASE_URL": url, "COLUMNS": "200"}


def test_the_installed_command_runs_and_its_exit_code_tells(sqlite_sites: Sites) -> None:
    url = sqlite_sites.new()
    with open_database(url) as database:
        put_rows(database, stock_events, reservation("event_7", stock_item_id="gone"))

    failing = subprocess.run([COMMAND, "run"], env=environment_of(url), capture_output=True, text=True)  # noqa: S603
    refused = subprocess.run([COMMAND, "run", "--now", "x"], env=environment_of(url), capture_output=True, text=True)  # noqa: S603

    assert (failing.returncode, failing.stderr) == (1, "")
    assert "event_7" in failing.stdout
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "mika-ops: 'x' is no time: write ISO 8601, such as 2026-03-01T12:00:00Z\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_what_it_did_not_do(number: signal.Signals) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        silent.settimeout(30)
        site = f"http://127.0.0.1:{silent.getsockname()[1]}"
        environment = {**os.environ, "MIKA_ADMIN_API_URL": site, "MIKA_ADMIN_API_TOKEN": "ec_pat_x", "COLUMNS": "200"}
        with subprocess.Popen(  # noqa: S603
            [COMMAND, "run"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as run:
            connection, _address = silent.accept()
            with connection:
                run.send_signal(number)
                stdout, stderr = run.communicate(timeout=30)

    assert (run.returncode, stderr) == (1, "")
    assert stdout.count("not configured: ") == 4
    assert stdout.count("not run: the run was stopped before this subtask ended") == 5


def test_a_history_that_cannot_be_opened_is_one_sentence_and_nothing_is_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text("storage: {postgres: {postgres_url: {env: DAGSTER_POSTGRES_URL}}}\n")
    assert refused("run").startswith("the history in DAGSTER_HOME cannot be opened")
