"""The components of a host: the port of each, its purpose, and the settings that configure it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mika_ops.documents.repository import DocumentRepository
from mika_ops.host.host import Host
from mika_ops.ports.acp_sessions import AcpSessionCleanup
from mika_ops.ports.admin_api import AdminApi
from mika_ops.ports.backlog import BacklogReader
from mika_ops.ports.email import EmailOutbox
from mika_ops.ports.ephemeral import EphemeralPurge, EphemeralRepository
from mika_ops.ports.stock import ReservationRelease, StockRepository
from mika_ops.setting_names import SettingNames


@dataclass(frozen=True)
class Component:
    """One field of ``Host``: the port it fits, what it is for, and how to get it by settings."""

    port: type
    purpose: str
    remedy: Callable[[SettingNames], str]


def _database(names: SettingNames) -> str:
    return f"set {names('database_url')}"


def _admin_api(names: SettingNames) -> str:
    return f"set {names('admin_api_url')} and {names('admin_api_token')}"


def _email(names: SettingNames) -> str:
    smtp = f"{names('smtp_url')} with {names('email_from')}"
    return f"{_database(names)} and either {smtp} or {names('email_directory')}"


def _acp_sessions(names: SettingNames) -> str:
    return f"{_database(names)} and create the session tables with `mika-ops db prepare`"


COMPONENTS: Final[dict[str, Component]] = {
    "email_outbox": Component(
        EmailOutbox,
        "Drains the email outbox: leases due emails, renders and sends them, and records each result.",
        _email,
    ),
    "ops": Component(
        DocumentRepository, "The ops documents: emails, webhooks, workflows, account requests.", _database
    ),
    "account": Component(DocumentRepository, "The account documents: customers, subscriptions, licenses.", _database),
    "ledger": Component(DocumentRepository, "The ledger documents: orders.", _database),
    "session": Component(DocumentRepository, "The session documents: carts and checkouts.", _database),
    "stock": Component(StockRepository, "The stock reservations, by customer.", _database),
    "ephemeral": Component(EphemeralRepository, "The ephemeral rows: tokens, rate limits, locks, nonces.", _database),
    "acp_sessions": Component(
        AcpSessionCleanup,
        "Cleans up ACP checkout sessions.",
        _acp_sessions,
    ),
    "reservation_release": Component(ReservationRelease, "Releases expired stock reservations.", _database),
    "ephemeral_purge": Component(EphemeralPurge, "Purges expired ephemeral rows.", _database),
    "admin_api": Component(AdminApi, "The site's Mika admin API: releases stock and replays webhooks.", _admin_api),
    "backlog": Component(
        BacklogReader,
        "Reads the backlog of each subtask, for the schedule and for the summary of a run.",
        _database,
    ),
}
"""Every component of ``Host``, by field name."""


def configured_in(host: Host) -> frozenset[str]:
    """Return the names of the components that a host has."""
    return frozenset(name for name in COMPONENTS if getattr(host, name) is not None)
