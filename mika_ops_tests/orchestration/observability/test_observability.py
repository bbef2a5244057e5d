"""What a run leaves to be looked at: observations that plot, checks, the long view, and no event that nobody reads."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest

from mika_ops.config.loading import isolated_settings
from mika_ops.host.host import Host
from mika_ops.monitoring.checks import CHECK_NAMES, CHECKS
from mika_ops.orchestration.definitions import build_definitions
from mika_ops.orchestration.observability.assets import is_heartbeat
from mika_ops.orchestration.observability.checks import health_checks
from mika_ops.orchestration.observability.rollup import LOOKBACK, roll_up
from mika_ops.orchestration.tags import HEALTHY_TAG, UNHEALTHY_TAG
from mika_ops.ports.backlog import Backlog, Due
from mika_ops.ports.email import DrainedOutbox
from mika_ops.ports.stock import ReleasedReservations
from mika_ops.store.database import Database
from mika_ops.subtasks.registry import SUBTASK_NAMES
from mika_ops_testing.builders import delete_request, email, put
from mika_ops_tests.orchestration.pieces import Backlogs, Broken, Outbox, Stock, run_job, whole_host

LONG_AGO = "2020-01-01T00:00:00.000Z"
LATE = Backlog({"email_outbox": Due(3, LONG_AGO)})
IN_ORDER = Backlog({"email_outbox": Due(0)})


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def seen(instance: dg.DagsterInstance, name: str) -> list[dict[str, Any]]:
    """Return what was observed of an asset, oldest first."""
    records = instance.fetch_observations(dg.AssetKey(["mika", name]), limit=100, ascending=True).records
    return [
        {key: value.value for key, value in record.asset_observation.metadata.items()}
        for record in records
        if record.asset_observation is not None
    ]


def checked(instance: dg.DagsterInstance, run_id: str) -> dict[str, bool]:
    """Return what a run logged of the checks."""
    records = instance.get_records_for_run(run_id, of_type={dg.DagsterEventType.ASSET_CHECK_EVALUATION}).records
    events = [record.event_log_entry.get_dagster_event().asset_check_evaluation_data for record in records]
    return {event.check_name: event.passed for event in events}


def started(instance: dg.DagsterInstance, run_id: str) -> datetime:
    record = instance.get_run_record_by_id(run_id)
    assert record is not None
    assert record.start_time is not None
    return datetime.fromtimestamp(record.start_time, UTC)


def host(backlog: Backlog = IN_ORDER, **pieces: Any) -> Host:
    return whole_host(backlog=Backlogs(backlog), ephemeral_purge=None, ephemeral=None, **pieces)


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


def test_the_overview_tells_what_fails_and_links_the_runs_before(instance: dg.DagsterInstance) -> None:
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
    looked: list[datetime] = []
    monkeypatch.setattr("mika_ops.orchestration.maintenance.summary.roll_up", lambda *_args, now: looked.append(now))

    first = started(instance, run_job(host(), instance=instance).id)
    monkeypatch.setattr("mika_ops.orchestration.maintenance.summary.utc_now", lambda: first)
    second = started(instance, run_job(host(), instance=instance).id)
    monkeypatch.setattr("mika_ops.orchestration.maintenance.summary.utc_now", lambda: second + timedelta(hours=1))
    run_job(host(), instance=instance)

    assert looked[1:] == [second + timedelta(hours=1)]


# --- the checks in the UI ---


def execute_checks(instance: dg.DagsterInstance, host: Host | None = None, **settings: Any) -> Any:
    """Execute the checks as the UI's button does."""
    definitions = build_definitions(host=host, settings=isolated_settings(**settings))
    job = definitions.get_repository_def().get_job("__ASSET_JOB")
    return job.execute_in_process(instance=instance, raise_on_error=False)


def test_the_checks_can_be_executed_by_hand(database: Database, url: str, instance: dg.DagsterInstance) -> None:
    put(database, "ops", email(nextAttemptAt=LONG_AGO), delete_request(status="failed", top={"createdAt": LONG_AGO}))

    result = execute_checks(instance, database_url=url)

    assert result.success
    evaluations = {each.check_name: each for each in result.get_asset_check_evaluations()}
    assert tuple(sorted(evaluations)) == tuple(sorted(CHECK_NAMES))
    assert {name for name, each in evaluations.items() if not each.passed} == {
        "oldest_due_email",
        "overdue_account_deletes",
    }
    assert evaluations["overdue_account_deletes"].severity is dg.AssetCheckSeverity.ERROR
    assert evaluations["oldest_due_email"].severity is dg.AssetCheckSeverity.WARN


