"""The conformance suite of ``EmailOutbox``."""

from collections.abc import Callable
from typing import Any

import pytest

from mika_ops.clock import Clock
from mika_ops.deadline import never_out_of_time
from mika_ops.documents.sharding import Shard
from mika_ops.ports.email import DrainedOutbox, EmailOutbox, ShardableOutbox
from mika_ops.timestamps import to_datetime
from mika_ops_testing.builders import AFTER, NOW, email
from mika_ops_testing.conformance.expectations import expect_equal, expect_port, expect_type, required

MakeOutbox = Callable[..., EmailOutbox]
"""Takes emails and returns an outbox that holds exactly these, and whose provider accepts each."""


class EmailOutboxConformance:
    """Holds an outbox of the host's own against its port. A host defines the fixture ``make_outbox``."""

    @pytest.fixture
    def make_outbox(self) -> Any:
        """Return a function that takes emails and returns the outbox."""
        required("make_outbox", "a function that takes email documents and returns your outbox with only these")

    def test_it_has_the_methods_of_the_port(self, make_outbox: MakeOutbox) -> None:
        """The port: `drain` exists."""
        expect_port(make_outbox(), EmailOutbox)

    def test_every_email_that_is_due_is_sent_once(self, make_outbox: MakeOutbox) -> None:
        """`drain`: sends the due emails until none is due."""
        outbox = make_outbox(*(email(f"email_{number}") for number in range(20)))
        done = drain(outbox)
        expect_equal((done.scanned, done.sent, done.has_more), (20, 20, False), "send every email that is due")
        expect_equal(drain(outbox).sent, 0, "record an email as sent, so that no later drain sends it again")

    def test_an_email_that_is_not_due_is_not_sent(self, make_outbox: MakeOutbox) -> None:
        """`drain`: what is due is judged at `clock.scheduled_at`."""
        not_due = [email("a", status="sent"), email("b", nextAttemptAt=AFTER), email("c", attemptCount=5)]
        done = drain(make_outbox(*not_due))
        expect_equal((done.scanned, done.sent), (0, 0), "send only what mika_ops.rules.email says is due")

    @pytest.mark.parametrize("case_limit", [0, 1, 2])
    def test_a_limit_is_obeyed(self, case_limit: int, make_outbox: MakeOutbox) -> None:
        """`drain`: at most `limit` emails; `has_more` says that others are due."""
        outbox = make_outbox(*(email(id_) for id_ in "abc"))
        done = drain(outbox, limit=case_limit)
        expect_equal((done.sent, done.has_more), (case_limit, True), "send at most `limit` emails, and report has_more")
        expect_equal(drain(outbox).sent, 3 - case_limit, "leave the others for the next drain")

    def test_a_drain_without_time_sends_nothing(self, make_outbox: MakeOutbox) -> None:
        """`out_of_time`: asked before each batch; `has_more` says that some are left."""
        outbox = make_outbox(email("a"), email("b"))
        done = drain(outbox, out_of_time=lambda: True)
        expect_equal((done.sent, done.has_more), (0, True), "ask out_of_time() before each batch, and report has_more")
        expect_equal(drain(outbox).sent, 2, "the next drain must find what was left, without a lease on it")

    def test_a_malformed_email_is_named_and_does_not_stop_the_others(self, make_outbox: MakeOutbox) -> None:
        """`DrainedOutbox.malformed_ids`: the first that could not be read; the others are sent."""
        done = drain(make_outbox(email("a"), email("b", attemptCount="none"), email("c")))
        found = done.sent, done.malformed, list(done.malformed_ids)
        expect_equal(found, (2, 1, ["b"]), "count and name an email that cannot be read, and send the others")

    def test_the_shards_of_an_outbox_send_every_email_once(self, make_outbox: MakeOutbox) -> None:
        """`ShardableOutbox.for_shard`: several workers drain it, one shard each, and share the work."""
        outbox = make_outbox(*(email(f"email_{number}") for number in range(20)))
        if not isinstance(outbox, ShardableOutbox):
            pytest.skip("to include this test, give your outbox the optional method for_shard(shard)")
        sent = [drain(outbox.for_shard(Shard(index, 2))).sent for index in range(2)]
        expect_equal(sum(sent), 20, "all shards together must send every email, each once")
        expect_equal(drain(outbox).sent, 0, "leave nothing that no shard sends")


def drain(
    outbox: EmailOutbox, *, limit: int | None = None, out_of_time: Callable[[], bool] = never_out_of_time
) -> DrainedOutbox:
    """Drain the outbox, and check the type of the result."""
    __tracebackhide__ = True
    done: Any = outbox.drain(Clock.fixed(to_datetime(NOW)), limit=limit, out_of_time=out_of_time)
    expect_type(done, DrainedOutbox, "drain must return mika_ops.ports.DrainedOutbox")
    assert isinstance(done, DrainedOutbox)
    return done
