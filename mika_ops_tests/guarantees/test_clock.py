"""Ticks may come late or twice, and the clock may be wrong or change to summer time."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from mika_ops.clock import utc_now
from mika_ops.config.loading import isolated_settings
from mika_ops.config.shop import Shop
from mika_ops.documents.document import Document
from mika_ops.orchestration.dagster_internals import cron_times
from mika_ops.orchestration.run_once import run_once
from mika_ops.store.database import Database
from mika_ops.subtasks.outcome import outcome_facts
from mika_ops.timestamps import to_timestamp
from mika_ops_testing.builders import email, get, put, workflow
from mika_ops_testing.shop_at_work import EMAILS, shop_at_work

pytestmark = pytest.mark.thorough  # series of whole runs under shifted clocks


def test_two_runs_of_the_same_planned_time_do_everything_once(url: str) -> None:
    with shop_at_work(url) as world:
        planned = to_timestamp(utc_now())
        first, second = (run_once(Shop(isolated_settings(**world.settings)), now=planned) for _ in range(2))

        assert outcome_facts(first.subtasks["email_outbox"])["sent"] == EMAILS
        assert not any(
            outcome_facts(outcome).get(count)
            for outcome in second.subtasks.values()
            for count in ("sent", "purged", "completed")
        )
        assert len(world.mailroom.deliveries) == EMAILS
        assert world.broken_promises(interruptions=0) == []


def test_a_run_that_comes_late_does_what_was_due_then_and_stamps_the_real_time(
    database: Database, url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    began = utc_now()
    planned = began - timedelta(hours=1)
    put(database, "ops", email("due", nextAttemptAt=to_timestamp(planned)))
    put(database, "ops", email("not_yet", nextAttemptAt=to_timestamp(planned + timedelta(minutes=1))))

    directory = tmp_path_factory.mktemp("outbox")
    run_once(Shop(isolated_settings(database_url=url, email_directory=directory)), now=to_timestamp(planned))

    assert get(database, "ops", "due")["record"]["sentAt"] >= to_timestamp(began)
    assert get(database, "ops", "not_yet")["status"] == "queued"


def test_a_clock_behind_the_shops_leaves_what_others_hold_and_never_writes_an_earlier_time(
    database: Database, url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shops = utc_now() + timedelta(hours=2)
    held: Document = {"leaseKey": "the site's", "leasedAt": to_timestamp(shops), "attemptCount": 1}
    lease = {**held, "leaseExpiresAt": to_timestamp(shops + timedelta(minutes=5))}
    put(database, "ops", email("held", **lease), email("later", nextAttemptAt=to_timestamp(shops)), email("due"))
    put(database, "ops", workflow("stuck", status="running", **{**lease, "attemptCount": 5}))
    before = {id_: get(database, "ops", id_) for id_ in ("held", "later", "stuck")}
    settings = isolated_settings(database_url=url, email_directory=tmp_path_factory.mktemp("outbox"))

    run_once(Shop(settings))
    assert {id_: get(database, "ops", id_) for id_ in before} == before
    assert get(database, "ops", "due")["status"] == "sent"

    ahead = to_timestamp(shops + timedelta(minutes=6))
    run_once(Shop(settings), now=ahead)
    assert {get(database, "ops", id_)["status"] for id_ in ("held", "later")} == {"sent"}
    assert get(database, "ops", "held")["record"]["sentAt"] == ahead, "never earlier than the run was planned for"
    assert get(database, "ops", "stuck")["status"] == "failed"


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"], ids=["summer time begins", "summer time ends"])
def test_an_every_minute_schedule_skips_and_repeats_no_minute_when_summer_time_changes(day: str) -> None:
    start = datetime.fromisoformat(day).replace(tzinfo=UTC)
    ticks = cron_times("* * * * *", "Europe/Berlin", since=start)

    times = [next(ticks).timestamp() for _ in range(4 * 60)]

    assert {later - earlier for earlier, later in pairwise(times)} == {60}


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"], ids=["summer time begins", "summer time ends"])
def test_a_nightly_schedule_runs_once_in_the_night_of_the_change(day: str) -> None:
    start = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo("Europe/Berlin"))
    ticks = cron_times("17 2 * * *", "Europe/Berlin", since=start)

    times = [next(ticks) for _ in range(3)]

    assert [time.date() for time in times] == [start.date() + timedelta(days=number) for number in range(3)]
