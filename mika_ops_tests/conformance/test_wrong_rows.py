"""Stock, ephemeral rows or sessions that break a promise fail the test of that promise, with what to do."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest

from mika_ops.clock import Clock
from mika_ops.deadline import OutOfTime, never_out_of_time
from mika_ops.documents.document import Document
from mika_ops.ports import CleanedSessions, CustomerReservations, ReleasedReservations
from mika_ops.rules.acp_session import expired, is_expired, is_purgeable
from mika_ops.timestamps import to_datetime
from mika_ops_testing.conformance import (
    AcpSessionCleanupConformance,
    EphemeralPurgeConformance,
    EphemeralRepositoryConformance,
    EphemeralRow,
    Reservation,
    ReservationReleaseConformance,
    StockRepositoryConformance,
)
from mika_ops_tests.conformance.in_memory import Rows, Sessions, Stock
from mika_ops_tests.conformance.running import Wrong, failures, names_of_tests


class ReadsReserved:
    def reserved(self, stock: Any) -> Mapping[str, int]:
        reserved: Mapping[str, int] = stock.reserved
        return reserved


class Release(ReadsReserved, ReservationReleaseConformance):
    pass


class Customers(ReadsReserved, StockRepositoryConformance):
    pass


class HasNothing:
    def __init__(self, *_: object) -> None:
        pass


class ReleasesLate(Stock):
    def is_due(self, reservation: Reservation, due: str) -> bool:
        return reservation.expires_at < due


class ReleasesAll(Stock):
    def is_due(self, reservation: Reservation, due: str) -> bool:
        return True


class KeepsTheQuantity(Stock):
    def release(self, reservations: Iterable[Reservation]) -> None:
        for each in list(reservations):
            del self.active[each.id]


class KeepsTheReservation(Stock):
    def release(self, reservations: Iterable[Reservation]) -> None:
        for each in list(reservations):
            self.reserved[each.item] -= each.quantity


class DeletesOrphans(Stock):
    def release_expired(self, *, due: str, now: str, out_of_time: OutOfTime) -> ReleasedReservations:
        done = super().release_expired(due=due, now=now, out_of_time=out_of_time)
        for id_ in done.orphans:
            del self.active[id_]
        return done


class NamesNoOrphans(Stock):
    def release_expired(self, *, due: str, now: str, out_of_time: OutOfTime) -> ReleasedReservations:
        done = super().release_expired(due=due, now=now, out_of_time=out_of_time)
        return ReleasedReservations(done.scanned, done.released, done.stock_items)


class ReleasesWithoutTime(Stock):
    def release_expired(self, *, due: str, now: str, out_of_time: OutOfTime) -> ReleasedReservations:
        return super().release_expired(due=due, now=now, out_of_time=never_out_of_time)


class ReturnsACount(Stock):
    def release_expired(self, *, due: str, now: str, out_of_time: OutOfTime) -> Any:
        return super().release_expired(due=due, now=now, out_of_time=out_of_time).released


class ReleasesExpiredOfACustomer(Stock):
    def release_customer(self, customer_id: str) -> CustomerReservations:
        theirs = [each for each in self.active.values() if each.customer_id == customer_id]
        self.release(each for each in theirs if self.is_due(each, "2026-03-01T12:00:00.000Z"))
        return CustomerReservations(len(theirs))


class CountsTogether(Stock):
    def release_customers(self, customer_ids: Sequence[str], *, now: str) -> Mapping[str, CustomerReservations]:
        released = super().release_customers(customer_ids, now=now).values()
        return {customer_ids[0]: CustomerReservations(sum(each.released for each in released))}


class ReleasesBesideOrphans(Stock):
    def release_customer(self, customer_id: str) -> CustomerReservations:
        theirs = [each for each in self.active.values() if each.customer_id == customer_id]
        sound = [each for each in theirs if each.item in self.reserved]
        self.release(sound)
        return CustomerReservations(len(sound))


def wrong_stock(suite: type, test: str, words: str, stock: type) -> Wrong:
    return Wrong(suite, test, words, {"make_stock": lambda: stock})


STOCK = [
    wrong_stock(Release, "test_it_has_the_methods_of_the_port", "without the method release_expired", HasNothing),
    wrong_stock(Release, "test_nothing_expired_is_nothing_released", "report zero counts", ReleasesAll),
    wrong_stock(Release, "test_nothing_expired_is_nothing_released", "returned: int", ReturnsACount),
    wrong_stock(Release, "test_a_reservation_is_released_at_its_end", "also if they are equal", ReleasesLate),
    wrong_stock(Release, "test_an_items_quantity_goes_down_by_what_is_released", "must be the sum", KeepsTheQuantity),
    wrong_stock(Release, "test_a_released_reservation_is_not_released_again", "twice", KeepsTheReservation),
    wrong_stock(Release, "test_a_reservation_without_its_item_is_named_and_left", "name each", NamesNoOrphans),
    wrong_stock(Release, "test_a_reservation_without_its_item_is_named_and_left", "untouched", DeletesOrphans),
    wrong_stock(
        Release,
        "test_a_release_without_time_leaves_the_rest_for_the_next_run",
        "ask out_of_time()",
        ReleasesWithoutTime,
    ),
    wrong_stock(Customers, "test_it_has_the_methods_of_the_port", "without the method release_customers", HasNothing),
    wrong_stock(Customers, "test_all_reservations_of_a_customer_are_released", "lower", ReleasesExpiredOfACustomer),
    wrong_stock(Customers, "test_each_customers_releases_are_counted_apart", "by customer", CountsTogether),
    wrong_stock(Customers, "test_a_customer_with_an_orphan_keeps_all", "release nothing of", ReleasesBesideOrphans),
]


class PurgesLate(Rows):
    def is_due(self, row: EphemeralRow, due: str) -> bool:
        return row.expires_at < due


class PurgesTokensAlone(Rows):
    def is_due(self, row: EphemeralRow, due: str) -> bool:
        return row.kind == "token" and super().is_due(row, due)


class PurgesAll(Rows):
    def is_due(self, row: EphemeralRow, due: str) -> bool:
        return True


class PurgesWithoutTime(Rows):
    def purge_expired(self, *, due: str, out_of_time: OutOfTime) -> int:
        return super().purge_expired(due=due, out_of_time=never_out_of_time)


class DeletesEveryKind(Rows):
    def is_token(self, row: EphemeralRow, subject: str) -> bool:
        return row.subject == subject


class DeletesEverybodys(Rows):
    def is_token(self, row: EphemeralRow, subject: str) -> bool:
        return row.subject is not None


class DeletesAllIfNobodyIsNamed(Rows):
    def delete_tokens(self, subjects: Sequence[str]) -> Mapping[str, int]:
        return super().delete_tokens(subjects) if subjects else {"": self.delete(self.rows)}


def wrong_rows(test: str, words: str, rows: type) -> Wrong:
    return Wrong(EphemeralRepositoryConformance, test, words, {"make_ephemeral": lambda: rows})


EPHEMERAL = [
    wrong_rows("test_it_can_purge", "without the method purge_expired", HasNothing),
    wrong_rows("test_it_can_delete_tokens", "delete_tokens(subjects)", HasNothing),
    wrong_rows("test_a_row_is_purged_at_its_end", "also if they are equal", PurgesLate),
    wrong_rows("test_rows_of_every_kind_are_purged_and_counted", "of every kind", PurgesTokensAlone),
    wrong_rows("test_a_row_that_has_not_expired_is_kept", "keep a row that has not expired", PurgesAll),
    wrong_rows("test_nothing_is_purged_without_time", "ask out_of_time()", PurgesWithoutTime),
    wrong_rows("test_tokens_and_cache_markers_of_a_subject_are_deleted", "and no other kinds", DeletesEveryKind),
    wrong_rows("test_tokens_are_counted_by_subject_and_others_are_kept", "count them by", DeletesEverybodys),
    wrong_rows("test_no_subjects_delete_nothing", "delete_tokens([]) must", DeletesAllIfNobodyIsNamed),
]


class ReturnsNone(Sessions):
    def clean_up(self, clock: Clock, *, limit: int | None, purge_after_hours: float, out_of_time: OutOfTime) -> Any:
        super().clean_up(clock, limit=limit, purge_after_hours=purge_after_hours, out_of_time=out_of_time)


class ExpiresLate(Sessions):
    def due(self, at: str) -> list[Document]:
        return [each for each in super().due(at) if str(each.get("expiresAt")) < at]


class PurgesAtOnce(Sessions):
    def clean(self, session: Document, clock: Clock, purge_after: timedelta, done: CleanedSessions) -> CleanedSessions:
        return super().clean(session, clock, timedelta(0), done)


class StampsTheScheduledTime(Sessions):
    def clean(self, session: Document, clock: Clock, purge_after: timedelta, done: CleanedSessions) -> CleanedSessions:
        return super().clean(session, Clock.fixed(to_datetime(clock.scheduled_at)), purge_after, done)


class JudgesAtTheRealTime(Sessions):
    def clean_up(
        self, clock: Clock, *, limit: int | None, purge_after_hours: float, out_of_time: OutOfTime
    ) -> CleanedSessions:
        real = Clock.fixed(to_datetime(clock.stamp()))
        return super().clean_up(real, limit=limit, purge_after_hours=purge_after_hours, out_of_time=out_of_time)


class ExpiresFirst(Sessions):
    def clean(self, session: Document, clock: Clock, purge_after: timedelta, done: CleanedSessions) -> CleanedSessions:
        if not is_expired(session, clock.scheduled_at):
            return super().clean(session, clock, purge_after, done)
        self.sessions[session["id"]] = expired(session, now=clock.stamp(), purge_after=purge_after)
        return CleanedSessions(done.scanned + 1, done.expired + 1, done.purged)


class PurgesCompletedAlone(Sessions):
    def due(self, at: str) -> list[Document]:
        return [each for each in super().due(at) if is_expired(each, at) or each["status"] == "completed"]


class CountsEverySession(Sessions):
    def due(self, at: str) -> list[Document]:
        return list(self.sessions.values())


class IgnoresTheLimit(Sessions):
    def clean_up(
        self, clock: Clock, *, limit: int | None, purge_after_hours: float, out_of_time: OutOfTime
    ) -> CleanedSessions:
        return super().clean_up(clock, limit=None, purge_after_hours=purge_after_hours, out_of_time=out_of_time)


class LimitsAllSessions(Sessions):
    def clean_up(
        self, clock: Clock, *, limit: int | None, purge_after_hours: float, out_of_time: OutOfTime
    ) -> CleanedSessions:
        looked_at = Sessions(*list(self.sessions.values())[:limit])
        return looked_at.clean_up(clock, limit=limit, purge_after_hours=purge_after_hours, out_of_time=out_of_time)


class TakesTheIdsInOrder(Sessions):
    def due(self, at: str) -> list[Document]:
        return sorted(super().due(at), key=lambda session: str(session["id"]))


class IgnoresTheTime(Sessions):
    def clean_up(
        self, clock: Clock, *, limit: int | None, purge_after_hours: float, out_of_time: OutOfTime
    ) -> CleanedSessions:
        return super().clean_up(clock, limit=limit, purge_after_hours=purge_after_hours, out_of_time=never_out_of_time)


class KeepsWhatItPurged(Sessions):
    def clean(self, session: Document, clock: Clock, purge_after: timedelta, done: CleanedSessions) -> CleanedSessions:
        cleaned = super().clean(session, clock, purge_after, done)
        if is_purgeable(session, clock.scheduled_at):
            self.sessions[session["id"]] = session
        return cleaned


def wrong_sessions(test: str, words: str, sessions: type) -> Wrong:
    return Wrong(AcpSessionCleanupConformance, test, words, {"make_sessions": lambda: sessions})


SESSIONS = [
    wrong_sessions("test_it_has_the_methods_of_the_port", "without the method clean_up", HasNothing),
    wrong_sessions("test_without_sessions_nothing_is_due", "must return mika_ops.ports.CleanedSessions", ReturnsNone),
    wrong_sessions("test_a_session_expires_at_its_end", "is_expired holds", ExpiresLate),
    wrong_sessions(
        "test_an_expired_session_is_purged_after_the_hours_that_are_passed_in", "purge_after_hours", PurgesAtOnce
    ),
    wrong_sessions(
        "test_an_expired_session_is_stamped_with_the_time_of_the_change", "stamp an", StampsTheScheduledTime
    ),
    wrong_sessions("test_an_expired_session_is_stamped_with_the_time_of_the_change", "judge what", JudgesAtTheRealTime),
    wrong_sessions("test_a_session_that_is_due_for_both_is_purged", "ask is_purgeable before", ExpiresFirst),
    wrong_sessions("test_a_session_that_is_due_for_both_is_purged", "must be deleted", KeepsWhatItPurged),
    wrong_sessions("test_a_session_is_purged_whatever_its_status", "whatever its status", PurgesCompletedAlone),
    wrong_sessions("test_a_session_that_needs_no_work_is_not_scanned", "leave a session alone", CountsEverySession),
    wrong_sessions("test_a_limit_is_obeyed", "take at most `limit`", IgnoresTheLimit),
    wrong_sessions("test_sessions_that_are_not_due_do_not_use_up_the_limit", "apply the limit", LimitsAllSessions),
    wrong_sessions("test_the_least_recently_updated_is_taken_first", "oldest updatedAt first", TakesTheIdsInOrder),
    wrong_sessions(
        "test_a_clean_up_without_time_leaves_the_rest_for_the_next_run", "ask out_of_time()", IgnoresTheTime
    ),
]


@pytest.mark.parametrize("wrong", [*STOCK, *EPHEMERAL, *SESSIONS], ids=str)
def test_a_wrong_component_fails_the_test_of_its_promise(wrong: Wrong) -> None:
    wrong.check()


def test_right_components_pass() -> None:
    assert failures(Release, {"make_stock": lambda: Stock}) == {}
    assert failures(Customers, {"make_stock": lambda: Stock}) == {}
    assert failures(EphemeralRepositoryConformance, {"make_ephemeral": lambda: Rows}) == {}
    assert failures(EphemeralPurgeConformance, {"make_ephemeral": lambda: Rows}) == {}
    assert failures(AcpSessionCleanupConformance, {"make_sessions": lambda: Sessions}) == {}


def test_every_test_of_the_suites_fails_for_some_wrong_component() -> None:
    for suite in (Release, Customers):
        assert {wrong.test for wrong in STOCK if wrong.suite is suite} == set(names_of_tests(suite))
    assert {wrong.test for wrong in EPHEMERAL} == set(names_of_tests(EphemeralRepositoryConformance))
    assert {wrong.test for wrong in SESSIONS} == set(names_of_tests(AcpSessionCleanupConformance))
