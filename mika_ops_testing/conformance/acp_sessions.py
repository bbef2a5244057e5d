"""The conformance suite of ``AcpSessionCleanup``."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from mika_ops.clock import Clock
from mika_ops.deadline import never_out_of_time
from mika_ops.documents.document import ABSENT, Document
from mika_ops.ports.acp_sessions import AcpSessionCleanup, CleanedSessions
from mika_ops.timestamps import to_datetime
from mika_ops_testing.builders import AFTER, BEFORE, EARLIER, LATER, NOW, acp_session
from mika_ops_testing.conformance.expectations import expect_equal, expect_port, expect_type, required

MakeSessions = Callable[..., Any]
"""Takes sessions and returns the component that holds exactly these."""

MUCH_LATER = "2026-03-09T12:00:00.000Z"

NOT_DUE = {
    "it has not expired": acp_session(expiresAt=AFTER),
    "it has no end": acp_session(expiresAt=ABSENT),
    "it is completed": acp_session(status="completed"),
    "it is canceled": acp_session(status="canceled"),
    "it is expired already": acp_session(expiredAt=EARLIER, purgeAt=AFTER),
}


class AcpSessionCleanupConformance:
    """Holds an ``AcpSessionCleanup`` against its port. A host defines the fixture ``make_sessions``."""

    @pytest.fixture
    def make_sessions(self) -> Any:
        """Return a function that takes sessions and returns the component."""
        required("make_sessions", "a function that takes ACP sessions and returns your component with only these")

    def test_it_has_the_methods_of_the_port(self, make_sessions: MakeSessions) -> None:
        """The port: `clean_up` exists."""
        expect_port(make_sessions(), AcpSessionCleanup)

    def test_without_sessions_nothing_is_due(self, make_sessions: MakeSessions) -> None:
        """`clean_up`: without sessions, every count is zero."""
        expect_equal(clean_up(make_sessions()), CleanedSessions(), "report zero counts if there is no session")

    @pytest.mark.parametrize(("expires_at", "expired"), [(BEFORE, 1), (NOW, 1), (AFTER, 0)])
    def test_a_session_expires_at_its_end(self, expires_at: str, expired: int, make_sessions: MakeSessions) -> None:
        """`clean_up`: `is_expired` decides, at `clock.scheduled_at`."""
        sessions = make_sessions(acp_session(expiresAt=expires_at))
        advice = "expire the sessions for which mika_ops.rules.acp_session.is_expired holds at clock.scheduled_at"
        expect_equal(clean_up(sessions), CleanedSessions(scanned=expired, expired=expired), advice)
        expect_equal(clean_up(sessions).expired, 0, "store what acp_session.expired returns: a session expires once")

    def test_an_expired_session_is_purged_after_the_hours_that_are_passed_in(self, make_sessions: MakeSessions) -> None:
        """`clean_up`: `expired` sets the purge time, `purge_after_hours` after `clock.stamp()`."""
        sessions = make_sessions(acp_session())
        clean_up(sessions, purge_after_hours=24)
        advice = "store what acp_session.expired returns: a session is purged purge_after_hours after it expired"
        expect_equal(clean_up(sessions, at="2026-03-02T11:59:59.999Z").purged, 0, advice)
        expect_equal(clean_up(sessions, at=LATER).purged, 1, advice)

    def test_an_expired_session_is_stamped_with_the_time_of_the_change(self, make_sessions: MakeSessions) -> None:
        """`clean_up`: what is due is judged at `clock.scheduled_at`; what is written is `clock.stamp()`."""
        sessions = make_sessions(acp_session(), acp_session("later", expiresAt=AFTER))
        late = Clock(NOW, now=lambda: to_datetime("2026-03-01T13:00:00.000Z"))
        advice = "judge what is due at clock.scheduled_at, not at clock.stamp()"
        expect_equal(clean_up(sessions, clock=late).expired, 1, advice)
        advice = "stamp an expired session with clock.stamp(): its purge time follows from it"
        expect_equal(clean_up(sessions, at=LATER).purged, 0, advice)

    def test_a_session_that_is_due_for_both_is_purged(self, make_sessions: MakeSessions) -> None:
        """`clean_up`: `is_purgeable` is asked first; a purged session is gone."""
        sessions = make_sessions(acp_session(purgeAt=BEFORE))
        expect_equal(clean_up(sessions), CleanedSessions(scanned=1, purged=1), "ask is_purgeable before is_expired")
        expect_equal(clean_up(sessions, at=MUCH_LATER), CleanedSessions(), "a purged session must be deleted")

    @pytest.mark.parametrize("case", ["completed", "canceled", "ready_for_payment"])
    def test_a_session_is_purged_whatever_its_status(self, case: str, make_sessions: MakeSessions) -> None:
        """`clean_up`: `is_purgeable` does not depend on the status."""
        sessions = make_sessions(acp_session(status=case, purgeAt=NOW, expiresAt=ABSENT))
        expect_equal(clean_up(sessions).purged, 1, "purge a session whose purgeAt is reached, whatever its status")

    @pytest.mark.parametrize("case", NOT_DUE)
    def test_a_session_that_needs_no_work_is_not_scanned(self, case: str, make_sessions: MakeSessions) -> None:
        """`CleanedSessions.scanned`: how many sessions needed work."""
        expect_equal(clean_up(make_sessions(NOT_DUE[case])), CleanedSessions(), f"leave a session alone if {case}")

    @pytest.mark.parametrize(("limit", "scanned"), [(0, 0), (1, 1), (2, 2), (3, 3), (4, 3)])
    def test_a_limit_is_obeyed(self, limit: int, scanned: int, make_sessions: MakeSessions) -> None:
        """`clean_up`: at most `limit` sessions; `has_more` says whether some are left."""
        sessions = make_sessions(*(acp_session(id_) for id_ in "abc"))
        expected = CleanedSessions(scanned, expired=scanned, has_more=scanned < 3)
        expect_equal(clean_up(sessions, limit=limit), expected, "take at most `limit` due sessions; set has_more")

    def test_sessions_that_are_not_due_do_not_use_up_the_limit(self, make_sessions: MakeSessions) -> None:
        """`clean_up`: the limit counts the sessions that are due."""
        live: list[Document] = [acp_session(f"live_{number}", expiresAt=LATER) for number in range(5)]
        sessions = make_sessions(*live, acp_session("old", updatedAt=BEFORE))
        advice = "apply the limit to the sessions that are due, not to all"
        expect_equal(clean_up(sessions, limit=1), CleanedSessions(scanned=1, expired=1), advice)

    def test_the_least_recently_updated_is_taken_first(self, make_sessions: MakeSessions) -> None:
        """`clean_up`: least recently updated first."""
        older = acp_session("b", purgeAt=BEFORE, updatedAt=EARLIER)
        sessions = make_sessions(acp_session("a", updatedAt=BEFORE), older)
        expected = CleanedSessions(scanned=1, purged=1, has_more=True)
        expect_equal(clean_up(sessions, limit=1), expected, "take the session with the oldest updatedAt first")

    def test_a_clean_up_without_time_leaves_the_rest_for_the_next_run(self, make_sessions: MakeSessions) -> None:
        """`out_of_time`: asked between batches; `has_more` says that some are left."""
        sessions = make_sessions(acp_session("a"), acp_session("b"))
        done = clean_up(sessions, out_of_time=lambda: True)
        advice = "ask out_of_time() before each batch; if it is true, return with has_more"
        expect_equal((done.scanned, done.has_more), (0, True), advice)
        expect_equal(clean_up(sessions).expired, 2, "the next run must find what was left")


def clean_up(
    sessions: AcpSessionCleanup,
    *,
    at: str = NOW,
    clock: Clock | None = None,
    limit: int | None = None,
    purge_after_hours: float = 24,
    out_of_time: Callable[[], bool] = never_out_of_time,
) -> CleanedSessions:
    """Clean up at a time, and check the type of the result."""
    __tracebackhide__ = True
    moment: datetime = to_datetime(at)
    used = clock or Clock.fixed(moment)
    done: Any = sessions.clean_up(used, limit=limit, purge_after_hours=purge_after_hours, out_of_time=out_of_time)
    expect_type(done, CleanedSessions, "clean_up must return mika_ops.ports.CleanedSessions")
    assert isinstance(done, CleanedSessions)
    return done
