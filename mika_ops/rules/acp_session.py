"""ACP checkout sessions: expiring those that were abandoned, and purging those whose time has come.

Source: behaviour, section 6.
"""

from datetime import timedelta
from typing import Final

from mika_ops.documents.document import ABSENT, Document, patched
from mika_ops.timestamps import Timestamp, shifted

TERMINAL_STATUSES: Final = ("completed", "canceled")
PERSONAL: Final = ("buyer", "fulfillmentAddress")
"""What a session holds of the person who buys."""

DEFAULT_PURGE_AFTER_HOURS: Final = 24.0


def is_purgeable(session: Document, now: Timestamp) -> bool:
    """Say whether the session is to be deleted, whatever its status."""
    return _is_reached(session.get("purgeAt"), now)


def is_expired(session: Document, now: Timestamp) -> bool:
    """Say whether the session's time ran out before it was completed or canceled, and nobody has noted it yet."""
    return (
        session.get("status") not in TERMINAL_STATUSES
        and session.get("expiredAt") is None
        and _is_reached(session.get("expiresAt"), now)
    )


def expired(session: Document, *, now: Timestamp, purge_after: timedelta) -> Document:
    """Expire a session: it can be paid no more, and is purged after ``purge_after``."""
    return patched(
        session,
        {
            "status": "not_ready_for_payment",
            "expiredAt": now,
            "purgeAt": shifted(now, purge_after),
            "updatedAt": now,
            "version": _next_version(session),
        },
    )


def without_buyer(session: Document, *, now: Timestamp) -> Document:
    """Take the buyer and the address out of a session, which stays for what it sold until it is purged.

    Source: deviations, number 17.
    """
    removed = dict.fromkeys(PERSONAL, ABSENT)
    return patched(session, {**removed, "updatedAt": now, "version": _next_version(session)})


def names_buyer(session: Document) -> bool:
    """Say whether a session still holds a buyer or an address."""
    return any(session.get(name) is not None for name in PERSONAL)


def _next_version(session: Document) -> int:
    version = session.get("version")
    return (version if isinstance(version, int) else 0) + 1


def _is_reached(time: object, now: Timestamp) -> bool:
    return isinstance(time, str) and time <= now
