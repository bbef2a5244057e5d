"""ACP checkout sessions (behaviour, section 6): purged when their time has come, expired when they were abandoned."""

from datetime import timedelta

import pytest

from mika_ops.documents.document import ABSENT, Document
from mika_ops.rules import acp_session as rules
from mika_ops_testing.builders import AFTER, BEFORE, EARLIER, LATER, NOW, acp_session


def expired(session: Document, purge_after: timedelta = timedelta(hours=rules.DEFAULT_PURGE_AFTER_HOURS)) -> Document:
    return rules.expired(session, now=NOW, purge_after=purge_after)


@pytest.mark.parametrize(("purge_at", "due"), [(BEFORE, True), (NOW, True), (AFTER, False), (ABSENT, False)])
def test_a_session_is_purged_at_its_purge_time(purge_at: object, due: bool) -> None:
    assert rules.is_purgeable(acp_session(purgeAt=purge_at), NOW) is due


@pytest.mark.parametrize("status", ["not_ready_for_payment", "ready_for_payment", "completed", "canceled"])
def test_a_session_is_purged_whatever_its_status(status: str) -> None:
    assert rules.is_purgeable(acp_session(purgeAt=NOW, status=status), NOW)


@pytest.mark.parametrize(("expires_at", "due"), [(BEFORE, True), (NOW, True), (AFTER, False), (ABSENT, False)])
def test_a_session_expires_at_its_time(expires_at: object, due: bool) -> None:
    assert rules.is_expired(acp_session(expiresAt=expires_at), NOW) is due


@pytest.mark.parametrize("status", ["completed", "canceled"])
def test_a_finished_session_does_not_expire(status: str) -> None:
    assert not rules.is_expired(acp_session(status=status), NOW)


@pytest.mark.parametrize("status", ["not_ready_for_payment", "ready_for_payment"])
def test_an_open_session_expires(status: str) -> None:
    assert rules.is_expired(acp_session(status=status), NOW)


def test_a_session_expires_once() -> None:
    assert not rules.is_expired(acp_session(expiredAt=EARLIER), NOW)


@pytest.mark.parametrize("time", [5, None, True, []])
def test_a_time_that_is_no_text_is_never_reached(time: object) -> None:
    assert not rules.is_purgeable(acp_session(purgeAt=time), NOW)
    assert not rules.is_expired(acp_session(expiresAt=time), NOW)


def test_an_expired_session_can_be_paid_no_more_and_says_since_when() -> None:
    session = expired(acp_session())
    assert (session["status"], session["expiredAt"], session["updatedAt"]) == ("not_ready_for_payment", NOW, NOW)


def test_an_expired_session_is_purged_a_day_later_by_default() -> None:
    assert expired(acp_session())["purgeAt"] == LATER


def test_the_time_until_the_purge_is_the_hosts() -> None:
    assert expired(acp_session(), timedelta(milliseconds=1))["purgeAt"] == AFTER


@pytest.mark.parametrize(("version", "raised"), [(1, 2), (0, 1), (41, 42), (ABSENT, 1), (None, 1)])
def test_expiring_raises_the_version_by_one(version: object, raised: int) -> None:
    assert expired(acp_session(version=version))["version"] == raised


def test_everything_else_of_the_session_stays() -> None:
    session = acp_session(cart={"lines": [1, 2]}, buyer="b")
    assert expired(session).items() >= {"id": "acp_1", "cart": {"lines": [1, 2]}, "buyer": "b"}.items()


def test_an_expired_session_needs_no_work_until_its_purge() -> None:
    session = expired(acp_session())
    assert not rules.is_expired(session, LATER)
    assert not rules.is_purgeable(session, NOW)
    assert rules.is_purgeable(session, LATER)
