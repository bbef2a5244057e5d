"""How a run's time is shared: half for the first subtasks that need it, an equal part of the other half for each."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mika_ops.subtasks.registry import SUBTASK_NAMES
from mika_ops.subtasks.time_budget import TimeBudget

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Time:
    """A time that is set by hand."""

    elapsed: float = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.elapsed)


def budget(time: Time, *subtasks: str, seconds: float = 40) -> TimeBudget:
    return TimeBudget(timedelta(seconds=seconds), START, subtasks, time.now)


def ends_at(subtask: str, *subtasks: str, seconds: float = 40) -> float:
    """Return the first whole second at which the subtask's time is spent."""
    time = Time()
    out_of_time = budget(time, *subtasks, seconds=seconds).out_of_time_for(subtask)
    while not out_of_time():
        time.elapsed += 1
    return time.elapsed


def test_a_lone_subtask_has_all_of_the_time() -> None:
    assert ends_at("only", "only") == 40


def test_the_first_leaves_a_slice_of_half_the_time_to_each_that_follows() -> None:
    assert ends_at("first", "first", "second") == 30
    assert ends_at("first", "first", "second", "third", "fourth") == 25


def test_the_last_may_use_all_that_is_left() -> None:
    assert ends_at("second", "first", "second") == 40


def test_what_a_subtask_leaves_over_goes_to_the_next() -> None:
    time = Time(elapsed=1)
    second = budget(time, "first", "second", "third").out_of_time_for("second")
    time.elapsed = 33
    assert not second()
    time.elapsed = 34
    assert second()


def test_time_is_spent_at_its_end_exactly() -> None:
    time = Time()
    out_of_time = budget(time, "only").out_of_time_for("only")
    time.elapsed = 39.999
    assert not out_of_time()
    time.elapsed = 40
    assert out_of_time()


@given(seconds=st.floats(1, 3600))
def test_every_subtask_of_a_run_has_time_of_its_own_after_the_one_before(seconds: float) -> None:
    time = Time()
    shared = budget(time, *SUBTASK_NAMES, seconds=seconds)
    before: float = 0
    for name in SUBTASK_NAMES:
        time.elapsed = before
        assert not shared.out_of_time_for(name)(), "the one before used up its time"
        before = seconds - seconds / 2 / len(SUBTASK_NAMES) * (len(SUBTASK_NAMES) - 1 - SUBTASK_NAMES.index(name))
    time.elapsed = seconds
    assert all(shared.out_of_time_for(name)() for name in SUBTASK_NAMES)


def test_a_run_that_started_late_is_spent_from_the_beginning() -> None:
    assert budget(Time(elapsed=100), "first", "second").out_of_time_for("first")()


def test_a_subtask_that_is_not_of_the_run_is_refused() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        budget(Time(), "first").out_of_time_for("unheard_of")
