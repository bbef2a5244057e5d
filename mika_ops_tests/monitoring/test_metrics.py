"""The metrics of a run, by the same names for every subtask, and what becomes of them over an hour or a day."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mika_ops.monitoring.metrics import SUMMED, aggregate_metrics, had_work, subtask_metrics
from mika_ops.monitoring.snapshot import ShopSnapshot
from mika_ops.ports.backlog import Backlog, Due
from mika_ops.subtasks.email_outbox import EmailOutboxResult
from mika_ops.subtasks.outcome import Completed, Failed, Outcome, RecordedResult, Skipped, SweptResult
from mika_ops.subtasks.registry import SUBTASKS
from mika_ops.subtasks.subtask import Subtask
from mika_ops_testing.builders import EARLIER, NOW

BY_NAME = {subtask.name: subtask for subtask in SUBTASKS}


def test_a_subtask_that_did_something_has_all_metrics() -> None:
    snapshot = ShopSnapshot(NOW, Backlog({"email_outbox": Due(7, EARLIER)}), {"email_outbox": Due(2)})
    result = EmailOutboxResult(scanned=32, sent=30, failed=2, has_more=True)
    outcome = Completed(result=result, duration_ms=500)

    assert subtask_metrics(BY_NAME["email_outbox"], outcome, snapshot) == {
        "done": 30,
        "failed": 2,
        "failed_runs": 0,
        "duration_ms": 500,
        "done_per_second": 60.0,
        "due": 7,
        "oldest_age_seconds": 259_200,
        "failed_permanently": 2,
    }


def test_a_subtask_that_is_skipped_still_shows_what_waits_for_it() -> None:
    snapshot = ShopSnapshot(NOW, Backlog({"acp_sessions": Due(3)}))

    metrics = subtask_metrics(BY_NAME["acp_sessions"], Skipped(reason="?"), snapshot)

    assert metrics == {
        "done": 0,
        "failed": 0,
        "failed_runs": 0,
        "duration_ms": 0,
        "due": 3,
        "oldest_age_seconds": 0,
    }


@pytest.mark.parametrize("subtask", SUBTASKS, ids=lambda subtask: subtask.name)
def test_what_a_subtask_did_is_the_sum_of_its_own_counts(subtask: Subtask) -> None:
    counts = {"scanned": 99, **dict.fromkeys(subtask.done, 4)}
    outcome = Completed(result=RecordedResult(recorded_counts=counts), duration_ms=1)

    assert subtask_metrics(subtask, outcome, None)["done"] == 4 * len(subtask.done)


@pytest.mark.parametrize(
    ("outcome", "did"),
    [
        (Completed(result=SweptResult(), duration_ms=12), False),
        (Completed(result=SweptResult(scanned=1), duration_ms=12), True),
        (Completed(result=SweptResult(has_more=True), duration_ms=12), True),
        (Failed(error="?", duration_ms=12), True),
        (Skipped(reason="?"), False),
    ],
)
def test_a_subtask_did_something_where_it_counted_anything_or_failed(outcome: Outcome, did: bool) -> None:
    assert had_work(outcome) is did


def test_over_an_hour_what_was_done_adds_up_and_of_the_rest_the_highest_counts() -> None:
    points = [
        {"email_outbox.done": 3, "email_outbox.due": 9, "acp_sessions.failed_runs": 1},
        {"email_outbox.done": 4, "email_outbox.due": 2, "email_outbox.duration_ms": 70},
    ]

    assert aggregate_metrics(points) == {
        "email_outbox.done": 7,
        "email_outbox.due": 9,
        "email_outbox.duration_ms": 70,
        "acp_sessions.failed_runs": 1,
    }


METRICS = st.dictionaries(st.sampled_from([*sorted(SUMMED), "due", "duration_ms"]), st.integers(0, 1_000))


@given(st.lists(st.lists(METRICS, max_size=4), max_size=4))
def test_hours_added_up_to_a_day_come_to_the_same_as_the_runs_of_the_day(hours: Any) -> None:
    assert aggregate_metrics(map(aggregate_metrics, hours)) == aggregate_metrics(run for hour in hours for run in hour)
