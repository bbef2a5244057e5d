"""``mika-ops run --dry-run``: what an operator sees, and that the shop is left as it was, on both databases."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import inspect, text

from mika_ops.cli.main import main
from mika_ops.documents.document import Document
from mika_ops.store.acp_sessions import AcpSessionStore
from mika_ops.store.database import Database
from mika_ops.store.schema.site import ephemeral_records, stock_events, stock_items
from mika_ops_testing.builders import (
    NOW,
    acp_session,
    delete_request,
    documents_of,
    email,
    ephemeral,
    put,
    put_raw,
    put_rows,
    reservation,
    stock_item,
    webhook,
    workflow,
)

OUTBOX = "outbox"
LAPSED: Document = {"attemptCount": 5, "leaseExpiresAt": NOW}


def called(*arguments: str, **variables: str) -> Result:
    environment = {f"MIKA_{name.upper()}": value for name, value in variables.items()}
    result = CliRunner().invoke(main, ["run", "--now", NOW, *arguments], env={**environment, "COLUMNS": "200"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def plan_in(result: Result) -> dict[str, dict[str, Any]]:
    assert (result.exit_code, result.stderr) == (0, "")
    facts = json.loads(result.stdout)
    assert (facts.pop("dry_run"), facts.pop("now"), list(facts)) == (True, NOW, ["subtasks"])
    plan: dict[str, dict[str, Any]] = facts["subtasks"]
    return plan


def row_of(result: Result, subtask: str) -> list[str]:
    (row,) = (line for line in result.stdout.splitlines() if f"│ {subtask} " in line)
    return [cell.strip() for cell in row.strip("│").split("│")]


def stored(database: Database) -> dict[str, list[tuple[object, ...]]]:
    """Return every row of every table; on Postgres also who wrote and who locked it."""
    marks = ", xmin::text, xmax::text, ctid::text" if database.dialect == "postgresql" else ""
    with database.reading() as connection:
        tables = inspect(connection).get_table_names()
        return {
            table: sorted(tuple(map(str, row)) for row in connection.execute(text(f'SELECT *{marks} FROM "{table}"')))
            for table in tables
        }


@pytest.fixture
def busy(database: Database) -> Database:
    """Return a site in which something waits for every subtask."""
    put(
        database,
        "ops",
        email("email_due"),
        email("email_broken", status="failed", attemptCount="x"),
        email("email_stuck", **LAPSED),
        webhook("webhook_old"),
        delete_request("delete_queued", customerId="customer_1"),
        workflow("workflow_stuck", status="running", **LAPSED),
        workflow("workflow_due", nextAttemptAt=NOW),
    )
    put_raw(database, "ops", ("unreadable", "[]"))
    put_rows(database, stock_items, stock_item(quantity_reserved=1))
    put_rows(database, stock_events, reservation("event_expired"))
    put_rows(database, ephemeral_records, ephemeral("token:canary", subject_hash="canary-hash"))
    AcpSessionStore(database).put([acp_session("acp_expired")])
    return database


ALL_CONFIGURED = {
    "email_directory": OUTBOX,
    "admin_api_url": "http://127.0.0.1:1",
    "admin_api_token": "ec_pat_canary",
}


def test_it_changes_nothing_at_all(busy: Database, url: str) -> None:
    file = Path(url.removeprefix("sqlite:///")) if busy.dialect == "sqlite" else None
    before, bytes_before = stored(busy), file and file.read_bytes()

    table, as_json = (called("--dry-run", *more, database_url=url, **ALL_CONFIGURED) for more in ((), ("--json",)))

    assert (table.exit_code, as_json.exit_code) == (0, 0)
    assert stored(busy) == before
    assert (file and file.read_bytes()) == bytes_before
    assert list(Path.cwd().iterdir()) == []


def test_it_names_what_would_be_done_by_every_subtask(busy: Database, url: str) -> None:
    plan = plan_in(called("--dry-run", "--json", database_url=url, **ALL_CONFIGURED))

    assert {name: (intent["due"], intent["taken"], intent["ids"]) for name, intent in plan.items()} == {
        "email_outbox": (1, 1, ["email_due"]),
        "stuck_emails": (1, 1, ["email_stuck"]),
        "raw_provider_payloads": (1, 1, ["webhook_old"]),
        "acp_sessions": (1, 1, ["acp_expired"]),
        "stock_reservations": (1, 1, ["event_expired"]),
        "ephemeral_records": (1, 1, []),
        "account_delete_requests": (1, 1, ["delete_queued"]),
        "stuck_workflows": (1, 1, ["workflow_stuck"]),
        "webhook_retries": (1, 1, ["workflow_due"]),
    }
    assert plan["email_outbox"]["malformed_ids"] == ["email_broken"]
    assert {intent["status"] for intent in plan.values()} == {"planned"}


def test_a_person_sees_the_same_as_a_table(busy: Database, url: str) -> None:
    result = called("--dry-run", "--limit", "stuck_emails=0", database_url=url, email_directory=OUTBOX)

    assert "nothing was changed" in result.stdout.splitlines()[0]
    assert row_of(result, "email_outbox")[1:] == ["1", "1", "email_due; 1 malformed would be skipped: email_broken"]
    assert row_of(result, "stuck_emails")[1:] == ["1", "0", "the limit is 0"]
    assert row_of(result, "ephemeral_records")[1:] == ["1", "1", "not named: their keys are secrets"]
    assert row_of(result, "webhook_retries")[1:3] == ["–", "–"]
    assert "skipped: not configured: admin_api; set MIKA_ADMIN_API_URL" in row_of(result, "webhook_retries")[3]


def test_a_limit_of_0_takes_nothing_and_hides_nothing(busy: Database, url: str) -> None:
    result = called("--dry-run", "--limit", "email_outbox=0", database_url=url, email_directory=OUTBOX)

    text = "the limit is 0; 1 malformed would be skipped: email_broken"
    assert row_of(result, "email_outbox")[1:] == ["1", "0", text]


def test_where_nothing_is_due_it_says_so(database: Database, url: str) -> None:
    assert row_of(called("--dry-run", database_url=url), "stuck_emails")[1:] == ["0", "0", "nothing due"]


def test_it_shows_nothing_that_is_secret_or_personal(busy: Database, url: str) -> None:
    for more in ((), ("--json",)):
        said = called("--dry-run", *more, database_url=url, **ALL_CONFIGURED).output
        assert not any(secret in said for secret in ("canary", "@", "https://", "customer_1"))


def test_what_the_real_run_then_does_is_what_was_named(database: Database, url: str) -> None:
    put(database, "ops", *(email(f"email_{number}") for number in range(5)), *(webhook(f"w_{n}") for n in range(3)))
    chosen = ("--skip", "ephemeral_records", "--limit", "email_outbox=3")
    before = documents_of(database, "ops")

    plan = plan_in(called("--dry-run", "--json", *chosen, database_url=url, email_directory=OUTBOX))
    run = called("--json", *chosen, database_url=url, email_directory=OUTBOX)

    changed = {id_ for id_, document in documents_of(database, "ops").items() if document != before[id_]}
    assert changed == {*plan["email_outbox"]["ids"], *plan["raw_provider_payloads"]["ids"]}
    assert (plan["email_outbox"]["due"], plan["email_outbox"]["taken"]) == (5, 3)
    ran = json.loads(run.stdout)["subtasks"]
    assert {name: intent.get("reason") for name, intent in plan.items()} == {
        name: outcome.get("reason") for name, outcome in ran.items()
    }


def test_the_limits_of_the_settings_count_and_those_of_the_call_come_first(database: Database, url: str) -> None:
    put(database, "ops", *(webhook(f"webhook_{number}") for number in range(5)))
    limits = '{"raw_provider_payloads": 2}'

    by_settings = plan_in(called("--dry-run", "--json", database_url=url, limits=limits))
    by_call = plan_in(
        called("--dry-run", "--json", "--limit", "raw_provider_payloads=4", database_url=url, limits=limits)
    )

    assert [plan["raw_provider_payloads"]["taken"] for plan in (by_settings, by_call)] == [2, 4]


def test_with_the_admin_api_alone_the_site_decides_which_stock_is_released() -> None:
    result = called("--dry-run", admin_api_url="http://127.0.0.1:1", admin_api_token="ec_pat_x")

    assert row_of(result, "stock_reservations")[1:] == ["?", "?", "the site decides what is due"]
    assert result.stdout.count("skipped: ") == 8


def test_a_shop_with_nothing_configured_would_do_nothing() -> None:
    assert {intent["status"] for intent in plan_in(called("--dry-run", "--json")).values()} == {"skipped"}


def test_a_database_that_cannot_be_used_is_reported_in_one_sentence() -> None:
    result = called("--dry-run", database_url="sqlite:///missing.db")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("mika-ops: the SQLite file missing.db does not exist")


def test_it_does_not_wait_for_dagster() -> None:
    code = (
        "import sys; from mika_ops.cli.shop import dry_run; "
        "from mika_ops.config.settings import Settings; from mika_ops.config.shop import Shop; "
        f"dry_run(Shop(Settings.model_construct()), now='{NOW}', subtasks=('stuck_emails',), limits={{}}); "
        "sys.exit('dagster' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0  # noqa: S603
