"""A drain has Python switch between threads often, and leaves the interpreter as it found it."""

import sys

from mika_ops.clock import Clock
from mika_ops.email.outbox.switch_interval import SWITCH_INTERVAL_SECONDS, SwitchInterval
from mika_ops.store.database import Database
from mika_ops_testing.builders import email, put
from mika_ops_testing.fakes import Provider
from mika_ops_tests.email.outbox.draining import drain


def test_a_drain_leaves_the_interpreter_as_it_found_it(database: Database, clock: Clock) -> None:
    put(database, "ops", email())
    usual = sys.getswitchinterval()
    during: list[float] = []
    drain(database, Provider(lambda _envelope: during.append(sys.getswitchinterval())), clock)
    assert during != [usual]
    assert sys.getswitchinterval() == usual


def test_of_drains_that_overlap_the_last_to_end_restores_the_interval() -> None:
    usual = sys.getswitchinterval()
    interval = SwitchInterval()
    first, second = interval.shortened(), interval.shortened()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert sys.getswitchinterval() == SWITCH_INTERVAL_SECONDS
    second.__exit__(None, None, None)
    assert sys.getswitchinterval() == usual
