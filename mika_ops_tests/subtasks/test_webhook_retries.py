"""Retrying payment webhooks: each due one is replayed once, whether or not the others succeed."""

from dataclasses import replace
from datetime import timedelta

import pytest

from mika_ops.clock import Clock
from mika_ops.documents.document import Document, with_record
from mika_ops.documents.repository import Change
from mika_ops.ports.admin_api import ReplayedWebhook
from mika_ops.rules.workflow import MIRRORED
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents
from mika_ops.store.opening import open_database
from mika_ops.subtasks import webhook_retries
from mika_ops.subtasks.subtask import RunOptions
from mika_ops.subtasks.webhook_retries import WebhookRetriesResult
from mika_ops.timestamps import to_datetime
from mika_ops_testing.builders import AFTER, BEFORE, NOW, put, webhook, workflow
from mika_ops_testing.fakes import Api, host_of
from mika_ops_testing.sites import Sites


def retry(database: Database, api: Api, clock: Clock, limit: int | None = None) -> WebhookRetriesResult:
    return webhook_retries.run(host_of(database, api=api), clock, RunOptions(limit=limit, run_id="run_1"))


def due(id_: str) -> dict[str, object]:
    return workflow(id_, nextAttemptAt=BEFORE)


def test_a_refused_replay_counts_as_failed_and_the_others_go_on(database: Database, clock: Clock) -> None:
    put(database, "ops", due("workflow_1"), due("workflow_2"), due("workflow_3"))

    def answer(webhook_id: str) -> ReplayedWebhook:
        refused = webhook_id == "webhook_of_workflow_2"
        return ReplayedWebhook(ok=not refused, error="the site said no" if refused else None)

    result = retry(database, Api(answer), clock)
    assert (result.scanned, result.retried, result.failed) == (3, 2, 1)
    assert result.failed_ids == ("webhook_of_workflow_2: the site said no",)


def test_a_replay_that_raises_counts_as_failed_and_the_others_go_on(database: Database, clock: Clock) -> None:
    put(database, "ops", due("workflow_1"), due("workflow_2"))

    def answer(webhook_id: str) -> ReplayedWebhook:
        if webhook_id == "webhook_of_workflow_1":
            raise ConnectionError("refused")
        return ReplayedWebhook(ok=True)

    result = retry(database, Api(answer), clock)
    assert (result.retried, result.failed) == (1, 1)


def test_a_replay_that_changes_nothing_does_not_keep_the_rest_waiting(database: Database, clock: Clock) -> None:
    put(database, "ops", *(due(f"workflow_{number:03}") for number in range(130)))
    api = Api()
    assert retry(database, api, clock).retried == 130
    assert len(set(api.replayed)) == 130


def test_each_replay_carries_a_key_of_its_run_its_webhook_and_its_attempt(database: Database, clock: Clock) -> None:
    put(database, "ops", workflow("workflow_1", nextAttemptAt=BEFORE, attemptCount=3))
    api = Api()
    retry(database, api, clock)
    assert api.replayed == [("webhook_of_workflow_1", "mika-ops:run_1:webhook_of_workflow_1:3")]


def test_the_same_webhook_has_another_key_in_each_run_and_after_each_attempt(database: Database, clock: Clock) -> None:
    put(database, "ops", due("workflow_1"))
    api = Api(lambda _id: ReplayedWebhook(ok=False))
    times = iter(range(9))
    ticking = replace(clock, now=lambda: to_datetime(NOW) + timedelta(milliseconds=next(times)))

    def attempt_fails(_id: str, document: Document) -> Change[None]:
        made = document["record"]["attemptCount"] + 1
        return Change(with_record(document, {"attemptCount": made}, mirrored=MIRRORED, now=NOW), None)

    retry(database, api, clock)
    Documents(database, "ops").change(["workflow_1"], attempt_fails)
    retry(database, api, clock)
    for _ in range(2):
        webhook_retries.run(host_of(database, api=api), ticking, RunOptions())

    keys = [key for _, key in api.replayed]
    assert len(keys) == len(set(keys)) == 4


def test_a_workflow_without_a_webhook_is_passed_over(database: Database, clock: Clock) -> None:
    put(database, "ops", workflow("workflow_1", nextAttemptAt=BEFORE, subjectId=""))
    result = retry(database, Api(), clock)
    assert (result.scanned, result.retried, result.failed) == (1, 0, 0)


def test_the_ids_named_are_few_however_many_fail(database: Database, clock: Clock) -> None:
    put(database, "ops", *(due(f"workflow_{number:03}") for number in range(60)))
    result = retry(database, Api(lambda _id: ReplayedWebhook(ok=False)), clock)
    assert result.failed == 60
    assert len(result.failed_ids) == 20


