"""The port of ACP checkout sessions."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from mika_ops.clock import Clock
from mika_ops.deadline import OutOfTime
from mika_ops.documents.repository import Changes, Note, Rule


@dataclass(frozen=True)
class CleanedSessions:
    """How many sessions needed work, and what was done to them.

    ``malformed_ids`` are the sessions that could not be read; ``has_more``: the limit or the time ran out first.
    """

    scanned: int = 0
    expired: int = 0
    purged: int = 0
    has_more: bool = False
    malformed_ids: tuple[str, ...] = ()


@runtime_checkable
class AcpSessionCleanup(Protocol):
    """Cleans up ACP checkout sessions: expires abandoned sessions and purges old ones."""

    def clean_up(
        self, clock: Clock, *, limit: int | None, purge_after_hours: float, out_of_time: OutOfTime
    ) -> CleanedSessions:
        """Purge and expire the sessions that are due, least recently updated first, at most ``limit`` of them.

        ``mika_ops.rules.acp_session`` holds the rules: which sessions are due at ``clock.scheduled_at``
        (``is_purgeable``, then ``is_expired``), and the new state of a session that expires (``expired``), stamped
        ``clock.stamp()``.
        """
        ...


@runtime_checkable
class AcpSessionEditor(Protocol):
    """A store of ACP checkout sessions that account deletes may change, too; a cleanup need not be one."""

    def change_sessions(self, rule: Rule[Note]) -> Changes[Note]:
        """Apply a rule to every session that may hold a buyer or an address, and write what it returns.

        No update of a storefront is lost: a session is locked, or compared by its version, while the rule decides. The
        rule is a pure function of a session's id and the session; it may be called again when a transaction is retried.
        A session that cannot be read is reported as malformed. See ``DocumentRepository.change``.
        """
        ...
