"""A shop that keeps everything in memory: a complete host to copy from.

Load it with ``dagster dev -m examples.own_host`` or ``dagster dev -f examples/own_host.py``, and launch the job
``mika_maintenance``: every one of its nine subtasks finds something to do. Each run is a process of its own, which
imports this module anew and so starts with the same shop; a real host keeps its data outside, in a database or behind
an API, and each class here becomes a client of that.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import takewhile

from examples import own_host_data as data
from examples.own_host_documents import Documents
from mika_ops import EmailOverrides, Host, build_definitions, from_function, lazily
from mika_ops.clock import Clock, utc_now
from mika_ops.documents.document import ABSENT, Document, with_record
from mika_ops.documents.selection import Selection
from mika_ops.ports import (
    AcpSessionCleanup,
    AdminApi,
    Alert,
    AlertSink,
    Backlog,
    BacklogReader,
    Change,
    CleanedSessions,
    CustomerReservations,
    Due,
    Envelope,
    EphemeralPurge,
    OutOfTime,
    ReleasedReservations,
    ReplayedWebhook,
    ReservationRelease,
    SendResult,
    never_out_of_time,
)
from mika_ops.rules.acp_session import expired, is_expired, is_purgeable
from mika_ops.timestamps import Timestamp, to_timestamp


@dataclass
class Reservation:
    """A quantity of an item, reserved for a customer until a time."""

    item: str
    quantity: int
    expires_at: Timestamp
    customer_id: str | None = None
    released_at: Timestamp | None = None


@dataclass
class Stock:
    """The reserved quantity of each item, and the reservations by id. Fits ``StockRepository``."""

    reserved: dict[str, int]
    reservations: dict[str, Reservation]

    def release_customers(self, customer_ids: Sequence[str], *, now: Timestamp) -> Mapping[str, CustomerReservations]:
        return {customer_id: self._release_customer(customer_id, now) for customer_id in customer_ids}

    def _release_customer(self, customer_id: str, now: Timestamp) -> CustomerReservations:
        theirs = [id_ for id_, each in self.active() if each.customer_id == customer_id]
        orphans = self.orphans(theirs)
        return CustomerReservations(orphans=orphans) if orphans else CustomerReservations(self.release(theirs, now))

    def active(self) -> Iterable[tuple[str, Reservation]]:
        """Return the reservations that still hold stock: one that is released is never released again."""
        return [(id_, each) for id_, each in self.reservations.items() if each.released_at is None]

    def orphans(self, ids: Iterable[str]) -> tuple[str, ...]:
        """Return those of these reservations whose item does not exist."""
        return tuple(id_ for id_ in ids if self.reservations[id_].item not in self.reserved)

    def release(self, ids: Sequence[str], now: Timestamp) -> int:
        """Release the stock of these reservations; return how many there are."""
        for reservation in (self.reservations[id_] for id_ in ids):
            reservation.released_at = now
            self.reserved[reservation.item] -= reservation.quantity
        return len(ids)


def release_expired(*, due: Timestamp, now: Timestamp, out_of_time: OutOfTime) -> ReleasedReservations:
    """Release what nobody bought in time."""
    waiting = [id_ for id_, each in stock.active() if each.expires_at <= due]
    scanned = list(takewhile(lambda _id: not out_of_time(), waiting))
    orphans = stock.orphans(scanned)
    released = [id_ for id_ in scanned if id_ not in orphans]
    items = {stock.reservations[id_].item for id_ in released}
    return ReleasedReservations(
        scanned=len(scanned),
        released=stock.release(released, now),
        stock_items=len(items),
        orphans=orphans,
        has_more=len(scanned) < len(waiting),
    )


@dataclass
class Tokens:
    """Tokens by key, each with its subject and its end. Fits ``EphemeralRepository``."""

    rows: dict[str, tuple[str, Timestamp]]

    def purge_expired(self, *, due: Timestamp, out_of_time: OutOfTime) -> int:
        gone = [key for key, (_, expires_at) in self.rows.items() if expires_at <= due]
        return self._delete(takewhile(lambda _key: not out_of_time(), gone))

    def delete_tokens(self, subjects: Sequence[str]) -> Mapping[str, int]:
        return {
            subject: self._delete([key for key, (whose, _) in self.rows.items() if whose == subject])
            for subject in subjects
        }

    def _delete(self, keys: Iterable[str]) -> int:
        return len([self.rows.pop(key) for key in keys])


def purge_expired(*, due: Timestamp, out_of_time: OutOfTime) -> int:
    """Delete the expired tokens, and the expired rate limits, which this shop keeps apart from them."""
    gone = [key for key, expires_at in rate_limits.items() if expires_at <= due]
    for key in gone:
        del rate_limits[key]
    return len(gone) + tokens.purge_expired(due=due, out_of_time=out_of_time)


def due_sessions(at: Timestamp) -> list[str]:
    """Return the checkout sessions that are to be expired or deleted."""
    return [id_ for id_, each in acp_sessions.items() if is_purgeable(each, at) or is_expired(each, at)]


def clean_up_sessions(
    clock: Clock, *, limit: int | None, purge_after_hours: float, out_of_time: OutOfTime
) -> CleanedSessions:
    """Delete the checkout sessions whose purge time has passed, and expire abandoned ones."""
    at, expired_count, purged = clock.scheduled_at, 0, 0
    due = sorted(due_sessions(at), key=lambda id_: str(acp_sessions[id_]["updatedAt"]))
    for id_ in takewhile(lambda _id: not out_of_time(), due[:limit]):
        if is_purgeable(acp_sessions[id_], at):
            del acp_sessions[id_]
            purged += 1
        else:
            after = timedelta(hours=purge_after_hours)
            acp_sessions[id_] = expired(acp_sessions[id_], now=clock.stamp(), purge_after=after)
            expired_count += 1
    scanned = expired_count + purged
    return CleanedSessions(scanned, expired_count, purged, has_more=scanned < len(due))


@dataclass
class Mail:
    """A mail provider that keeps each email once for each idempotency key. Fits ``EmailSender``."""

    taken: dict[str, Envelope] = field(default_factory=dict)

    def send(self, envelope: Envelope) -> SendResult:
        # Called from several threads; ``setdefault`` is one step of a dict and needs no lock.
        self.taken.setdefault(envelope.idempotency_key or envelope.email_id, envelope)
        return SendResult(provider_message_id=f"mail-{envelope.email_id}")


@dataclass
class Site:
    """The site itself, which finishes a workflow when it replays its webhook. Fits ``AdminApi``.

    Idempotent: a call that is repeated with its key, as after a lost answer, returns the first answer.
    """

    releases: dict[str, ReleasedReservations] = field(default_factory=dict)
    replays: dict[str, ReplayedWebhook] = field(default_factory=dict)

    def release_expired_reservations(self, *, now: Timestamp, idempotency_key: str) -> ReleasedReservations:
        if idempotency_key not in self.releases:
            self.releases[idempotency_key] = release_expired(due=now, now=now, out_of_time=never_out_of_time)
        return self.releases[idempotency_key]

    def replay_webhook(self, webhook_id: str, *, idempotency_key: str) -> ReplayedWebhook:
        if idempotency_key not in self.replays:
            done = ops.change([f"workflow_of_{webhook_id}"], _finished).changed
            self.replays[idempotency_key] = ReplayedWebhook(bool(done), None if done else "there is no such workflow")
        return self.replays[idempotency_key]


def _finished(_id: str, workflow: Document) -> Change[None]:
    done = {"status": "completed", "nextAttemptAt": ABSENT}
    return Change(with_record(workflow, done, mirrored=("status", "nextAttemptAt"), now=to_timestamp(utc_now())), None)


@contextmanager
def site_at_work() -> Iterator[AdminApi]:
    """Yield the site's client. Open its resources before the ``yield``; close them after it, as the process ends."""
    yield Site()


