"""The components of a host: the port of each, its purpose, and the settings that configure it."""

from dataclasses import dataclass
from typing import Final

from mika_ops.documents.repository import DocumentRepository
from mika_ops.ports.acp_sessions import AcpSessionCleanup
from mika_ops.ports.admin_api import AdminApi
from mika_ops.ports.backlog import BacklogReader
from mika_ops.ports.email import EmailOutbox
from mika_ops.ports.ephemeral import EphemeralPurge, EphemeralRepository
from mika_ops.ports.stock import ReservationRelease, StockRepository


@dataclass(frozen=True)
class Component:
    """One field of ``Host``: the port it fits, what it is for, and how to get it by settings."""

    port: type
    purpose: str
    setting: str


_DATABASE: Final = "set MIKA_DATABASE_URL"


_ADMIN_API: Final = "set MIKA_ADMIN_API_URL and MIKA_ADMIN_API_TOKEN"


COMPONENTS: Final[dict[str, Component]] = {
    "email_outbox": Component(
        EmailOutbox,
        "Drains the email outbox: leases due emails, renders and sends them, and records what became of each.",
        "set MIKA_DATABASE_URL and either MIKA_SMTP_URL with MIKA_EMAIL_FROM or MIKA_EMAIL_DIRECTORY",
    ),
    "ops": Component(
        DocumentRepository, "The ops documents: emails, webhooks, workflows, account requests.", _DATABASE
    ),
    "account": Component(DocumentRepository, "The account documents: customers, subscriptions, licenses.", _DATABASE),
    "ledger": Component(DocumentRepository, "The ledger documents: orders.", _DATABASE),
    "session": Component(DocumentRepository, "The session documents: carts and checkouts.", _DATABASE),
    "stock": Component(StockRepository, "The stock reservations, by customer.", _DATABASE),
    "ephemeral": Component(EphemeralRepository, "The ephemeral rows: tokens, rate limits, locks, nonces.", _DATABASE),
    "acp_sessions": Component(
        AcpSessionCleanup,
        "Cleans up ACP checkout sessions.",
        f"{_DATABASE} and create the session tables with `mika-ops db prepare`",
    ),
    "reservation_release": Component(ReservationRelease, "Releases expired stock reservations.", _DATABASE),
    "ephemeral_purge": Component(EphemeralPurge, "Purges expired ephemeral rows.", _DATABASE),
    "admin_api": Component(AdminApi, "The site's Mika admin API: releases stock and replays webhooks.", _ADMIN_API),
    "backlog": Component(
        BacklogReader,
        "Reads how much waits for each subtask, for the schedule and for the summary of a run.",
        _DATABASE,
    ),
}
"""Every piece of ``Host``, by field name."""
