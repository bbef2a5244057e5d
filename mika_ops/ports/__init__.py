"""The ports: the protocols that the components of a host implement.

Any object with these methods fits. The adapters of this package (the database, SMTP, the admin API) implement the same
protocols. Methods are called from one thread at a time, except those of document repositories and email senders, which
the outbox calls from several threads at once. A method may raise any exception: the subtask that called it then ends
*failed* with the error's message, and the other subtasks continue. Times are texts (``mika_ops.timestamps``). No method
may put an address, a link or a token into the message of an error.

``mika_ops_testing.conformance`` has tests that a host inherits to hold its components against these ports.
"""

from mika_ops.deadline import OutOfTime, never_out_of_time
from mika_ops.documents.repository import (
    Candidate,
    Change,
    Changes,
    DocumentRepository,
    Note,
    RepositoryUnavailable,
    RepositoryUnreachable,
    Rule,
)
from mika_ops.ports.acp_sessions import AcpSessionCleanup, AcpSessionEditor, CleanedSessions
from mika_ops.ports.admin_api import AdminApi, ReplayedWebhook
from mika_ops.ports.alerts import Alert, AlertKind, AlertSink
from mika_ops.ports.backlog import Backlog, BacklogInspector, BacklogReader, Due, NamesRows, StockDrift
from mika_ops.ports.email import (
    AbandoningSender,
    DrainedEmail,
    DrainedOutbox,
    EmailComposer,
    EmailOutbox,
    EmailSender,
    EmailSkipped,
    EmailUnrenderable,
    Envelope,
    SenderThrottled,
    SenderUnavailable,
    SendResult,
    ShardableOutbox,
)
from mika_ops.ports.ephemeral import EphemeralPurge, EphemeralRepository
from mika_ops.ports.stock import CustomerReservations, ReleasedReservations, ReservationRelease, StockRepository

__all__ = [
    "AbandoningSender",
    "AcpSessionCleanup",
    "AcpSessionEditor",
    "AdminApi",
    "Alert",
    "AlertKind",
    "AlertSink",
    "Backlog",
    "BacklogInspector",
    "BacklogReader",
    "Candidate",
    "Change",
    "Changes",
    "CleanedSessions",
    "CustomerReservations",
    "DocumentRepository",
    "DrainedEmail",
    "DrainedOutbox",
    "Due",
    "EmailComposer",
    "EmailOutbox",
    "EmailSender",
    "EmailSkipped",
    "EmailUnrenderable",
    "Envelope",
    "EphemeralPurge",
    "EphemeralRepository",
    "NamesRows",
    "Note",
    "OutOfTime",
    "ReleasedReservations",
    "ReplayedWebhook",
    "RepositoryUnavailable",
    "RepositoryUnreachable",
    "ReservationRelease",
    "Rule",
    "SendResult",
    "SenderThrottled",
    "SenderUnavailable",
    "ShardableOutbox",
    "StockDrift",
    "StockRepository",
    "never_out_of_time",
]
