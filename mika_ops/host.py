"""What a host may supply. Every piece is optional; a subtask that misses one is skipped and says so."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from mika_ops.email.brand import AccountUrl, Brand, BrandOf
from mika_ops.ports import (
    AcpSessionCleanup,
    AdminApi,
    AlertSink,
    BacklogReader,
    DocumentRepository,
    EmailOutbox,
    EmailSender,
    EphemeralPurge,
    EphemeralRepository,
    ReservationRelease,
    StockRepository,
)


@dataclass(frozen=True)
class EmailParts:
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


NO_PARTS: Final = EmailParts()
"""Emails as the settings describe them."""


@dataclass(frozen=True)
class Host:
    """The pieces of one shop, each an object that fits its port, or ``None``; and its own parts of emails.

    A piece may also be made by the first run of a process (``mika_ops.made_by``), and be a function where its port has
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
    email: EmailParts = NO_PARTS
    alert_sink: AlertSink | None = None


@dataclass(frozen=True)
class Piece:
    """One field of ``Host``: the port it fits, what it is for, and how to get it by settings."""

    port: type
    purpose: str
    setting: str


_DATABASE: Final = "set MIKA_DATABASE_URL"
_ADMIN_API: Final = "set MIKA_ADMIN_API_URL and MIKA_ADMIN_API_TOKEN"

PIECES: Final[dict[str, Piece]] = {
    "email_outbox": Piece(
        EmailOutbox,
        "Drains the email outbox: leases due emails, renders and sends them, and records what became of each.",
        "set MIKA_DATABASE_URL and either MIKA_SMTP_URL with MIKA_EMAIL_FROM or MIKA_EMAIL_DIRECTORY",
    ),
    "ops": Piece(DocumentRepository, "The ops documents: emails, webhooks, workflows, account requests.", _DATABASE),
    "account": Piece(DocumentRepository, "The account documents: customers, subscriptions, licenses.", _DATABASE),
    "ledger": Piece(DocumentRepository, "The ledger documents: orders.", _DATABASE),
    "session": Piece(DocumentRepository, "The session documents: carts and checkouts.", _DATABASE),
    "stock": Piece(StockRepository, "The stock reservations, by customer.", _DATABASE),
    "ephemeral": Piece(EphemeralRepository, "The ephemeral rows: tokens, rate limits, locks, nonces.", _DATABASE),
    "acp_sessions": Piece(
        AcpSessionCleanup,
        "Cleans up ACP checkout sessions.",
        f"{_DATABASE} and create the session tables with `mika-ops db prepare`",
    ),
    "reservation_release": Piece(ReservationRelease, "Releases expired stock reservations.", _DATABASE),
    "ephemeral_purge": Piece(EphemeralPurge, "Purges expired ephemeral rows.", _DATABASE),
    "admin_api": Piece(AdminApi, "The site's Mika admin API: releases stock and replays webhooks.", _ADMIN_API),
    "backlog": Piece(
        BacklogReader,
        "Reads how much waits for each subtask, for the schedule and for the summary of a run.",
        _DATABASE,
    ),
}
"""Every piece of ``Host``, by field name."""
