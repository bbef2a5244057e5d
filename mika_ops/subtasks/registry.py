"""The subtasks, in the order in which they run. A further one is a module and a line here."""

from typing import Final

from mika_ops.documents.selection import Selection
from mika_ops.subtasks import (
    acp_sessions,
    email_outbox,
    ephemeral_records,
    raw_provider_payloads,
    stock_reservations,
    stuck_emails,
    stuck_workflows,
    webhook_retries,
)
from mika_ops.subtasks.account_delete import requests
from mika_ops.subtasks.subtask import RunOptions, Subtask
from mika_ops.timestamps import Timestamp

SUBTASKS: Final[tuple[Subtask, ...]] = (
    email_outbox.SUBTASK,
    stuck_emails.SUBTASK,
    raw_provider_payloads.SUBTASK,
    acp_sessions.SUBTASK,
    stock_reservations.SUBTASK,
    ephemeral_records.SUBTASK,
    requests.SUBTASK,
    stuck_workflows.SUBTASK,
    webhook_retries.SUBTASK,
)

SUBTASK_NAMES: Final = tuple(subtask.name for subtask in SUBTASKS)


def permanently_failed(now: Timestamp) -> dict[str, Selection]:
    """Return the selection of the documents that need manual action at ``now``, by subtask, oldest first."""
    return {
        subtask.name: subtask.permanently_failed.at(now)
        for subtask in SUBTASKS
        if subtask.permanently_failed is not None
    }


def due_selections(now: Timestamp, limits: RunOptions) -> dict[str, Selection]:
    """Return the selection of due documents at ``now`` of each subtask that works on documents."""
    return {subtask.name: subtask.due(now, limits) for subtask in SUBTASKS if subtask.due is not None}