def test_checks_that_cannot_read_the_shop_fail_with_a_sentence(instance: dg.DagsterInstance) -> None:
    result = execute_checks(instance, database_url="sqlite:////nowhere/shop.db")

    assert not result.success
    (failure,) = [event for event in result.all_events if event.event_type is dg.DagsterEventType.STEP_FAILURE]
    assert "/nowhere/shop.db" in failure.step_failure_data.user_failure_data.description


def test_a_shop_of_which_nothing_can_tell_has_no_checks() -> None:
    assert health_checks(isolated_settings(), None) == []


def test_a_check_says_what_its_threshold_is_and_which_setting_moves_it() -> None:
    (health,) = health_checks(isolated_settings(check_due_email_minutes=30), Host(backlog=Backlogs()), shop="eu")

    described = {spec.name: spec for spec in health.check_specs}
    assert list(described) == [check.name for check in CHECKS]
    assert str(described["oldest_due_email"].description).endswith("Threshold: MIKA_EU_CHECK_DUE_EMAIL_MINUTES, 30.")
    assert described["oldest_due_email"].asset_key == dg.AssetKey(["mika", "eu", "email_outbox"])
    assert described["malformed_documents"].asset_key == dg.AssetKey(["mika", "eu", "shop"])


def test_assets_name_their_owners_and_the_database_they_are_in() -> None:
    settings = isolated_settings(
        database_url="postgresql://shop@db/site", asset_owners=("team:night", "ann@shop.example")
    )

    (spec, *_others) = [
        spec
        for asset in build_definitions(settings=settings).get_repository_def().assets_defs_by_key.values()
        for spec in asset.specs
        if spec.key.path[-1] == "email_outbox"
    ]

    assert (list(spec.owners), spec.kinds) == (["team:night", "ann@shop.example"], {"postgres"})


# --- the long view ---

NOW = datetime.now(UTC)
THIS_HOUR = NOW.replace(minute=0, second=0, microsecond=0)


def rolled(instance: dg.DagsterInstance, *, later: timedelta) -> None:
    roll_up(instance, "mika_maintenance", None, now=datetime.now(UTC) + later)


def test_an_hour_is_added_up_once_it_has_ended(instance: dg.DagsterInstance) -> None:
    for sent in (2, 3):
        run_job(host(LATE, email_outbox=Outbox(answer=DrainedOutbox(sent=sent))), instance=instance)
    assert seen(instance, "hourly") == []

    rolled(instance, later=timedelta(hours=1))

    hours = seen(instance, "hourly")
    assert sum(hour["email_outbox.done"] for hour in hours) == 5
    assert max(hour["email_outbox.due"] for hour in hours) == 3
    assert sum(hour["shop.runs"] for hour in hours) == 2
    assert all(hour["since"].endswith(":00:00.000Z") for hour in hours)


def test_an_hour_is_recorded_once_however_many_runs_come_after_it(instance: dg.DagsterInstance) -> None:
    run_job(host(), instance=instance)
    for _ in range(3):
        rolled(instance, later=timedelta(hours=1))

    assert len({hour["since"] for hour in seen(instance, "hourly")}) == len(seen(instance, "hourly")) >= 1


def test_an_hour_in_which_nothing_ran_is_not_recorded(instance: dg.DagsterInstance) -> None:
    rolled(instance, later=timedelta(hours=1))

    assert seen(instance, "hourly") == []


def test_a_day_is_the_sum_of_its_hours(instance: dg.DagsterInstance) -> None:
    for sent in (2, 3):
        run_job(host(email_outbox=Outbox(answer=DrainedOutbox(sent=sent))), instance=instance)
    rolled(instance, later=timedelta(hours=1))

    rolled(instance, later=timedelta(days=1))

    days = seen(instance, "daily")
    assert sum(day["email_outbox.done"] for day in days) == 5
    assert sum(day["shop.runs"] for day in days) == 2
    assert all(day["since"].endswith("T00:00:00.000Z") for day in days)


def test_the_long_view_outlives_the_runs_it_adds_up(instance: dg.DagsterInstance) -> None:
    run = run_job(host(), instance=instance)
    rolled(instance, later=timedelta(hours=1))

    instance.delete_run(run.id)

    assert seen(instance, "email_outbox") == []
    assert len(seen(instance, "hourly")) >= 1


def test_after_a_long_silence_only_the_last_days_are_looked_through(instance: dg.DagsterInstance) -> None:
    run_job(host(), instance=instance)

    rolled(instance, later=LOOKBACK + timedelta(hours=2))

    assert seen(instance, "hourly") == []


def test_a_long_view_that_cannot_be_kept_fails_no_run(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_args: object, **_options: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("mika_ops.orchestration.maintenance.summary.roll_up", refused)

    run = run_job(host(), instance=instance)

    assert run.success
    assert any("cannot roll up the last hour: OSError" in text or "the disk is full" in text for text in run.logged(30))
