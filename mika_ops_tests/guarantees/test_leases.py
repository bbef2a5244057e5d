"""Leases under any interleaving: two workers, crashes, and a clock that jumps forwards and backwards.

A model of the outbox runs beside the rules: it knows what the provider took and who holds what.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from mika_ops.documents.document import Document, record_of
from mika_ops.rules import email
from mika_ops.timestamps import Timestamp, to_timestamp
from mika_ops_testing import builders

LEASE = timedelta(minutes=5)
LEASE_FIELDS = {"leaseKey", "leaseExpiresAt", "leasedAt"}
ATTEMPTS = 3


@dataclass
class Held:
    """An email as a worker has it: leased under a key, and whether the provider took it."""

    id: str
    key: str
    before: Document
    taken: bool = False


@dataclass
class EmailModel:
    """What the model knows of one email."""

    sent: bool = False
    attempts_given_back: int = 0
    keys: set[str] = field(default_factory=set)


class Leases(RuleBasedStateMachine):
    """The states of three emails, by the rules alone."""

    held = Bundle("held")

    @initialize()
    def start(self) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)
        names = ("email_1", "email_2", "email_3")
        self.documents: dict[str, Document] = {name: builders.email(name, maxAttempts=ATTEMPTS) for name in names}
        self.models = {name: EmailModel() for name in names}
        self.leases = 0

    @property
    def stamp(self) -> Timestamp:
        return to_timestamp(self.now)

    def record(self, id_: str) -> Document:
        return record_of(self.documents[id_])

    @rule(minutes=st.sampled_from([0, 1, 4, 5, 6, 20, 60, -1, -6, -60]))
    def the_clock_jumps(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes, milliseconds=1)

    @rule(target=held, name=st.sampled_from(["email_1", "email_2", "email_3"]))
    def a_worker_leases(self, name: str) -> Any:
        before = self.documents[name]
        if not email.DUE.at(self.stamp).takes(before):
            return Held(name, "none", before)
        assert not self.models[name].sent
        holder = record_of(before).get("leaseKey")
        assert holder is None or not email.holds_lease(before, key=holder, now=self.stamp)
        self.leases += 1
        key = f"key_{self.leases}"
        self.documents[name] = email.leased(before, key=key, now=self.stamp, lease=LEASE)
        assert self.record(name)["attemptCount"] == record_of(before)["attemptCount"] + 1
        return Held(name, key, before)

    @rule(one=held)
    def the_provider_takes_it(self, one: Held) -> None:
        one.taken = one.key != "none"

    @rule(one=consumes(held))
    def a_worker_crashes(self, one: Held) -> None:
        """Lose the lease without a record."""

    @rule(one=consumes(held))
    def a_worker_records(self, one: Held) -> None:
        document = self.documents[one.id]
        holds = email.holds_lease(document, key=one.key, now=self.stamp)
        if one.taken:
            if holds or not email.is_sent(document):
                self.documents[one.id] = email.sent(document, now=self.stamp, provider_message_id="x")
            self.models[one.id].sent = True
        elif holds:
            self.documents[one.id] = email.failed(
                document, error="refused", now=self.stamp, retry_after=email.retry_delay(1)
            )

    @rule(one=consumes(held))
    def a_worker_gives_back(self, one: Held) -> None:
        document = self.documents[one.id]
        if not one.taken and email.holds_lease(document, key=one.key, now=self.stamp):
            self.documents[one.id] = email.given_back(document, before=one.before, now=self.stamp)
            assert self.record(one.id)["attemptCount"] == record_of(one.before)["attemptCount"]

    @rule()
    def the_stuck_are_reclaimed(self) -> None:
        for id_, document in self.documents.items():
            if email.STUCK.at(self.stamp).takes(document):
                assert record_of(document)["attemptCount"] >= ATTEMPTS
                assert record_of(document)["leaseExpiresAt"] <= self.stamp
                self.documents[id_] = email.reclaimed(document, now=self.stamp)
                assert self.record(id_)["lastError"]

    @invariant()
    def an_email_that_is_recorded_as_sent_stays_so(self) -> None:
        for id_, model in getattr(self, "models", {}).items():
            if model.sent:
                assert self.documents[id_]["status"] == "sent"
                assert not email.DUE.at("2999-01-01T00:00:00.000Z").takes(self.documents[id_])

    @invariant()
    def no_email_is_tried_more_often_than_it_may(self) -> None:
        for id_ in getattr(self, "documents", {}):
            assert 0 <= self.record(id_)["attemptCount"] <= ATTEMPTS

    @invariant()
    def a_lease_is_whole_or_not_there(self) -> None:
        for id_ in getattr(self, "documents", {}):
            there = LEASE_FIELDS & self.record(id_).keys()
            assert there in (set(), LEASE_FIELDS)
            assert not there or self.documents[id_]["status"] in ("queued", "failed")

    @invariant()
    def what_is_over_is_never_due_again(self) -> None:
        for id_, document in getattr(self, "documents", {}).items():
            if document["status"] == "failed" and self.record(id_)["attemptCount"] >= ATTEMPTS:
                assert "nextAttemptAt" not in self.record(id_) or LEASE_FIELDS & self.record(id_).keys()
                assert not email.DUE.at("2999-01-01T00:00:00.000Z").takes(document)

    @invariant()
    def what_is_copied_up_is_what_the_record_says(self) -> None:
        for document in getattr(self, "documents", {}).values():
            for name in email.MIRRORED:
                assert document.get(name) == record_of(document).get(name)

    @invariant()
    def nothing_is_lost(self) -> None:
        """An email is sent, over, waiting for its time, or held until a lease lapses: never none of these."""
        far = "2999-01-01T00:00:00.000Z"
        for document in getattr(self, "documents", {}).values():
            over = document["status"] == "sent" or email.is_exhausted(document)
            assert over or email.DUE.at(far).takes(document) or email.STUCK.at(far).takes(document)


Leases.TestCase.settings = settings(max_examples=150, stateful_step_count=40, derandomize=True, database=None)
TestLeases = Leases.TestCase
