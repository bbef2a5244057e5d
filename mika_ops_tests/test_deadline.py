"""Deadlines: how much time is left, by whichever timer, and what ends work that would not end by itself."""

import threading
from datetime import timedelta

import pytest

from mika_ops.deadline import Deadline, run_within
from mika_ops.timestamps import to_datetime
from mika_ops_testing.builders import NOW

NEVER = 3600.0


class Timer:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_deadline_has_passed_at_its_moment_and_not_before() -> None:
    timer = Timer()
    deadline = Deadline.within(5, timer)
    timer.now = 104.5
    assert (deadline.has_passed(), deadline.seconds_left(), deadline.timeout()) == (False, 0.5, 0.5)
    timer.now = 105.0
    assert (deadline.has_passed(), deadline.seconds_left()) == (True, 0.0)
    with pytest.raises(TimeoutError):
        deadline.timeout()


def test_a_deadline_by_the_time_of_day_passes_with_that_time() -> None:
    now = [to_datetime(NOW)]
    deadline = Deadline.at_time(now[0] + timedelta(seconds=2), lambda: now[0])
    now[0] += timedelta(seconds=1.999999)
    assert not deadline.has_passed()
    now[0] += timedelta(microseconds=1)
    assert deadline.has_passed()


def test_a_step_gets_a_shorter_deadline_and_never_a_longer_one() -> None:
    deadline = Deadline.within(10, Timer())
    assert deadline.or_within(3).seconds_left() == 3
    assert deadline.or_within(30).seconds_left() == 10
    assert deadline.half().seconds_left() == 5


def test_what_outlasts_an_enforced_deadline_is_cut() -> None:
    cut = threading.Event()
    with Deadline.within(0.01).enforce(cut.set):
        assert cut.wait(timeout=30)


def test_what_ends_in_time_is_not_cut() -> None:
    cut = threading.Event()
    threads = threading.active_count()
    with Deadline.within(NEVER).enforce(cut.set):
        pass
    assert not cut.is_set()
    assert threading.active_count() == threads


def test_work_that_ends_in_time_returns_its_result() -> None:
    assert run_within(30, lambda: "done") == "done"


def test_work_that_returns_nothing_has_ended_all_the_same() -> None:
    ended: list[str] = []
    run_within(30, lambda: ended.append("done"))
    assert ended == ["done"]


def test_what_the_work_raises_is_raised() -> None:
    def fail() -> None:
        raise LookupError("no such channel")

    with pytest.raises(LookupError, match="no such channel"):
        run_within(30, fail)


def test_work_that_takes_longer_is_abandoned() -> None:
    end = threading.Event()
    with pytest.raises(TimeoutError):
        run_within(0.01, lambda: end.wait(timeout=30))
    end.set()
