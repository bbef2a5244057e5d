"""Whole runs of shops that have the admin API, against a real site."""

from collections.abc import Iterator

import pytest

from mika_ops.config.loading import isolated_settings
from mika_ops.config.shop import Shop
from mika_ops.orchestration.run_once import RunReport, run_once
from mika_ops.store.opening import open_database
from mika_ops.subtasks.outcome import outcome_facts, result_of
from mika_ops.subtasks.registry import SUBTASK_NAMES
from mika_ops_testing.admin_api_server import Call, Reply, Site, done, refusal, running_site, says
from mika_ops_testing.builders import put, workflow

TOKEN = "ec_pat_canary"


@pytest.fixture
def site() -> Iterator[Site]:
    with running_site() as running:
        yield running


def run(site: Site, **settings: str) -> RunReport:
    return run_once(
        Shop(isolated_settings(admin_api_url=site.url, admin_api_token=TOKEN, **settings)),
        now="2026-03-01T12:00:00.000Z",
    )


def test_a_shop_with_the_admin_api_alone_releases_its_stock_and_skips_the_rest_with_reasons(site: Site) -> None:
    affected = {"reservationsScanned": 4, "reservationsReleased": 3, "stockItems": 2}
    site.will(says(done(affected=affected)))

    report = run(site)

    assert report.success
    facts = {name: outcome_facts(outcome) for name, outcome in report.subtasks.items()}
    released = facts.pop("stock_reservations")
    assert (released["status"], released["reservations_released"]) == ("completed", 3)
    assert {outcome["status"] for outcome in facts.values()} == {"skipped"}
    assert all("not configured: " in str(outcome["reason"]) for outcome in facts.values())
    assert len(facts) == len(SUBTASK_NAMES) - 1
    (call,) = site.calls
    assert call.body == {"now": "2026-03-01T12:00:00.000Z"}
    assert call.key == f"mika-ops:{report.run_id}:stock_reservations:2026-03-01T12:00:00.000Z"


def test_a_release_that_the_site_refuses_fails_the_run_with_its_sentence(site: Site) -> None:
    site.will(says({"error": {"code": "INVALID_TOKEN", "message": f"Unknown token {TOKEN}"}}, status=401))

    report = run(site)

    assert not report.success
    error = report.errors["stock_reservations"]
    assert "401, INVALID_TOKEN, Unknown token <token>; the token is unknown or expired" in error
    assert "set MIKA_ADMIN_API_TOKEN" in error
    assert TOKEN not in str(report)


def test_a_refused_token_is_reported_by_the_shops_own_variable(site: Site, url: str) -> None:
    site.reply_to = lambda _call: says(refusal(401, "unauthorized", "No."), status=401)
    with open_database(url) as database:
        put(database, "ops", workflow("a", nextAttemptAt="2026-02-28T12:00:00.000Z"))
    settings = isolated_settings(database_url=url, admin_api_url=site.url, admin_api_token=TOKEN)

    report = run_once(Shop(settings, name="eu"), now="2026-03-01T12:00:00.000Z")

    (failed,) = result_of(report.subtasks["webhook_retries"]).named_ids()["failed_ids"]
    assert "set MIKA_EU_ADMIN_API_TOKEN to" in failed


def test_a_replay_that_goes_wrong_in_any_way_counts_as_failed_by_its_id_and_the_others_go_on(
    site: Site, url: str
) -> None:
    replies: dict[str, Reply] = {
        "webhook_of_failed": says(done("failed", message="The provider says no.")),
        "webhook_of_unsupported": says(done("unsupported")),
        "webhook_of_refused": says(refusal(409, "busy", "In progress.", retryAfter=60), status=409),
        "webhook_of_broken": says(b"<html>Oops</html>", status=500),
    }

    def reply_to(call: Call) -> Reply:
        return replies.get(call.body["webhookId"], says(done("queued")))

    site.reply_to = reply_to
    names = ["a_first", "broken", "failed", "refused", "unsupported", "z_last"]
    with open_database(url) as database:
        put(database, "ops", *(workflow(name, nextAttemptAt="2026-02-28T12:00:00.000Z") for name in names))

    report = run(site, database_url=url)

    outcome = report.subtasks["webhook_retries"]
    facts = outcome_facts(outcome)
    assert (facts["status"], facts["still_running"], facts["failed"]) == ("completed", 2, 4)
    failed = sorted(result_of(outcome).named_ids()["failed_ids"])
    assert [line.partition(": ")[0] for line in failed] == sorted(replies)
    assert any(line.endswith("it asks to wait 60 s: the next run retries") for line in failed)
    keys = {call.body["webhookId"]: call.key for call in site.calls}
    assert keys == {f"webhook_of_{name}": f"mika-ops:{report.run_id}:webhook_of_{name}:0" for name in names}
    assert report.success
