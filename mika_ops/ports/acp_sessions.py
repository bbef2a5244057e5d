"""The port of ACP checkout sessions."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from mika_ops.clock import Clock
from mika_ops.deadline import OutOfTime


@dataclass(frozen=True)
class CleanedSessions:
    """How many sessions needed work, and what was done to them; those that could not be read are named."""

    scanned: int = 0
    expired: int = 0
    purged: int = 0
    has_more: bool = False
    malformed_ids: tuple[str, ...] = ()


@runtime_checkable
class AcpSessionCleanup(Protocol):
    """Cleans up ACP checkout sessions: a session store's method, or a host's function in an object."""

    def clean_up(
        self, clock: Clock, *, limit: int | None, purge_after_hours: float, out_of_time: OutOfTime
    ) -> CleanedSessions:
        """Purge and expire the sessions that are due, least recently updated first, at most ``limit`` of them.

        ``mika_ops.rules.acp_session`` says which are due at ``clock.scheduled_at`` (``is_purgeable``, then
        ``is_expired``) and what becomes of one that expires (``expired``), stamped ``clock.stamp()``.
        """
        ...
