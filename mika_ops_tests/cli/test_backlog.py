"""What an operator sees of what waits: for maintenance, and for themselves, on both databases."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from mika_ops.cli.main import main
from mika_ops.documents.document import ABSENT
from mika_ops.store.database import Database
from mika_ops.store.schema.own import own
from mika_ops.store.schema.site import ephemeral_records
from mika_ops.subtasks.registry import SUBTASK_NAMES
from mika_ops_testing.builders import (
    BEFORE,
    NOW,
    delete_request,
    email,
    ephemeral,
    put,
    put_raw,
    put_rows,
    webhook,
    workflow,
)


def called(url: str | None, *arguments: str) -> Result:
    result = CliRunner().invoke(main, ["backlog", *arguments], env={"MIKA_DATABASE_URL": url})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def facts_of(url: str, *arguments: str) -> dict[str, Any]:
    result = called(url, "--now", NOW, "--json", *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    facts: dict[str, Any] = json.loads(result.stdout)
    return facts


def row_of(result: Result, subtask: str) -> list[str]:
    (row,) = (line for line in result.stdout.splitlines() if f"│ {subtask} " in line)
    return [cell.strip() for cell in row.strip("│").split("│")][1:]


def sentences_of(result: Result) -> list[str]:
    """Return what stands below the table."""
    lines = result.stdout.splitlines()
    return lines[next(number for number, line in enumerate(lines) if line.startswith("└")) + 1 :]


def test_a_site_where_nothing_waits_shows_so(database: Database, url: str) -> None:
    result = called(url, "--now", NOW)

    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].strip() == f"Backlog at {NOW}"
    assert row_of(result, "email_outbox") == ["0", "–", "0", "0"]
    assert row_of(result, "stuck_emails") == ["0", "–", "0", "–"]
    assert sentences_of(result) == []


@pytest.mark.parametrize(
    ("since", "age"),
    [
        (NOW, "0 s"),
        ("2026-03-01T11:59:01.000Z", "59 s"),
        ("2026-03-01T11:00:00.001Z", "59 min"),
        ("2026-03-01T11:00:00.000Z", "1 h"),
        ("2026-02-28T12:00:00.001Z", "23 h"),
        ("2026-02-28T12:00:00.000Z", "1 d"),
        ("2016-03-01T12:00:00.000Z", "3,652 d"),
        ("0", "–"),
    ],
)
def test_the_age_of_the_oldest_is_shown_in_its_largest_unit(since: str, age: str, database: Database, url: str) -> None:
    put(database, "ops", email(nextAttemptAt=since))
    assert row_of(called(url, "--now", NOW), "email_outbox")[:2] == ["1", age]


def test_programs_get_the_age_in_seconds(database: Database, url: str) -> None:
    put(database, "ops", email(nextAttemptAt="2026-03-01T11:00:00.000Z"), email("fresh", nextAttemptAt=NOW))
    put_rows(database, ephemeral_records, ephemeral())

    facts = facts_of(url)

    assert list(facts) == [
        "now",
        "due",
        "subtasks",
        "unreadable",
        "unreadable_ids",
        "drifting_stock_items",
        "drifting_stock_item_ids",
    ]
    assert list(facts["subtasks"]) == list(SUBTASK_NAMES)
    assert (facts["now"], facts["due"]) == (NOW, 3)
    emails = facts["subtasks"]["email_outbox"]
    assert (emails["due"], emails["oldest_seconds"]) == (2, 3600)
    assert facts["subtasks"]["stuck_emails"] == {
        "due": 0,
        "oldest_seconds": None,
        "malformed": 0,
        "malformed_ids": [],
    }


def test_what_is_due_is_judged_at_the_time_that_is_given(database: Database, url: str) -> None:
    put(database, "ops", email(nextAttemptAt=NOW))
    assert facts_of(url)["due"] == 1
    assert facts_of(url, "--now", BEFORE)["due"] == 0


def test_what_failed_permanently_is_counted_and_named_beside_its_subtask(database: Database, url: str) -> None:
    put(
        database,
        "ops",
        email("email_1", status="failed", attemptCount=5, top={"createdAt": NOW}),
        email("email_2", status="failed", attemptCount=5),
        delete_request("delete_1", status="failed"),
        workflow("workflow_1", status="failed", attemptCount=5),
    )

    table, facts = called(url, "--now", NOW), facts_of(url)

    assert row_of(table, "email_outbox") == ["0", "–", "0", "2"]
    assert sentences_of(table) == [
        "Failed permanently, email_outbox: email_2, email_1.",
        "Failed permanently, account_delete_requests: delete_1.",
        "Failed permanently, stuck_workflows: workflow_1.",
    ]
    emails = facts["subtasks"]["email_outbox"]
    assert (emails["failed_permanently"], emails["failed_permanently_ids"]) == (2, ["email_2", "email_1"])
    assert emails["failed_permanently_oldest_seconds"] == 3 * 86_400
    assert facts["due"] == 0


def test_of_many_that_failed_the_first_are_named_and_the_others_counted(database: Database, url: str) -> None:
    put(database, "ops", *(delete_request(f"delete_{number:02}", status="failed") for number in range(23)))

    (sentence,) = sentences_of(called(url))

    assert sentence.endswith("delete_19 and 3 more.")
    assert "delete_20" not in sentence


def test_malformed_and_unreadable_documents_are_named(database: Database, url: str) -> None:
    put(database, "ops", email("broken", status="failed", attemptCount="x"), webhook("old", receivedAt=ABSENT))
    put_raw(database, "ledger", ("nobodys", "[]"))

    table, facts = called(url, "--now", NOW), facts_of(url)

    assert row_of(table, "email_outbox") == ["0", "–", "1", "0"]
    assert sentences_of(table) == [
        "Malformed, email_outbox: broken; fix or remove them.",
        "Not JSON objects with a type, so no subtask processes them: nobodys; fix or remove them.",
    ]
    emails = facts["subtasks"]["email_outbox"]
    assert (emails["malformed"], emails["malformed_ids"]) == (1, ["broken"])
    assert (facts["unreadable"], facts["unreadable_ids"]) == (1, ["nobodys"])


def test_a_site_without_acp_tables_has_no_such_backlog(database: Database, url: str) -> None:
    with database.engine.begin() as connection:
        own.drop_all(connection)

    assert row_of(called(url), "acp_sessions") == ["–", "–", "–", "–"]
    assert facts_of(url)["subtasks"]["acp_sessions"] is None


def test_no_address_and_no_key_is_shown(database: Database, url: str) -> None:
    put(database, "ops", email(status="failed", attemptCount=5), email("b", toEmail="canary@example.test"))
    put_rows(database, ephemeral_records, ephemeral("token:canary"))

    for result in (called(url), called(url, "--json")):
        assert "@" not in result.output
        assert "canary" not in result.output


def test_a_missing_database_is_reported() -> None:
    result = called(None)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "mika-ops: MIKA_DATABASE_URL is not set: there is no database to open\n"


def test_a_time_that_is_none_is_reported(url: str) -> None:
    result = called(url, "--now", "soon")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "mika-ops: 'soon' is no time: write ISO 8601, such as 2026-03-01T12:00:00Z\n"


def test_a_database_that_cannot_be_read_is_reported(database: Database, url: str) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE mika_stock_events RENAME COLUMN expires_at TO elsewhere"))

    result = called(url)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("mika-ops: the shop's database: ")
