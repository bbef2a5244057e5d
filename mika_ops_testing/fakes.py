"""Fakes of what is outside the shop: a mail provider and an admin API that a test controls."""

from collections.abc import Callable
from dataclasses import dataclass, field

from mika_ops.email.content.renderer import Brand, EmailRenderer
from mika_ops.email.outbox.outbox import LeasedOutbox
from mika_ops.host.host import Host
from mika_ops.ports.admin_api import ReplayedWebhook
from mika_ops.ports.email import EmailSender, Envelope, SendResult
from mika_ops.ports.stock import ReleasedReservations
from mika_ops.store.acp_sessions import AcpSessionStore
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents
from mika_ops.store.ephemeral import EphemeralRows
from mika_ops.store.stock import StockRows


@dataclass
class Provider:
    """A mail provider: accepts every email after it called ``before``, which may raise."""

    before: Callable[[Envelope], None] = lambda _envelope: None
    taken: list[Envelope] = field(default_factory=list)

    def send(self, envelope: Envelope) -> SendResult:
        self.before(envelope)
        self.taken.append(envelope)
        return SendResult(f"pm-{envelope.email_id}")

    @property
    def ids(self) -> list[str]:
        return [envelope.email_id for envelope in self.taken]


@dataclass
class Api:
    """An admin API: answers every replay with ``answer`` of the webhook, and every release with ``released``.

    ``replayed`` and ``releases`` hold the webhook or the time of each call, with its key.
    """

    answer: Callable[[str], ReplayedWebhook] = lambda _webhook_id: ReplayedWebhook(ok=True)
    released: ReleasedReservations = field(default_factory=ReleasedReservations)
    replayed: list[tuple[str, str]] = field(default_factory=list)
    releases: list[tuple[str, str]] = field(default_factory=list)

    def release_expired_reservations(self, *, now: str, idempotency_key: str) -> ReleasedReservations:
        self.releases.append((now, idempotency_key))
        return self.released

    def replay_webhook(self, webhook_id: str, *, idempotency_key: str) -> ReplayedWebhook:
        self.replayed.append((webhook_id, idempotency_key))
        return self.answer(webhook_id)


def outbox_of(database: Database, sender: EmailSender) -> LeasedOutbox:
    return LeasedOutbox(Documents(database, "ops"), Documents(database, "ledger"), sender, EmailRenderer(Brand()))


def host_of(database: Database, sender: EmailSender | None = None, api: Api | None = None) -> Host:
    """Return a host with everything that a database gives, and the given sender and API."""
    stock, ephemeral = StockRows(database), EphemeralRows(database)
    return Host(
        email_outbox=None if sender is None else outbox_of(database, sender),
        ops=Documents(database, "ops"),
        account=Documents(database, "account"),
        ledger=Documents(database, "ledger"),
        session=Documents(database, "session"),
        stock=stock,
        ephemeral=ephemeral,
        acp_sessions=AcpSessionStore(database),
        reservation_release=stock,
        ephemeral_purge=ephemeral,
        admin_api=api,
    )
