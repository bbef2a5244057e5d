"""The command that rechecks account deletes: what it says, how it exits, and that it names nobody."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mika_ops.cli.main import main
from mika_ops.documents.document import ABSENT
from mika_ops.store.database import Database
from mika_ops_testing.builders import delete_request, documents_of, order, put, put_raw, webhook

WHO = {"email": "canary@example.test", "name": "canary"}


def called(url: str | None, *arguments: str) -> Result:
    result = CliRunner().invoke(main, ["account-deletes", "recheck", *arguments], env={"MIKA_DATABASE_URL": url})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "canary" not in result.output
    return result


@pytest.fixture
def completed_elsewhere(database: Database) -> None:
    """Have two deletes that the site's own maintenance completed; one person's webhook still names them."""
    put(database, "ledger", order("order_1", customer={"emailHash": "account-deleted:cus_1"}, customerId="cus_1"))
    put(
        database,
        "ops",
        webhook("webhook_1", normalizedPayloadJson={"kind": "payment", "customer": WHO}, relatedOrderId="order_1"),
        delete_request("delete_1", status="completed", customerId="cus_1", confirmTokenHash=ABSENT),
        delete_request("delete_2", status="completed", customerId="cus_2", confirmTokenHash=ABSENT),
    )


def test_leftovers_are_removed_and_counted_by_request(completed_elsewhere: None, database: Database, url: str) -> None:
    result = called(url)
    assert result.exit_code == 0
    assert "Rechecked: 2 completed account deletes, 1 with leftovers." in result.stdout
    assert "delete_1" in result.stdout
    assert "webhooksRedacted 1" in result.stdout
    assert "canary" not in json.dumps(documents_of(database, "ops"))
    assert called(url).stdout == "Rechecked: 0 completed account deletes, 0 with leftovers.\n"


def test_a_dry_run_counts_the_same_and_changes_nothing(completed_elsewhere: None, database: Database, url: str) -> None:
    before = documents_of(database, "ops")
    result = called(url, "--dry-run", "--json")
    facts: dict[str, Any] = json.loads(result.stdout)
    assert (result.exit_code, facts["dry_run"], facts["rechecked"], facts["with_leftovers"]) == (0, True, 2, 1)
    documents = {"webhooksRedacted": 1, "ordersUserIdsAnonymized": 1}
    assert facts["requests"][0] == {"id": "delete_1", "documents": documents, "error": None}
    assert documents_of(database, "ops") == before
    assert "Would recheck: 2" in called(url, "--dry-run").stdout


def test_all_completed_requests_are_rechecked_where_asked(completed_elsewhere: None, url: str) -> None:
    called(url)
    assert json.loads(called(url, "--all", "--json").stdout)["rechecked"] == 2


def test_a_request_that_could_not_be_rechecked_makes_the_command_fail(
    completed_elsewhere: None, database: Database, url: str
) -> None:
    put_raw(database, "ledger", ("order_2", json.dumps({**order("order_2", customerId="cus_2"), "aggregate": "lost"})))
    result = called(url, "--json")
    facts = json.loads(result.stdout)
    assert (result.exit_code, facts["rechecked"], facts["failed"]) == (1, 1, 1)
    assert "order_2" in facts["requests"][1]["error"]


def test_a_request_that_cannot_be_read_is_named(completed_elsewhere: None, database: Database, url: str) -> None:
    put(database, "ops", {**delete_request("delete_3", status="completed"), "record": None})
    result = called(url)
    assert result.exit_code == 1
    assert "delete_3" in result.stderr


def test_without_a_database_nothing_is_done() -> None:
    result = called(None)
    assert result.exit_code == 2
    assert "MIKA_DATABASE_URL is not set" in result.stderr
