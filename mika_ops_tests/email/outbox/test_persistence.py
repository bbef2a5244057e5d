"""While the storage cannot be reached, what was sent is recorded and what was not is released as soon as it is back."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from mika_ops.clock import Clock
from mika_ops.deadline import never_out_of_time
from mika_ops.documents.repository import Changes
from mika_ops.email.outbox.attempts import Leased
from mika_ops.email.outbox.persistence import LONGEST_WAIT_SECONDS, LeasePersistence
from mika_ops.ports.email import DrainedOutbox, SenderUnavailable
from mika_ops.rules import email as rules
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents
from mika_ops.store.errors import DatabaseError, DatabaseUnreachable
from mika_ops_testing.builders import email, get, put
from mika_ops_testing.fakes import Provider, outbox_of

LEASE = timedelta(minutes=5)


@dataclass
class Outage:
    """A database that cannot be reached for so many changes that wait: records and releases. Leases do not wait."""

    left: int
    slept: list[float] = field(default_factory=list)

    def begin(self, monkeypatch: pytest.MonkeyPatch, *, answer_lost: bool = False) -> None:
        """Have the changes fail before anything is written or, ``answer_lost``, after."""
        change = Documents.change

        def maybe(documents: Documents, *args: Any, wait: bool = False, **kwargs: Any) -> Changes[Any]:
            if wait and self.left:
                self.left -= 1
                if answer_lost:
                    change(documents, *args, wait=wait, **kwargs)
                raise DatabaseUnreachable("the shop's database: connection refused")
            return change(documents, *args, wait=wait, **kwargs)

        monkeypatch.setattr(Documents, "change", maybe)


def drained(database: Database, provider: Provider, clock: Clock, outage: Outage) -> DrainedOutbox:
    outbox = replace(outbox_of(database, provider), sleep=outage.slept.append, lease=LEASE)
    return outbox.drain(clock, limit=None, out_of_time=never_out_of_time)


@pytest.mark.parametrize("answer_lost", [False, True])
def test_a_sent_email_is_recorded_once_the_database_is_back(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch, answer_lost: bool
) -> None:
    put(database, "ops", email())
    outage, provider = Outage(12), Provider()
    outage.begin(monkeypatch, answer_lost=answer_lost)
    result = drained(database, provider, clock, outage)

    assert (result.sent, result.error, provider.ids) == (1, None, ["email_1"])
    assert len(outage.slept) == 12
    document = get(database, "ops", "email_1")
    assert (document["status"], "leaseKey" in document["record"]) == ("sent", False)


def test_an_email_that_was_not_sent_is_released_once_the_database_is_back(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(database, "ops", email())
    outage = Outage(12)
    outage.begin(monkeypatch)

    def unreachable(_envelope: object) -> None:
        raise SenderUnavailable("no mail server")

    result = drained(database, Provider(unreachable), clock, outage)

    assert result.released == 1
    document = get(database, "ops", "email_1")
    assert (document["record"]["attemptCount"], "leaseKey" in document["record"]) == (0, False)


def test_what_cannot_be_recorded_while_the_lease_lasts_is_named(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(database, "ops", email())
    outage = Outage(10_000)
    outage.begin(monkeypatch)
    result = drained(database, Provider(), clock, outage)

    assert result.error is not None
    assert result.error.startswith("the result of email email_1 could not be recorded, so it may be sent again: ")
    assert sum(outage.slept) <= LEASE.total_seconds()
    assert sum(outage.slept) > LEASE.total_seconds() - 2 * LONGEST_WAIT_SECONDS


def persistence(clock: Clock, slept: list[float], aborted: Callable[[], bool] = lambda: False) -> LeasePersistence:
    return LeasePersistence(clock, slept.append, aborted)


def leased_email(clock: Clock) -> Leased:
    before = email()
    return Leased("email_1", before, rules.leased(before, key="k", now=clock.stamp(), lease=LEASE))


def test_a_run_that_is_out_of_grace_gives_up(clock: Clock) -> None:
    slept: list[float] = []

    def write() -> None:
        raise DatabaseUnreachable("gone")

    with pytest.raises(DatabaseUnreachable):
        persistence(clock, slept, lambda: len(slept) == 3).write(write, [leased_email(clock)])
    assert len(slept) == 3


def test_another_error_is_raised_at_once(clock: Clock) -> None:
    slept: list[float] = []

    def write() -> None:
        raise DatabaseError("the disk is full")

    with pytest.raises(DatabaseError, match="disk is full"):
        persistence(clock, slept).write(write, [leased_email(clock)])
    assert slept == []


@pytest.mark.parametrize("kind", ["postgres"], indirect=True)
def test_a_lease_whose_answer_was_lost_is_this_workers(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(database, "ops", email())
    provider = Provider()
    write = Database._write_once
    lost: list[Any] = []

    def lose_first(self: Database, *args: Any, **kwargs: Any) -> Any:
        done = write(self, *args, **kwargs)
        if not lost:
            lost.append(done)
            from psycopg.errors import AdminShutdown
            from sqlalchemy.exc import OperationalError

            raise OperationalError(None, None, AdminShutdown("terminating connection"))
        return done

    monkeypatch.setattr(Database, "_write_once", lose_first)
    result = drained(database, provider, clock, Outage(0))

    assert lost
    assert (result.sent, provider.ids) == (1, ["email_1"])
    assert get(database, "ops", "email_1")["record"]["attemptCount"] == 1
