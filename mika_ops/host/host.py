"""What a host may supply. Every component is optional; a subtask that lacks one is skipped with a reason."""

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
    """What a host may change about emails while it keeps the outbox that the settings describe.

    ``sender`` replaces SMTP and the folder. ``retry_delay`` returns the delay after a failed attempt, by the number of
    the attempt (1 for the first). ``brand`` and ``account_url`` replace the name, the support address and the account
    page from the settings, for the email of one document. A ``brand`` brings its account page with it.
    """

    sender: EmailSender | None = None
    retry_delay: Callable[[int], timedelta] | None = None
    brand: Brand | BrandOf | None = None
    account_url: AccountUrl | None = None


NO_OVERRIDES: Final = EmailOverrides()
"""Emails as the settings describe them."""


@dataclass(frozen=True)
class Host:
    """The components of one shop, each an object that fits its port, or ``None``; and its overrides of emails.

    A component may be created lazily (``mika_ops.lazily``). For a port with one method, it may be a function
    (``mika_ops.from_function``). ``alert_sink`` delivers the alerts.
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
