"""Cleans up ACP checkout sessions: expires abandoned ones and purges old ones."""

from mika_ops.clock import Clock
from mika_ops.documents.sweep import IDS_NAMED
from mika_ops.host.host import Host
from mika_ops.subtasks.outcome import SubtaskResult
from mika_ops.subtasks.subtask import RunOptions, Subtask, required


class AcpSessionsResult(SubtaskResult):
    """Sessions that needed work, expired and purged."""

    scanned: int = 0
    expired: int = 0
    purged: int = 0
    malformed: int = 0
    has_more: bool = False
    malformed_ids: tuple[str, ...] = ()


def run(host: Host, clock: Clock, limits: RunOptions) -> AcpSessionsResult:
    """Clean up sessions, least recently updated first."""
    cleaned = required(host.acp_sessions).clean_up(
        clock,
        limit=limits.limit,
        purge_after_hours=limits.acp_session_purge_after_hours,
        out_of_time=limits.out_of_time,
    )
    return AcpSessionsResult(
        scanned=cleaned.scanned,
        expired=cleaned.expired,
        purged=cleaned.purged,
        malformed=len(cleaned.malformed_ids),
        has_more=cleaned.has_more,
        malformed_ids=cleaned.malformed_ids[:IDS_NAMED],
    )


SUBTASK = Subtask(
    name="acp_sessions",
    description="Expires abandoned ACP checkout sessions, and deletes those whose purge time has passed.",
    needs=(("acp_sessions",),),
    run=run,
    done=("expired", "purged"),
)
