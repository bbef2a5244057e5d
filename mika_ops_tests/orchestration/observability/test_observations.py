"""What a run observes and logs of its checks: enough to plot, and no event that nobody reads."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import dagster as dg
import pytest

from mika_ops.config.loading import isolated_settings
from mika_ops.orchestration.observability.assets import is_heartbeat
from mika_ops.orchestration.tags import HEALTHY_TAG, UNHEALTHY_TAG
from mika_ops.ports.email import DrainedOutbox
from mika_ops.ports.stock import ReleasedReservations
from mika_ops.subtasks.registry import SUBTASK_NAMES
from mika_ops_tests.orchestration.fake_host import Broken, Outbox, Stock, run_job, whole_host
from mika_ops_tests.orchestration.observability.observing import IN_ORDER, LATE, checked, host, seen, started


def test_the_first_run_observes_every_asset_and_every_check(instance: dg.DagsterInstance) -> None:
    run = run_job(host(LATE), instance=instance)

    assert all(len(seen(instance, name)) == 1 for name in (*SUBTASK_NAMES, "shop"))
    assert checked(instance, run.id) == {"oldest_due_email": False, "malformed_documents": True}


def test_an_idle_run_that_is_no_heartbeat_observes_nothing(instance: dg.DagsterInstance) -> None:
    run_job(host(), instance=instance)

    run = run_job(host(), instance=instance)

    assert [len(seen(instance, name)) for name in ("shop", "email_outbox")] == [1, 1]
    assert checked(instance, run.id) == {}


def test_a_run_observes_what_did_something_and_the_shop(instance: dg.DagsterInstance) -> None:
    run_job(host(), instance=instance)

    run_job(host(email_outbox=Outbox(answer=DrainedOutbox(scanned=2, sent=2))), instance=instance)

    (_first, outbox), (_before, shop) = seen(instance, "email_outbox"), seen(instance, "shop")
    assert (outbox["status"], outbox["done"], outbox["due"]) == ("completed", 2, 0)
    assert (shop["completed"], shop["skipped"], shop["due"]) == (7, 2, 0)
    assert len(seen(instance, "stuck_emails")) == 1


def test_a_check_is_logged_again_when_it_turns_and_not_while_it_stays(instance: dg.DagsterInstance) -> None:
    logged = [
        checked(instance, run_job(host(backlog), instance=instance).id)
        for backlog in (IN_ORDER, IN_ORDER, LATE, LATE, IN_ORDER)
    ]

    assert logged[1:] == [{}, {"oldest_due_email": False}, {}, {"oldest_due_email": True}]


def test_a_failing_check_that_is_an_error_is_logged_by_every_run(instance: dg.DagsterInstance) -> None:
    settings = isolated_settings(check_errors=("oldest_due_email",))
    for _ in range(3):
        run = run_job(host(LATE), settings=settings, instance=instance)

        assert checked(instance, run.id)["oldest_due_email"] is False


def test_a_runs_tags_name_the_checks_that_passed_and_that_failed(instance: dg.DagsterInstance) -> None:
    run = run_job(host(LATE), instance=instance)

    tags = instance.get_run_record_by_id(run.id).dagster_run.tags  # type: ignore[union-attr]
    assert (tags[HEALTHY_TAG], tags[UNHEALTHY_TAG]) == ("malformed_documents", "oldest_due_email")


def test_a_shop_whose_backlog_cannot_be_read_is_not_judged(instance: dg.DagsterInstance) -> None:
    run = run_job(host(LATE), instance=instance)

    run = run_job(whole_host(backlog=Broken()), instance=instance)

    assert run.success
    assert checked(instance, run.id) == {}
    tags = instance.get_run_record_by_id(run.id).dagster_run.tags  # type: ignore[union-attr]
    assert not {HEALTHY_TAG, UNHEALTHY_TAG} & set(tags)


def test_a_run_that_fails_has_observed_all_the_same(instance: dg.DagsterInstance) -> None:
    run = run_job(host(LATE, reservation_release=Stock(ReleasedReservations(orphans=("a",)))), instance=instance)

    assert not run.success
    assert seen(instance, "stock_reservations")[0]["failed_runs"] == 1
    assert checked(instance, run.id)["oldest_due_email"] is False


def test_a_subtask_that_was_not_chosen_is_not_observed(instance: dg.DagsterInstance) -> None:
    run_job(host(), config={"subtasks": ["stuck_emails"]}, instance=instance)

    assert [len(seen(instance, name)) for name in ("stuck_emails", "email_outbox", "shop")] == [1, 0, 1]


def test_the_overview_shows_what_fails_and_links_the_runs_before(instance: dg.DagsterInstance) -> None:
    settings = isolated_settings(dagster_url="https://dagster.example/")
    before = run_job(host(email_outbox=Broken()), settings=settings, instance=instance)

    overview = run_job(host(LATE), settings=settings, instance=instance).metadata["summary"]["overview"]

    assert "| email_outbox | completed | nothing due | 0 | 3 |" in overview
    assert "- **oldest_due_email**: emails due: 3, the oldest for" in overview
    assert f"[{before.id[:8]}](https://dagster.example/runs/{before.id}) success" in overview
    assert "| email_outbox | acp_sessions, " in overview


def test_the_overview_says_that_all_is_in_order(instance: dg.DagsterInstance) -> None:
    overview = run_job(host(), instance=instance).metadata["summary"]["overview"]

    assert "All 2 checks pass." in overview
    assert "before" not in overview


@pytest.mark.parametrize(
    ("minutes_ago", "every", "heartbeat"),
    [(None, 60, True), (4, 60, False), (6, 60, True), (4, 3, True), (61, 60, True)],
)
def test_the_first_run_of_each_stretch_of_time_is_a_heartbeat(
    minutes_ago: int | None, every: int, heartbeat: bool
) -> None:
    now = datetime(2026, 3, 1, 12, 5, tzinfo=UTC)
    started = None if minutes_ago is None else now - timedelta(minutes=minutes_ago)

    assert is_heartbeat(now, started, every=timedelta(minutes=every)) is heartbeat


def test_a_run_that_died_before_its_summary_takes_no_heartbeat(instance: dg.DagsterInstance) -> None:
    died = dg.DagsterRun(job_name="mika_maintenance", run_id=str(uuid4()), status=dg.DagsterRunStatus.FAILURE)
    instance.add_run(died)

    run_job(host(), instance=instance)

    assert len(seen(instance, "email_outbox")) == 1


def test_the_first_run_of_an_hour_alone_looks_for_hours_to_add_up(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    rolled_up: list[datetime] = []
    monkeypatch.setattr("mika_ops.orchestration.maintenance.summary.roll_up", lambda *_args, now: rolled_up.append(now))

    first = started(instance, run_job(host(), instance=instance).id)
    monkeypatch.setattr("mika_ops.orchestration.maintenance.summary.utc_now", lambda: first)
    second = started(instance, run_job(host(), instance=instance).id)
    monkeypatch.setattr("mika_ops.orchestration.maintenance.summary.utc_now", lambda: second + timedelta(hours=1))
    run_job(host(), instance=instance)

    assert rolled_up[1:] == [second + timedelta(hours=1)]
