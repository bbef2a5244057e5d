"""Drains, as the tests of the outbox need them."""

import threading

from mika_ops.clock import Clock
from mika_ops.deadline import never_out_of_time
from mika_ops.ports.email import DrainedOutbox
from mika_ops.store.database import Database
from mika_ops_testing.fakes import Provider, outbox_of


def drain(database: Database, provider: Provider, clock: Clock, limit: int | None = None) -> DrainedOutbox:
    return outbox_of(database, provider).drain(clock, limit=limit, out_of_time=never_out_of_time)


def wait_at(barrier: threading.Barrier) -> None:
    """Wait until as many emails are being sent as the barrier has places."""
    barrier.wait()
