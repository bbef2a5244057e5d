"""The rules of incidents: when each channel is notified of what, whatever the runs do."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mika_ops.alerting.incidents import (
    SKIP_ACCEPTED_AFTER,
    FinishedRun,
    MonitorState,
    Notification,
    OverdueAt,
    apply_runs,
    due_notifications,
    mark_notified,
    without_no_runs,
)
from mika_ops.alerting.messages import alert_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
STOCK = "stock_reservations"


def run(number: int = 1, *, at: datetime = NOON, **ended: str) -> FinishedRun:
    """Return a run: ``failed``, ``skipped`` and ``completed`` name subtasks, ``failing`` and ``passing`` checks."""
    sets: dict[str, Any] = {
        f"{how}_{'checks' if how.endswith('ing') else 'subtasks'}": frozenset(names.split(","))
        for how, names in ended.items()
    }
    failed = STOCK in ended.get("failed", "")
    return FinishedRun(f"run-{number}", at, failed=failed, run_failing_subtasks=frozenset({STOCK}), **sets)


def crashed(number: int = 1, *, at: datetime = NOON) -> FinishedRun:
    return FinishedRun(f"run-{number}", at, failed=True, run_failing_subtasks=frozenset({STOCK}))


@dataclass
class Watched:
    """A job under watch, minute by minute; its messages are delivered where their channel is well."""

    channels: int = 1
    broken: set[int] = field(default_factory=set)
    overdue_at: OverdueAt | None = None
    now: datetime = NOON
    state: MonitorState = field(default_factory=lambda: MonitorState(last_finished_at=NOON))
    sent: list[tuple[datetime, Notification]] = field(default_factory=list)
    cooldown: timedelta = HOUR

    def tick(self, *runs: FinishedRun, after: timedelta = MINUTE) -> list[str]:
        """Let time pass, take the runs, and return what was delivered: kind and incident."""
        self.now += after
        self.state = apply_runs(
            self.state,
            runs,
            now=self.now,
            cooldown=self.cooldown,
            channels=self.channels,
            overdue_at=self.overdue_at,
        )
        sent = []
        for message in list(due_notifications(self.state, now=self.now, cooldown=self.cooldown)):
            if message.channel not in self.broken:
                self.state = mark_notified(self.state, message, now=self.now)
                self.sent.append((self.now, message))
                sent.append(f"{message.kind} {message.key}")
        return sent

    def kinds(self, channel: int = 0) -> list[str]:
        return [message.kind for _, message in self.sent if message.channel == channel]


def test_a_check_that_fails_is_an_incident_until_it_passes() -> None:
    watched = Watched()

    assert watched.tick(run(1, failing="overdue_account_deletes", completed=STOCK)) == [
        "opened overdue_account_deletes"
    ]
    assert watched.tick(run(2, failing="overdue_account_deletes")) == []
    assert watched.tick(run(3, completed=STOCK)) == []  # a run that could not tell says nothing of a check
    assert watched.tick(run(4, passing="overdue_account_deletes")) == ["recovered overdue_account_deletes"]
    (_, opened), (_, over) = watched.sent
    alert = alert_of(opened, job="mika_maintenance", cause="requests that failed: 1")
    assert (alert.title, alert.subtask) == (
        "mika_maintenance: overdue_account_deletes fails",
        "account_delete_requests",
    )
    assert alert.sentence == (
        "mika_maintenance: the check overdue_account_deletes fails since run run-1: requests that failed: 1 "
        "(first seen 2026-03-01 12:00 UTC, once)"
    )
    assert alert_of(over, job="mika_maintenance").sentence == (
        "mika_maintenance: overdue_account_deletes passes again since run run-4 at 2026-03-01 12:00 UTC "
        "(first seen 2026-03-01 12:00 UTC, 2 times)"
    )


def test_an_incident_is_reported_when_it_opens_and_when_it_ends() -> None:
    watched = Watched()

    assert watched.tick(run(1, failed="acp_sessions")) == ["opened acp_sessions"]
    assert watched.tick(run(2, failed="acp_sessions")) == []
    assert watched.tick(run(3, completed="acp_sessions")) == ["recovered acp_sessions"]
    assert watched.tick(run(4, completed="acp_sessions")) == []


def test_an_outage_of_a_day_is_a_handful_of_messages() -> None:
    watched = Watched()
    for number in range(1440):
        watched.tick(crashed(number, at=watched.now))
    watched.tick(run(1440, at=watched.now, completed=STOCK))

    opened, *_, recovered = watched.sent
    assert opened[0] == NOON + MINUTE
    assert watched.kinds() == ["opened", *["reminder"] * 4, "recovered"]
    assert recovered[1].incident.times == 1440


def test_reminders_come_after_the_cooldown_twice_that_and_so_on_up_to_a_day() -> None:
    watched = Watched()
    watched.tick(run(failed="acp_sessions"), after=timedelta(0))
    for _ in range(5 * 1440):
        watched.tick()

    hours = [(at - NOON) / HOUR for at, _ in watched.sent]
    assert hours == [0, 1, 3, 7, 15, 31, 55, 79, 103]


def test_a_cooldown_of_more_than_a_day_is_kept() -> None:
    watched = Watched(cooldown=timedelta(days=2))
    watched.tick(run(failed="acp_sessions"), after=timedelta(0))
    for _ in range(24 * 7):
        watched.tick(after=HOUR)

    assert [(at - NOON).days for at, _ in watched.sent] == [0, 2, 4, 6]


def test_five_thousand_failed_runs_at_once_are_one_message_that_counts_them() -> None:
    watched = Watched()

    assert watched.tick(*(crashed(number) for number in range(5000))) == ["opened run"]
    assert watched.sent[0][1].incident.times == 5000


def test_a_failure_that_fails_the_run_is_one_incident_and_other_failures_of_that_run_are_theirs() -> None:
    assert Watched().tick(run(failed=f"{STOCK},acp_sessions")) == ["opened acp_sessions", f"opened {STOCK}"]


def test_a_run_that_leaves_a_subtask_out_says_nothing_of_it() -> None:
    watched = Watched()
    watched.tick(run(1, failed=STOCK))

    assert watched.tick(run(2, completed="stuck_emails")) == []
    assert watched.tick(run(3, completed=STOCK)) == [f"recovered {STOCK}"]


def test_a_canceled_run_tells_nothing_and_ends_nothing() -> None:
    watched = Watched()
    watched.tick(crashed(1))

    assert watched.tick(FinishedRun("run-2", NOON, canceled=True)) == []
    assert watched.tick(run(3, completed=STOCK)) == ["recovered run"]


def test_a_subtask_that_used_to_run_and_is_skipped_is_reported() -> None:
    watched = Watched()
    watched.tick(run(1, completed="webhook_retries"))

    assert watched.tick(run(2, skipped="webhook_retries")) == ["opened webhook_retries"]
    assert watched.tick(run(3, completed="webhook_retries")) == ["recovered webhook_retries"]


def test_a_subtask_that_never_ran_is_no_incident_when_it_is_skipped() -> None:
    assert Watched().tick(run(skipped="webhook_retries")) == []


def test_what_is_skipped_for_a_week_is_meant_to_be() -> None:
    watched = Watched()
    watched.tick(run(1, completed="webhook_retries"))
    watched.tick(run(2, skipped="webhook_retries", at=watched.now))
    watched.tick(after=SKIP_ACCEPTED_AFTER)

    assert watched.tick(run(3, skipped="webhook_retries", at=watched.now), after=2 * SKIP_ACCEPTED_AFTER) == []
    assert watched.state.incidents == {}


def test_a_failure_that_turns_into_a_skip_is_the_same_incident() -> None:
    watched = Watched()
    watched.tick(run(1, failed="webhook_retries"))

    assert watched.tick(run(2, skipped="webhook_retries")) == []
    assert watched.tick(run(3, completed="webhook_retries")) == ["recovered webhook_retries"]


def test_missing_runs_are_reported_until_the_next_run() -> None:
    watched = Watched(overdue_at=lambda last: last + 2 * HOUR)

    assert watched.tick(after=2 * HOUR - MINUTE) == []
    assert watched.tick() == ["opened no_runs"]
    assert watched.tick() == []
    assert watched.tick(run(1, at=watched.now, completed="stuck_emails")) == ["recovered no_runs"]
    assert watched.tick(after=HOUR) == []


def test_a_silence_counts_once_however_long_it_is_and_again_when_it_comes_back() -> None:
    watched = Watched(overdue_at=lambda last: last + HOUR, cooldown=3 * HOUR)

    watched.tick(after=HOUR)
    watched.tick()
    assert watched.state.incidents["no_runs"].times == 1
    watched.tick(run(1, at=watched.now))
    watched.tick(after=HOUR)
    again = watched.state.incidents["no_runs"]
    assert (again.times, again.reopened, again.ended) == (2, 1, None)


def test_where_no_schedule_is_registered_any_more_silence_is_no_incident() -> None:
    watched = Watched(overdue_at=lambda last: last + HOUR)
    watched.tick(after=HOUR)

    assert without_no_runs(watched.state).incidents == {}


def test_a_broken_channel_is_notified_once_it_works_and_the_others_not_twice() -> None:
    watched = Watched(channels=2, broken={1})
    watched.tick(crashed(1))
    watched.tick(run(2, completed=STOCK))
    watched.tick(after=5 * HOUR)
    assert (watched.kinds(0), watched.kinds(1)) == (["opened", "recovered"], [])

    watched.broken = set()
    watched.tick()
    watched.tick()

    assert (watched.kinds(0), watched.kinds(1)) == (["opened", "recovered"], ["opened", "recovered"])


def test_a_broken_channel_keeps_no_other_from_reminders() -> None:
    watched = Watched(channels=2, broken={1})
    watched.tick(crashed(1))
    watched.tick(after=HOUR)

    assert (watched.kinds(0), watched.kinds(1)) == (["opened", "reminder"], [])


def test_a_channel_that_is_new_hears_of_what_is_open_and_not_of_what_is_over() -> None:
    watched = Watched()
    watched.tick(crashed(1))
    watched.tick(run(2, failed="acp_sessions"))
    watched.channels = 2
    watched.tick()

    assert [(message.key, message.kind) for _, message in watched.sent if message.channel == 1] == [
        ("acp_sessions", "opened")
    ]


def test_an_incident_that_comes_and_goes_every_minute_does_not_flood() -> None:
    watched = Watched()
    for number in range(720):
        watched.tick(crashed(number, at=watched.now))
        watched.tick(run(number, at=watched.now, completed=STOCK))

    assert watched.kinds()[:6] == ["opened", "recovered"] * 3
    assert len(watched.sent) < 60


def test_one_that_flapped_and_then_lasts_is_reported_within_the_cooldown() -> None:
    watched = Watched()
    for number in range(10):
        watched.tick(crashed(number, at=watched.now))
        watched.tick(run(number, at=watched.now, completed=STOCK))
    before = len(watched.sent)
    for number in range(60):
        watched.tick(crashed(number, at=watched.now))

    assert watched.kinds()[before:] == ["opened"]


ENDS: Sequence[str] = ("crash", "canceled", "failed", "skipped", "completed", "none")


@given(
    ends=st.lists(st.tuples(st.sampled_from(ENDS), st.integers(1, 150), st.sets(st.integers(0, 1))), max_size=60),
)
def test_whatever_runs_do_an_incident_is_opened_at_most_once_and_is_over_exactly_once(
    ends: list[tuple[str, int, set[int]]],
) -> None:
    watched = Watched(channels=2, overdue_at=lambda last: last + 3 * HOUR)
    for number, (end, minutes, broken) in enumerate(ends):
        watched.broken = broken
        at = watched.now + minutes * MINUTE
        seen = {
            "crash": [crashed(number, at=at)],
            "canceled": [FinishedRun(f"run-{number}", at, canceled=True)],
            "none": [],
        }.get(end) or (
            [run(number, at=at, **{end: "acp_sessions"})] if end in ("failed", "skipped", "completed") else []
        )
        watched.tick(*seen, after=minutes * MINUTE)
    watched.broken = set()
    watched.tick(run(len(ends), at=watched.now, completed="acp_sessions"))
    watched.tick()

    for channel in (0, 1):
        for key in ("run", "acp_sessions", "no_runs"):
            kinds = [message.kind for _, message in watched.sent if (message.key, message.channel) == (key, channel)]
            alternating = [kind for kind in kinds if kind != "reminder"]
            assert alternating == ["opened", "recovered"] * (len(alternating) // 2)
            assert kinds[:1] in ([], ["opened"])
    assert not any(True for _ in due_notifications(watched.state, now=watched.now, cooldown=HOUR))


@given(ends=st.lists(st.booleans(), max_size=200))
def test_every_channel_is_notified_of_a_failure_at_once_unless_it_flaps(ends: list[bool]) -> None:
    watched = Watched()
    first = None
    for number, well in enumerate(ends):
        sent = watched.tick(run(number, at=watched.now, completed=STOCK) if well else crashed(number, at=watched.now))
        if not well and first is None:
            first = sent
    assert first in (None, ["opened run"])


@pytest.mark.parametrize(
    ("seen", "sentence"),
    [
        ([crashed(7)], "shop run run-7 failed: the disk is full (first seen 2026-03-01 12:00 UTC, once)"),
        (
            [run(7, failed=STOCK)],
            f"shop run run-7 failed: {STOCK}: the disk is full (first seen 2026-03-01 12:00 UTC, once)",
        ),
        (
            [run(6, failed="acp_sessions"), run(7, failed="acp_sessions")],
            "shop: acp_sessions failed in run run-7: the disk is full (first seen 2026-03-01 12:00 UTC, 2 times)",
        ),
        (
            [run(6, completed="webhook_retries"), run(7, skipped="webhook_retries")],
            (
                "shop: webhook_retries used to run, and was skipped in run run-7: the disk is full "
                "(first seen 2026-03-01 12:00 UTC, once)"
            ),
        ),
    ],
)
def test_the_sentence_says_what_where_why_since_when_and_how_often(seen: list[FinishedRun], sentence: str) -> None:
    watched = Watched()
    watched.tick(*seen)
    ((_, message),) = watched.sent

    alert = alert_of(message, job="shop", cause="the disk is full", url="https://dagster.example/runs/run-7")

    assert alert.sentence == sentence
    assert (alert.run_id, alert.kind, alert.first_seen) == ("run-7", "opened", "2026-03-01T12:00:00.000Z")


def test_a_reminder_says_that_it_is_still_so_and_a_recovery_since_when_it_is_well() -> None:
    watched = Watched()
    watched.tick(crashed(1))
    watched.tick(crashed(2), after=HOUR)
    watched.tick(run(3, at=watched.now, completed=STOCK))
    _, reminder, recovered = [alert_of(message, job="shop") for _, message in watched.sent]

    assert reminder.sentence == "Still: shop run run-2 failed (first seen 2026-03-01 12:00 UTC, 2 times)"
    assert recovered.sentence == (
        "shop works again since run run-3 at 2026-03-01 13:01 UTC (first seen 2026-03-01 12:00 UTC, 2 times)"
    )
    assert (reminder.title, recovered.title) == ("shop: still: run failed", "shop: run works again")


def test_the_sentence_of_missing_runs_says_since_when_and_what_to_check() -> None:
    watched = Watched(overdue_at=lambda last: last + HOUR)
    watched.tick(after=HOUR)
    watched.tick(run(1, at=watched.now, completed=STOCK))
    opened, recovered = [alert_of(message, job="shop") for _, message in watched.sent]

    assert opened.sentence.startswith("shop: no run has finished since 2026-03-01 12:00 UTC. Check that its schedule")
    assert recovered.sentence == (
        "shop runs again: run run-1 finished at 2026-03-01 13:00 UTC; before, none had since 2026-03-01 12:00 UTC"
    )


def test_an_incident_that_changes_its_kind_keeps_since_when() -> None:
    state = MonitorState(last_finished_at=NOON)
    runs = [run(1, completed=STOCK), run(2, failed=STOCK), run(3, at=NOON + HOUR, skipped=STOCK)]

    state = apply_runs(state, runs, now=NOON + HOUR, cooldown=HOUR)

    assert state.incidents[STOCK].kind_since == NOON + HOUR
