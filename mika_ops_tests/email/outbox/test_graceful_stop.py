"""Work that is run until an interruption ends in order, whenever whoever waits for it is interrupted."""

import itertools
import signal
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from mika_ops.email.outbox import graceful_stop as module
from mika_ops.email.outbox.graceful_stop import run_until_interrupted
from mika_ops_testing.waiting import wait_until
from mika_ops_tests.interrupting import InterruptedAt, interrupt

NEVER = 3600.0


@dataclass
class Work:
    """Interrupts its caller so many times, works until it is asked to stop, and notes all that happens."""

    interruptions: int = 0
    heeds: str = "stop"
    seen: list[str] = field(default_factory=list)

    def do(self) -> None:
        self.note("begun")
        for already in range(self.interruptions):
            interrupt()
            self.wait_for(("stop", "abort", "left")[already])
        if self.interruptions:
            self.wait_for(self.heeds)
        self.note("ended")

    def note(self, what: str) -> None:
        # A list needs no lock, which an interruption could leave locked.
        self.seen.append(what)

    def wait_for(self, what: str) -> None:
        wait_until(lambda: what in self.seen, what=what)

    def done(self, *, grace_seconds: float = NEVER) -> None:
        run_until_interrupted(
            self.do,
            stop=lambda: self.note("stop"),
            abort=lambda: self.note("abort"),
            grace_seconds=grace_seconds,
        )


def test_work_that_nobody_interrupts_is_neither_stopped_nor_aborted() -> None:
    work = Work()
    work.done()
    assert work.seen == ["begun", "ended"]


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1)])
def test_what_the_work_raises_is_raised(error: BaseException) -> None:
    def fail() -> None:
        raise error

    work = Work()
    with pytest.raises(type(error)) as raised:
        run_until_interrupted(
            fail, stop=lambda: work.note("stop"), abort=lambda: work.note("abort"), grace_seconds=NEVER
        )
    assert raised.value is error
    assert work.seen == []


def test_an_interruption_asks_the_work_to_stop_and_passes_once_it_has_ended() -> None:
    work = Work(interruptions=1)
    with pytest.raises(KeyboardInterrupt):
        work.done()
    assert work.seen[:3] == ["begun", "stop", "ended"]


def test_an_interruption_is_heeded_whatever_thread_was_given_its_signal() -> None:
    work = Work()

    def interrupted_here() -> None:
        signal.raise_signal(signal.SIGINT)
        work.wait_for("stop")
        work.note("ended")

    with pytest.raises(KeyboardInterrupt):
        run_until_interrupted(interrupted_here, stop=lambda: work.note("stop"), abort=lambda: None, grace_seconds=NEVER)
    assert work.seen == ["stop", "ended"]


def test_work_that_does_not_stop_in_time_is_aborted() -> None:
    work = Work(interruptions=1, heeds="abort")
    with pytest.raises(KeyboardInterrupt):
        work.done(grace_seconds=0.01)
    assert work.seen == ["begun", "stop", "abort", "ended"]


def test_a_second_interruption_aborts_the_work_at_once() -> None:
    work = Work(interruptions=2, heeds="abort")
    with pytest.raises(KeyboardInterrupt):
        work.done()
    assert work.seen == ["begun", "stop", "abort", "ended"]


def test_a_third_interruption_is_not_held_up() -> None:
    work = Work(interruptions=3, heeds="left")
    with pytest.raises(KeyboardInterrupt):
        work.done()
    assert work.seen == ["begun", "stop", "abort"]
    work.note("left")
    work.wait_for("ended")


def test_wherever_it_is_interrupted_work_has_ended_or_never_begins() -> None:
    begun = 0
    for number in itertools.count(1):
        work = Work()
        with suppress(KeyboardInterrupt), InterruptedAt(number) as interruption:
            work.done()
        seen = list(work.seen)
        assert seen in ([], ["begun", "ended"]) or set(seen) == {"begun", "ended", "stop", "abort"}
        begun += "begun" in seen
        if not interruption.came:
            break
    assert 1 < begun < number


def test_where_no_thread_can_be_started_the_work_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(module, "start_new_thread", full)
    work = Work()
    with pytest.raises(RuntimeError, match="can't start new thread"):
        work.done()
    assert work.seen == []
