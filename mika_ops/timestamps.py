"""Mika's timestamps: ISO 8601 UTC text with milliseconds, so that text order is time order.

``2026-03-01T12:00:00.000Z`` is the only form that Mika writes and the only form written here. Every rule compares
timestamps as text; "expired at T" always includes equality.
"""

from datetime import UTC, datetime, timedelta
from typing import TypeAlias

Timestamp: TypeAlias = str
"""ISO 8601 UTC with milliseconds and a ``Z``."""

EARLIEST: Timestamp = "0001-01-01T00:00:00.000Z"
LATEST: Timestamp = "9999-12-31T23:59:59.999Z"


def to_timestamp(moment: datetime) -> Timestamp:
    """Write an aware ``datetime`` as a timestamp; what is finer than a millisecond is cut off.

    Raises ``ValueError`` for a naive ``datetime``: its zone would be a guess.
    """
    if moment.tzinfo is None:
        raise ValueError("a moment without a time zone cannot be written as a timestamp: give it one, for example UTC")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_datetime(timestamp: str) -> datetime:
    """Read a timestamp, or any other ISO 8601 text; text without a zone is taken as UTC.

    Raises ``ValueError`` for text that is no ISO 8601 time.
    """
    moment = datetime.fromisoformat(timestamp)
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{timestamp!r} is beyond the ends of the calendar in UTC") from None


def shifted(timestamp: Timestamp, by: timedelta) -> Timestamp:
    """Return the timestamp moved by ``by``; past the ends of the calendar it stays at the end."""
    try:
        return to_timestamp(to_datetime(timestamp) + by)
    except OverflowError:
        return EARLIEST if by < timedelta(0) else LATEST
