"""The nine subtasks, in the order in which they run."""

from typing import Final

from mika_ops.subtasks import (
    account_delete_requests,
    acp_sessions,
    email_outbox,
    ephemeral_records,
    raw_provider_payloads,
    stock_reservations,
    stuck_emails,
    stuck_workflows,
    webhook_retries,
)
from mika_ops.subtasks.subtask import Subtask

SUBTASKS: Final[tuple[Subtask, ...]] = (
    email_outbox.SUBTASK,
    stuck_emails.SUBTASK,
    raw_provider_payloads.SUBTASK,
    acp_sessions.SUBTASK,
    stock_reservations.SUBTASK,
    ephemeral_records.SUBTASK,
    account_delete_requests.SUBTASK,
    stuck_workflows.SUBTASK,
    webhook_retries.SUBTASK,
)

SUBTASK_NAMES: Final = tuple(subtask.name for subtask in SUBTASKS)
