"""Components in memory that keep every promise of their ports; the wrong ones differ from these in one way."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import takewhile

from examples.own_host_documents import Documents
from mika_ops.clock import Clock
from mika_ops.deadline import OutOfTime
from mika_ops.documents.document import Document
from mika_ops.documents.selection import Selection
from mika_ops.ports import (
    Alert,
    Backlog,
    CleanedSessions,
    CustomerReservations,
    Due,
    Envelope,
    ReleasedReservations,
    ReplayedWebhook,
    SenderThrottled,
    SenderUnavailable,
    SendResult,
    StockDrift,
)
from mika_ops.rules.acp_session import expired, is_expired, is_purgeable
from mika_ops_testing.conformance import EphemeralRow, Reservation, ShopData


@dataclass
class Mail:
    """A provider, whose ``error`` is raised for every email."""

    error: Exception | None = None
    abandoned: bool = False

    def send(self, envelope: Envelope) -> SendResult:
        if self.abandoned:
            raise SenderUnavailable("the sender was abandoned")
        if self.error is not None:
            raise self.error
        return SendResult(f"mail-{envelope.email_id}")

    def abandon(self) -> None:
        self.abandoned = True


REFUSED, THROTTLED = ValueError("the provider refused the email"), SenderThrottled("the provider asks to slow down")
UNREACHABLE = SenderUnavailable("the provider cannot be reached")


class Stock:
    def __init__(self, reserved: Mapping[str, int], reservations: Sequence[Reservation]) -> None:
        self.reserved = dict(reserved)
        self.active = {each.id: each for each in reservations}

    def release_expired(self, *, due: str, now: str, out_of_time: OutOfTime) -> ReleasedReservations:
        waiting = [each for each in self.active.values() if self.is_due(each, due)]
        scanned = list(takewhile(lambda _each: not out_of_time(), waiting))
        orphans = tuple(each.id for each in scanned if each.item not in self.reserved)
        done = [each for each in scanned if each.id not in orphans]
        self.release(done)
        more = len(scanned) < len(waiting)
        return ReleasedReservations(len(scanned), len(done), len({each.item for each in done}), orphans, more)

    def release_customers(self, customer_ids: Sequence[str], *, now: str) -> Mapping[str, CustomerReservations]:
        return {id_: self.release_customer(id_) for id_ in customer_ids}

    def release_customer(self, customer_id: str) -> CustomerReservations:
        theirs = [each for each in self.active.values() if each.customer_id == customer_id]
        orphans = tuple(each.id for each in theirs if each.item not in self.reserved)
        if orphans:
            return CustomerReservations(orphans=orphans)
        self.release(theirs)
        return CustomerReservations(len(theirs))

    def is_due(self, reservation: Reservation, due: str) -> bool:
        return reservation.expires_at <= due

    def release(self, reservations: Iterable[Reservation]) -> None:
        for each in list(reservations):
            del self.active[each.id]
            self.reserved[each.item] -= each.quantity


class Rows:
    def __init__(self, *rows: EphemeralRow) -> None:
        self.rows = {row.key: row for row in rows}

    def purge_expired(self, *, due: str, out_of_time: OutOfTime) -> int:
        gone = [key for key, row in self.rows.items() if self.is_due(row, due)]
        return self.delete(takewhile(lambda _key: not out_of_time(), gone))

    def delete_tokens(self, subjects: Sequence[str]) -> Mapping[str, int]:
        return {
            subject: self.delete([key for key, row in self.rows.items() if self.is_token(row, subject)])
            for subject in subjects
        }

    def is_due(self, row: EphemeralRow, due: str) -> bool:
        return row.expires_at <= due

    def is_token(self, row: EphemeralRow, subject: str) -> bool:
        return row.subject == subject and row.kind in ("token", "cache_marker")

    def delete(self, keys: Iterable[str]) -> int:
        return len([self.rows.pop(key) for key in list(keys)])


class Sessions:
    def __init__(self, *sessions: Document) -> None:
        self.sessions = {str(session["id"]): session for session in sessions}

    def clean_up(
        self, clock: Clock, *, limit: int | None, purge_after_hours: float, out_of_time: OutOfTime
    ) -> CleanedSessions:
        due = self.due(clock.scheduled_at)
        done = CleanedSessions()
        for session in takewhile(lambda _session: not out_of_time(), due[:limit]):
            done = self.clean(session, clock, timedelta(hours=purge_after_hours), done)
        return CleanedSessions(done.scanned, done.expired, done.purged, done.scanned < len(due))

    def due(self, at: str) -> list[Document]:
        due = [each for each in self.sessions.values() if is_purgeable(each, at) or is_expired(each, at)]
        return sorted(due, key=lambda session: (session["updatedAt"], session["id"]))

    def clean(self, session: Document, clock: Clock, purge_after: timedelta, done: CleanedSessions) -> CleanedSessions:
        if is_purgeable(session, clock.scheduled_at):
            del self.sessions[session["id"]]
            return CleanedSessions(done.scanned + 1, done.expired, done.purged + 1)
        self.sessions[session["id"]] = expired(session, now=clock.stamp(), purge_after=purge_after)
        return CleanedSessions(done.scanned + 1, done.expired + 1, done.purged)


@dataclass
class Site:
    """A site that replays ``webhook_1``; its answers count up, each once for its key."""

    answers: dict[str, ReleasedReservations | ReplayedWebhook] = field(default_factory=dict)

    def release_expired_reservations(self, *, now: str, idempotency_key: str) -> ReleasedReservations:
        answer = self.answers.setdefault(idempotency_key, ReleasedReservations(scanned=len(self.answers)))
        assert isinstance(answer, ReleasedReservations)
        return answer

    def replay_webhook(self, webhook_id: str, *, idempotency_key: str) -> ReplayedWebhook:
        answer = self.answers.setdefault(idempotency_key, self.replayed(webhook_id))
        assert isinstance(answer, ReplayedWebhook)
        return answer

    def replayed(self, webhook_id: str) -> ReplayedWebhook:
        return ReplayedWebhook(ok=True) if webhook_id == "webhook_1" else ReplayedWebhook(False, "no such webhook")


class SiteOutOfReach:
    def release_expired_reservations(self, *, now: str, idempotency_key: str) -> ReleasedReservations:
        raise ConnectionError("the site cannot be reached")

    def replay_webhook(self, webhook_id: str, *, idempotency_key: str) -> ReplayedWebhook:
        raise ConnectionError("the site cannot be reached")


@dataclass
class Pager:
    texts: list[str] = field(default_factory=list)

    def send(self, alert: Alert) -> None:
        self.texts.append(f"{alert.title}: {alert.sentence}")


class PagerOutOfReach:
    def send(self, alert: Alert) -> None:
        raise ConnectionError("the pager cannot be reached")


class Counter:
    def __init__(self, shop: ShopData) -> None:
        self.shop = shop

    def read(self, selections: Mapping[str, Selection], *, now: str) -> Backlog:
        due = {name: self.documents(selection) for name, selection in selections.items()}
        rows = {
            "stock_reservations": sum(each.expires_at <= now for each in self.shop.reservations),
            "ephemeral_records": sum(each.expires_at <= now for each in self.shop.ephemeral),
            "acp_sessions": len(Sessions(*self.shop.acp_sessions).due(now)),
        }
        return Backlog({**due, **{name: Due(count) for name, count in rows.items()}})

    def first_documents(self, selection: Selection, *, limit: int) -> Sequence[str]:
        found = Documents(*self.shop.ops).candidates(selection, after=None, limit=1_000)
        return [candidate.id for candidate in found if not candidate.malformed][:limit]

    def stock_drift(self) -> StockDrift:
        return StockDrift()

    def first_ids(self, subtask: str, *, now: str, limit: int) -> Sequence[str]:
        return self.ids(subtask, now)[:limit]

    def ids(self, subtask: str, now: str) -> Sequence[str]:
        match subtask:
            case "stock_reservations":
                return [each.id for each in self.shop.reservations if each.expires_at <= now]
            case "acp_sessions":
                return [str(each["id"]) for each in Sessions(*self.shop.acp_sessions).due(now)]
            case _:
                return []

    def documents(self, selection: Selection) -> Due:
        found = Documents(*self.shop.ops).candidates(selection, after=None, limit=1_000)
        malformed = sum(candidate.malformed for candidate in found)
        return Due(len(found) - malformed, malformed=malformed)