def waiting(selections: Mapping[str, Selection], *, now: Timestamp) -> Backlog:
    """Count what is due, by subtask: the documents of each selection, and what this shop keeps beside them."""
    collections = {"ops": ops, "account": account, "ledger": ledger, "session": session}
    due = {}
    for subtask, selection in selections.items():
        found = collections[selection.collection].candidates(selection, after=None, limit=sys.maxsize)
        malformed = sum(candidate.malformed for candidate in found)
        due[subtask] = Due(len(found) - malformed, malformed=malformed)
    reservations = sum(each.expires_at <= now for _, each in stock.active())
    rows = [expires_at for _, expires_at in tokens.rows.values()] + list(rate_limits.values())
    beside = {
        "acp_sessions": len(due_sessions(now)),
        "stock_reservations": reservations,
        "ephemeral_records": sum(expires_at <= now for expires_at in rows),
    }
    return Backlog({**due, **{subtask: Due(count) for subtask, count in beside.items()}})


ops, account = Documents(*data.OPS), Documents(*data.ACCOUNT)
ledger, session = Documents(*data.LEDGER), Documents(*data.SESSION)
stock = Stock(
    reserved={"bowl": 3},
    reservations={
        "reservation_old": Reservation("bowl", 2, expires_at=data.JUST_NOW),
        "reservation_bo": Reservation("bowl", 1, expires_at=data.TOMORROW, customer_id="customer_bo"),
    },
)
tokens, rate_limits = Tokens(dict(data.TOKENS)), dict(data.RATE_LIMITS)
acp_sessions = dict(data.ACP_SESSIONS)
mail, alerts = Mail(), list[Alert]()

host = Host(
    ops=ops,
    account=account,
    ledger=ledger,
    session=session,
    stock=stock,
    ephemeral=tokens,
    ephemeral_purge=from_function(EphemeralPurge, purge_expired),
    acp_sessions=from_function(AcpSessionCleanup, clean_up_sessions),
    reservation_release=from_function(ReservationRelease, release_expired),
    admin_api=lazily(site_at_work),
    backlog=from_function(BacklogReader, waiting),
    email=EmailOverrides(sender=mail),  # mika-ops' outbox, on the ops and ledger documents above
    alert_sink=from_function(AlertSink, alerts.append),
)

defs = build_definitions(host=host)