def test_a_workflow_that_another_worker_took_meanwhile_is_not_replayed(database: Database, clock: Clock) -> None:
    put(database, "ops", due("workflow_1"), due("workflow_2"))

    def answer(webhook_id: str) -> ReplayedWebhook:
        if webhook_id == "webhook_of_workflow_1":
            Documents(database, "ops").change(
                ["workflow_2"],
                lambda _id, document: Change(
                    with_record(document, {"leaseExpiresAt": AFTER}, mirrored=MIRRORED, now=NOW), None
                ),
            )
        return ReplayedWebhook(ok=True)

    assert retry(database, Api(answer), clock).retried == 1


def test_a_slow_site_does_not_hold_the_run_past_its_time(database: Database, clock: Clock) -> None:
    put(database, "ops", *(due(f"workflow_{number}") for number in range(5)))
    api = Api()
    limits = RunOptions(out_of_time=lambda: len(api.replayed) >= 2)
    result = webhook_retries.run(host_of(database, api=api), clock, limits)
    assert (result.retried, result.has_more) == (2, True)


def test_replays_that_processed_nothing_are_counted_by_their_reason(database: Database, clock: Clock) -> None:
    put(database, "ops", *(due(f"workflow_{name}") for name in ("done", "old", "busy")))
    answers = {
        "webhook_of_workflow_old": ReplayedWebhook(ok=True, unprocessed="not_eligible"),
        "webhook_of_workflow_busy": ReplayedWebhook(ok=True, unprocessed="running"),
    }

    result = retry(database, Api(lambda id_: answers.get(id_, ReplayedWebhook(ok=True))), clock)

    assert (result.retried, result.not_eligible, result.still_running, result.failed) == (1, 1, 1, 0)
    assert result.not_eligible_ids == ("webhook_of_workflow_old",)


@pytest.mark.parametrize(
    ("stored", "said", "reason"),
    [
        ("The ledger is down.", None, "The ledger is down."),
        ("The ledger is down.", "The site says no.", "The site says no."),
        ("ada@example.test has no order", None, "<address> has no order"),
        ("", None, webhook_retries._NO_REASON),
        (7, None, webhook_retries._NO_REASON),
    ],
)
def test_a_failed_replay_is_reported_with_the_error_that_the_webhook_holds(
    database: Database, clock: Clock, stored: object, said: str | None, reason: str
) -> None:
    put(database, "ops", due("workflow_1"), webhook("webhook_of_workflow_1", status="failed", lastError=stored))

    result = retry(database, Api(lambda _id: ReplayedWebhook(ok=False, error=said)), clock)

    assert result.failed_ids == (f"webhook_of_workflow_1: {reason}",)


NO_REASON = webhook_retries._NO_REASON


@pytest.mark.parametrize("id_", ["webhook_gone", "webhook_bad"])
def test_a_failed_replay_of_a_webhook_that_cannot_be_read_is_reported_without_a_reason(
    database: Database, clock: Clock, id_: str
) -> None:
    bad = {**webhook("webhook_bad", status="failed"), "record": "none"}
    put(database, "ops", workflow("workflow_1", nextAttemptAt=BEFORE, subjectId=id_), bad)

    result = retry(database, Api(lambda _id: ReplayedWebhook(ok=False)), clock)

    assert result.failed_ids == (f"{id_}: {NO_REASON}",)


@pytest.mark.parametrize("id_", ["webhook\0", "\ud800"])
def test_a_webhook_whose_id_no_database_can_be_asked_for_stops_no_other(
    sqlite_sites: Sites, clock: Clock, id_: str
) -> None:
    with open_database(sqlite_sites.new()) as database:
        put(database, "ops", workflow("workflow_1", nextAttemptAt=BEFORE, subjectId=id_), due("workflow_2"))

        result = retry(database, Api(lambda _id: ReplayedWebhook(ok=False)), clock)

    assert sorted(result.failed_ids) == sorted(f"{each}: {NO_REASON}" for each in (id_, "webhook_of_workflow_2"))


def test_what_the_site_says_is_kept_without_addresses_and_links(database: Database, clock: Clock) -> None:
    put(database, "ops", due("workflow_1"))
    api = Api(lambda _id: ReplayedWebhook(ok=False, error="refused for ada@example.test, see https://shop.test/1"))
    (failure,) = retry(database, api, clock).failed_ids
    assert "ada@example.test" not in failure
    assert "shop.test" not in failure
