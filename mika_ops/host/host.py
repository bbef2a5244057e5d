"""What a host may supply. Every piece is optional; a subtask that misses one is skipped and says so."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from mika_ops.documents.repository import DocumentRepository
from mika_ops.email.content.brand import AccountUrl, Brand, BrandOf
from mika_ops.ports.acp_sessions import AcpSessionCleanup
from mika_ops.ports.admin_api import AdminApi
from mika_ops.ports.alerts import AlertSink
from mika_ops.ports.backlog import BacklogReader
from mika_ops.ports.email import EmailOutbox, EmailSender
from mika_ops.ports.ephemeral import EphemeralPurge, EphemeralRepository
from mika_ops.ports.stock import ReservationRelease, StockRepository


@dataclass(frozen=True)
class EmailOverrides:
    """What a host may change about emails while the outbox stays the one that the settings describe.

    ``sender`` takes the place of SMTP and of the folder; ``retry_delay`` gives the wait after a failed attempt, by the
    attempt's number (1 for the first); ``brand`` and ``account_url`` say how the shop shows itself in the email of one
    document, in the place of the settings' name, support address and account page. With ``brand``, its own account page
    counts.
    """

    sender: EmailSender | None = None
    retry_delay: Callable[[int], timedelta] | None = None
    brand: Brand | BrandOf | None = None
    account_url: AccountUrl | None = None


NO_OVERRIDES: Final = EmailOverrides()
"""Emails as the settings describe them."""


@dataclass(frozen=True)
class Host:
    """The pieces of one shop, each an object that fits its port, or ``None``; and its own parts of emails.

    A piece may also be made by the first run of a process (``mika_ops.lazily``), and be a function where its port has
    one method only (``mika_ops.from_function``). ``alert_sink`` delivers the alerts.
    """

    email_outbox: EmailOutbox | None = None
    ops: DocumentRepository | None = None
    account: DocumentRepository | None = None
    ledger: DocumentRepository | None = None
    session: DocumentRepository | None = None
    stock: StockRepository | None = None
    ephemeral: EphemeralRepository | None = None
    acp_sessions: AcpSessionCleanup | None = None
    reservation_release: ReservationRelease | None = None
    ephemeral_purge: EphemeralPurge | None = None
    admin_api: AdminApi | None = None
    backlog: BacklogReader | None = None
    email: EmailOverrides = NO_OVERRIDES
    alert_sink: AlertSink | None = None
