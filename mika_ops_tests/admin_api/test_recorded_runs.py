"""Whole runs against a site that answers as recorded: released, replayed, refused, repeated and in progress."""

from collections.abc import Iterator
from typing import Any

import pytest

from mika_ops.config.loading import isolated_settings
from mika_ops.config.shop import Shop
from mika_ops.orchestration.run_once import RunReport, run_once
from mika_ops.store.opening import open_database
from mika_ops.subtasks.outcome import outcome_facts
from mika_ops_testing.admin_api_server import Call, Reply, Site, hangs_up, running_site
from mika_ops_testing.builders import put, webhook, workflow
from mika_ops_testing.recorded_admin_api import RecordedSite, recorded
from mika_ops_tests.doctor.diagnoses import diagnosed, dumped, status_of

TOKEN = "ec_pat_canary"
NOW = "2026-03-01T12:00:00.000Z"


@pytest.fixture
def site() -> Iterator[Site]:
    with running_site() as running:
        yield running


@pytest.fixture
def recorded_site(site: Site) -> RecordedSite:
    site.reply_to = RecordedSite(TOKEN)
    return site.reply_to


def run(site: Site, *, token: str = TOKEN, **settings: Any) -> RunReport:
    return run_once(Shop(isolated_settings(admin_api_url=site.url, admin_api_token=token, **settings)), now=NOW)


def facts(report: RunReport, subtask: str) -> dict[str, Any]:
    return dict(outcome_facts(report.subtasks[subtask]))


class TestStockWithoutADatabase:
    def test_it_is_released(self, site: Site, recorded_site: RecordedSite) -> None:
        recorded_site.releases = ("release-header-only",)

        report = run(site)

        assert report.success
        assert facts(report, "stock_reservations")["reservations_released"] == 1

    def test_two_runs_have_two_keys_and_so_the_second_finds_what_has_expired_since(
        self, site: Site, recorded_site: RecordedSite
    ) -> None:
        recorded_site.keeps_keys = True
        recorded_site.releases = ("unique-index-release-one-expired", "release-header-only")

        released = [facts(run(site), "stock_reservations")["reservations_released"] for _ in range(2)]

        assert released == [1, 1]
        assert len(set(recorded_site.ran)) == 2

    def test_a_token_that_is_refused_fails_the_run(self, site: Site, recorded_site: RecordedSite) -> None:
        report = run(site, token="ec_pat_revoked")

        assert not report.success
        assert "the token is unknown or expired" in facts(report, "stock_reservations")["error"]
        assert recorded_site.ran == []

    def test_an_orphan_that_keeps_all_from_being_released_fails_the_run(
        self, site: Site, recorded_site: RecordedSite
    ) -> None:
        recorded_site.releases = ("release-orphan-reservation",)

        report = run(site)

        assert not report.success
        assert "stock item does not exist keeps all from" in facts(report, "stock_reservations")["error"]

    @pytest.mark.parametrize("keeps_keys", [False, True])
    def test_a_release_whose_answer_is_lost_is_repeated_with_its_key(
        self, site: Site, recorded_site: RecordedSite, keeps_keys: bool
    ) -> None:
        recorded_site.keeps_keys = keeps_keys
        recorded_site.releases = ("release-header-only", "release-nothing-expired")

        def loses_the_first_answer(call: Call) -> Reply:
            reply = recorded_site(call)
            return hangs_up if len(site.calls) == 1 else reply

        site.reply_to = loses_the_first_answer

        report = run(site)

        assert report.success
        # Mika's audit names what the first call released; on EmDash 0.32 its count is lost with the answer.
        assert facts(report, "stock_reservations")["reservations_released"] == (1 if keeps_keys else 0)
        assert len({call.key for call in site.calls}) == 1
        assert len(recorded_site.ran) == (1 if keeps_keys else 2)

    def test_a_release_that_is_in_progress_is_waited_for(self, site: Site, recorded_site: RecordedSite) -> None:
        recorded_site.releases = (
            "unique-index-release-concurrent-same-key-2",
            "unique-index-release-concurrent-same-key-afterwards",
        )

        report = run(site)

        assert facts(report, "stock_reservations")["reservations_released"] == 2
        assert len(site.calls) == 2


class TestWebhooksWithADatabase:
    def test_each_is_replayed_and_counted_by_what_the_site_did(self, site: Site, url: str) -> None:
        answers = {
            "a_paid": "replay-succeeds",
            "b_old": "replay-processed",
            "c_busy": "replay-live-lease",
            "d_unlinked": "replay-fails-again",
            "e_purged": "replay-payload-purged",
            "f_gone": "replay-unknown-webhook",
        }
        site.reply_to = lambda call: recorded(answers[call.body["webhookId"].removeprefix("webhook_of_")])
        with open_database(url) as database:
            put(database, "ops", *(workflow(name, nextAttemptAt="2026-02-28T12:00:00.000Z") for name in answers))
            unlinked = "Payment event could not be linked to a checkout."
            put(database, "ops", webhook("webhook_of_d_unlinked", status="failed", lastError=unlinked))

        found = facts(run(site, database_url=url), "webhook_retries")

        counts = {name: found[name] for name in ("retried", "not_eligible", "still_running", "failed")}
        assert counts == {"retried": 1, "not_eligible": 1, "still_running": 1, "failed": 3}
        assert found["not_eligible_ids"] == ("webhook_of_b_old",)
        linked, purged, gone = sorted(found["failed_ids"])
        assert linked == f"webhook_of_d_unlinked: {unlinked}"
        assert purged.endswith("Webhook payload could not be reconstructed for replay.")
        assert "the webhook does not exist any more" in gone

    def test_a_replay_that_is_in_progress_is_waited_for(
        self, site: Site, recorded_site: RecordedSite, url: str
    ) -> None:
        recorded_site.replays = ("unique-index-replay-slow-same-key-meanwhile", "unique-index-replay-succeeds")
        with open_database(url) as database:
            put(database, "ops", workflow("a", nextAttemptAt="2026-02-28T12:00:00.000Z"))

        assert facts(run(site, database_url=url), "webhook_retries")["retried"] == 1
        assert len({call.key for call in site.calls}) == 1

    def test_a_replay_that_the_site_remembers_as_failed_has_a_new_key_in_the_next_run(
        self, site: Site, recorded_site: RecordedSite, url: str
    ) -> None:
        recorded_site.keeps_keys = True
        recorded_site.replays = ("unique-index-replay-fails-again", "unique-index-replay-succeeds")
        with open_database(url) as database:
            put(database, "ops", workflow("a", nextAttemptAt="2026-02-28T12:00:00.000Z"))

        found = [facts(run(site, database_url=url), "webhook_retries") for _ in range(2)]

        assert [each.get("failed", 0) for each in found] == [1, 0]
        assert [each.get("retried", 0) for each in found] == [0, 1]

    def test_the_doctor_changes_no_row_and_leaves_nothing_on_the_site(
        self, site: Site, recorded_site: RecordedSite, url: str
    ) -> None:
        with open_database(url) as database:
            put(database, "ops", workflow("a", nextAttemptAt="2026-02-28T12:00:00.000Z"))
        before = dumped(url)

        diagnosis = diagnosed(database_url=url, admin_api_url=site.url, admin_api_token=TOKEN)

        assert status_of(diagnosis, "admin API") == "ok"
        assert dumped(url) == before
        assert recorded_site.ran == []
