"""A drain that is interrupted ends in order, wherever it is: what was sent is recorded, what was not is released."""

import itertools
import threading
from contextlib import suppress
from dataclasses import replace

import pytest

from mika_ops.clock import Clock
from mika_ops.deadline import never_out_of_time
from mika_ops.email.outbox import outbox as outbox_module
from mika_ops.ports.email import Envelope, SendResult
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents
from mika_ops_testing.builders import documents_of, email, put
from mika_ops_testing.fakes import Provider, outbox_of
from mika_ops_tests.interrupting import InterruptedAt, interrupt

QUEUED = 20


def sent_and_leased(database: Database) -> tuple[set[str], set[str]]:
    """Return the ids of the emails that are recorded as sent, and of those that somebody holds."""
    documents = documents_of(database, "ops")
    return (
        {id_ for id_, document in documents.items() if document["status"] == "sent"},
        {id_ for id_, document in documents.items() if "leaseKey" in document["record"]},
    )


def test_wherever_a_drain_is_interrupted_what_was_sent_is_recorded_and_no_lease_is_held(
    database: Database, clock: Clock
) -> None:
    put(database, "ops", *(email(f"email_{number:04}") for number in range(1000)))
    provider = Provider()
    outbox = replace(outbox_of(database, provider), concurrency=2)
    for number in itertools.count(1):
        with suppress(KeyboardInterrupt), InterruptedAt(number) as interruption:
            outbox.drain(clock, limit=4, out_of_time=never_out_of_time)
        assert sent_and_leased(database) == (set(provider.ids), set())
        if not interruption.came:
            break
    assert len(provider.ids) == len(set(provider.ids)) > 4


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_drain_that_is_interrupted_while_it_sends_starts_no_other_email(
    concurrency: int, database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "GRACE_SECONDS", 0.1)
    put(database, "ops", *(email(f"email_{number:02}") for number in range(QUEUED)))
    together = threading.Barrier(concurrency, action=interrupt, timeout=30)
    stopped = threading.Event()

    class Slow(Provider):
        def send(self, envelope: Envelope) -> SendResult:
            together.wait()
            assert stopped.wait(timeout=30)
            return super().send(envelope)

        def abandon(self) -> None:
            stopped.set()

    provider = Slow()
    outbox = replace(outbox_of(database, provider), concurrency=concurrency)
    with pytest.raises(KeyboardInterrupt):
        outbox.drain(clock, limit=None, out_of_time=never_out_of_time)
    assert sent_and_leased(database) == (set(provider.ids), set())
    assert len(provider.ids) == concurrency


def test_a_drain_that_is_interrupted_while_it_records_records_all_the_same(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(database, "ops", *(email(f"email_{number:02}") for number in range(QUEUED)))
    change, interruptions = Documents.change, iter([interrupt])

    def interrupted(self: Documents, ids: list[str], *args: object, wait: bool = False, **kwargs: object) -> object:
        # A record waits for its documents; a lease takes only what is free.
        if wait:
            next(interruptions, lambda: None)()
        return change(self, ids, *args, wait=wait, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Documents, "change", interrupted)
    provider = Provider()
    with pytest.raises(KeyboardInterrupt):
        outbox_of(database, provider).drain(clock, limit=None, out_of_time=never_out_of_time)
    assert sent_and_leased(database) == (set(provider.ids), set())
