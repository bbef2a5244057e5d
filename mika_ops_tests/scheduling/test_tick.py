"""A tick decides by the backlog, the runs that are under way, and how the last run ended."""

from datetime import UTC, datetime, timedelta
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mika_ops.config.loading import isolated_settings
from mika_ops.config.shop import Shop
from mika_ops.scheduling.backlog_probe import PendingWork
from mika_ops.scheduling.tick import RecentRuns, TickDecision, decide_tick
from mika_ops.store.errors import DatabaseError

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
SUCCEEDED = RecentRuns(ended_at=AT - timedelta(minutes=1), succeeded=True)
IDLE = PendingWork()


def decision(
    runs: RecentRuns = SUCCEEDED, pending: PendingWork | None = IDLE, *, now: datetime = AT, **settings: object
) -> TickDecision:
    return decide_tick(runs, lambda: pending, now=now, shop=Shop(isolated_settings(**settings)))


def test_due_work_starts_a_run_whose_reason_names_it() -> None:
    assert decision(pending=PendingWork({"email_outbox": 3, "stuck_emails": 0})) == TickDecision(
        True, "due: email_outbox 3"
    )
    both = PendingWork({"email_outbox": 3, "stuck_emails": 1})
    assert decision(pending=both).reason == "due: email_outbox 3, stuck_emails 1"


def test_without_due_work_a_tick_is_skipped_and_names_the_time_of_the_next_email() -> None:
    assert decision() == TickDecision(False, "nothing due")
    soon = PendingWork(next_email_at="2026-03-01T12:03:00.000Z")
    assert decision(pending=soon) == TickDecision(False, "nothing due; next email due in 3 min")
    sooner = PendingWork(next_email_at="2026-03-01T12:00:20.000Z")
    assert decision(pending=sooner) == TickDecision(False, "nothing due; next email due in 20 s")


def test_a_run_under_way_is_waited_for_whatever_is_due() -> None:
    under_way = RecentRuns(under_way={"a1b2": AT - timedelta(minutes=2)}, ended_at=AT, succeeded=False)
    assert decision(under_way, PendingWork({"email_outbox": 3})) == TickDecision(
        False, "run a1b2 has been under way for 2 min"
    )


def test_a_stuck_run_is_reported_and_not_waited_for() -> None:
    stuck = RecentRuns(under_way={"a1b2": AT - timedelta(minutes=15)}, ended_at=AT, succeeded=True)
    decided = decision(stuck, PendingWork({"email_outbox": 3}))
    assert decided.run
    assert decided.warning == (
        "runs have been under way for longer than MIKA_LONG_RUN_MINUTES and are not waited for: a1b2 (15 min)"
    )
    assert not decision(stuck, long_run_minutes=16).run


def test_all_stuck_runs_are_named() -> None:
    stuck = RecentRuns({"a1b2": AT - timedelta(minutes=15), "c3d4": AT - timedelta(minutes=20)}, AT, True)
    assert str(decision(stuck).warning).endswith(": a1b2 (15 min), c3d4 (20 min)")


def test_beside_a_stuck_run_a_recent_run_is_waited_for() -> None:
    both = RecentRuns({"new": AT - timedelta(minutes=1), "old": AT - timedelta(hours=5)}, AT, True)
    decided = decision(both)
    assert (decided.run, decided.reason) == (False, "run new has been under way for 1 min")
    assert "old (300 min)" in str(decided.warning)


@pytest.mark.parametrize(
    ("runs", "reason"),
    [
        (RecentRuns(), "no run has ended yet"),
        (RecentRuns(ended_at=AT, succeeded=False), "the last run failed"),
        (RecentRuns(ended_at=AT - timedelta(minutes=60), succeeded=True), "the last run ended 60 min ago"),
    ],
)
def test_without_a_recent_successful_run_a_tick_starts_one_whatever_is_due(runs: RecentRuns, reason: str) -> None:
    assert decision(runs) == TickDecision(True, reason)


def test_the_heartbeat_and_idle_ticks_are_settings() -> None:
    hour_ago = RecentRuns(ended_at=AT - timedelta(minutes=60), succeeded=True)
    assert not decision(hour_ago, heartbeat_minutes=61).run
    assert decision(idle_ticks="run") == TickDecision(True, "every tick starts a run")


def test_a_backlog_that_cannot_be_read_starts_a_run_that_shows_the_error() -> None:
    def probe() -> NoReturn:
        raise DatabaseError("the shop's database: connection refused for bob@example.test")

    decided = decide_tick(SUCCEEDED, probe, now=AT, shop=Shop(isolated_settings()))
    assert decided.run
    assert decided.reason == "the backlog cannot be read: the shop's database: connection refused for <address>"


def test_an_unknown_backlog_starts_a_run() -> None:
    assert decision(pending=None) == TickDecision(True, "only the host knows the backlog")


@given(
    ages=st.lists(st.integers(0, 10_000), max_size=4),
    ended=st.none() | st.integers(0, 10_000),
    well=st.booleans(),
    due=st.integers(0, 2),
)
def test_due_work_never_waits_for_longer_than_a_run_may_take(
    ages: list[int], ended: int | None, well: bool, due: int
) -> None:
    runs = RecentRuns(
        {f"run{number}": AT - timedelta(seconds=age) for number, age in enumerate(ages)},
        None if ended is None else AT - timedelta(seconds=ended),
        well,
    )
    decided = decision(runs, PendingWork({"email_outbox": due}))
    awaited = any(age < 15 * 60 for age in ages)
    assert decided.run == (not awaited and (due > 0 or ended is None or not well or ended >= 3600))
    assert (decided.warning is not None) == any(age >= 15 * 60 for age in ages)


def test_an_email_with_a_malformed_time_does_not_fail_the_tick() -> None:
    assert decision(pending=PendingWork(next_email_at="2999-99-99T00:00:00.000Z")) == TickDecision(False, "nothing due")
