"""Assembling a host from settings: opening what is configured, and closing it again."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import cached_property

from pydantic import SecretStr

from mika_ops.email.brand import Brand
from mika_ops.email.file_sink import FileSink
from mika_ops.email.outbox import LeasedOutbox
from mika_ops.email.smtp import SmtpSender
from mika_ops.host import NO_PARTS, PIECES, EmailParts, Host
from mika_ops.ports import AdminApi, EmailComposer, EmailOutbox, EmailSender, Envelope
from mika_ops.rules import email as email_rules
from mika_ops.rules.document import Document
from mika_ops.settings import Settings
from mika_ops.store.acp import AcpSessionStore
from mika_ops.store.backlog import DatabaseBacklog
from mika_ops.store.documents import Documents
from mika_ops.store.engine import Database, open_database
from mika_ops.store.ephemeral import EphemeralRows
from mika_ops.store.stock import StockRows

_FROM_DATABASE = frozenset(PIECES) - {"email_outbox", "admin_api"}

SINK_SENDER = "mika-ops <mika-ops@localhost>"
"""The sender of emails that are written into a folder where none is set."""


def configured_pieces(settings: Settings, email: EmailParts = NO_PARTS) -> frozenset[str]:
    """Return which pieces of ``Host`` the settings ask for, given a host's own parts of emails, without opening any."""
    pieces: set[str] = set()
    if settings.database_url is not None:
        pieces |= _FROM_DATABASE
        if email.sender is not None or settings.smtp_url is not None or settings.email_directory is not None:
            pieces.add("email_outbox")
    if settings.admin_api_url is not None:
        pieces.add("admin_api")
    return frozenset(pieces)


@contextmanager
def assembled(settings: Settings, email: EmailParts = NO_PARTS) -> Iterator[Host]:
    """Open what the settings ask for, changing nothing, and close it at the end; ``email``: a host's own parts.

    Raises ``UnusableDatabase`` where the database cannot be reached or is no Mika site's.
    """
    with ExitStack() as stack:
        admin_api = stack.enter_context(_admin_api(settings)) if settings.admin_api_url is not None else None
        if settings.database_url is None:
            yield Host(admin_api=admin_api)
            return
        database = stack.enter_context(
            open_database(settings.database_url.get_secret_value(), plugin_id=settings.plugin_id)
        )
        stock, ephemeral = StockRows(database), EphemeralRows(database)
        sender = email.sender or _sender(settings, stack)
        yield Host(
            email_outbox=None if sender is None else _outbox(settings, database, sender, email),
            ops=Documents(database, "ops"),
            account=Documents(database, "account"),
            ledger=Documents(database, "ledger"),
            session=Documents(database, "session"),
            stock=stock,
            ephemeral=ephemeral,
            acp_sessions=AcpSessionStore(database) if database.has_acp_sessions else None,
            reservation_release=stock,
            ephemeral_purge=ephemeral,
            admin_api=admin_api,
            backlog=DatabaseBacklog(database),
        )


def _sender(settings: Settings, stack: ExitStack) -> EmailSender | None:
    if settings.email_directory is not None:
        return FileSink(
            settings.email_directory, sender=settings.email_from or SINK_SENDER, reply_to=settings.email_reply_to
        )
    if settings.smtp_url is not None and settings.email_from is not None:
        return stack.enter_context(
            SmtpSender(
                settings.smtp_url.get_secret_value(),
                sender=settings.email_from,
                username=_secret(settings.smtp_username),
                password=_secret(settings.smtp_password),
                reply_to=settings.email_reply_to,
                bounce_address=settings.email_bounce_address,
                verify_tls=settings.smtp_verify_tls,
                connect_timeout_seconds=settings.smtp_connect_timeout_seconds,
                timeout_seconds=settings.smtp_timeout_seconds,
                messages_per_connection=settings.smtp_messages_per_connection,
            )
        )
    return None


def _secret(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()


def _outbox(settings: Settings, database: Database, sender: EmailSender, parts: EmailParts) -> EmailOutbox:
    return LeasedOutbox(
        ops=Documents(database, "ops"),
        ledger=Documents(database, "ledger"),
        sender=sender,
        composer=_ComposerOnFirstUse(settings, parts),
        lease=timedelta(minutes=settings.email_lease_minutes),
        send_timeout=timedelta(seconds=settings.smtp_connect_timeout_seconds + settings.smtp_timeout_seconds),
        concurrency=settings.email_concurrency,
        max_per_second=settings.email_max_per_second,
        retry_delay=parts.retry_delay or email_rules.retry_delay,
    )


def email_renderer(settings: Settings, parts: EmailParts = NO_PARTS) -> EmailComposer:
    """Return what makes the shop's emails; its templates are read when the first email needs them."""
    from mika_ops.email.render import EmailRenderer

    account_url = parts.account_url or settings.account_url
    return EmailRenderer(
        parts.brand or Brand(settings.site_name, settings.support_email, account_url),
        settings.locale,
        extra_kinds=settings.email_extra_kinds,
        templates=settings.email_templates,
    )


class _ComposerOnFirstUse:
    """Loads the templates with the first email: a run without any, as most are, need not wait for them."""

    def __init__(self, settings: Settings, parts: EmailParts) -> None:
        self._settings = settings
        self._parts = parts

    def order_id_of(self, document: Document) -> str | None:
        return self._composer.order_id_of(document)

    def render(self, document: Document, order: Document | None) -> Envelope:
        return self._composer.render(document, order)

    @cached_property
    def _composer(self) -> EmailComposer:
        return email_renderer(self._settings, self._parts)


@contextmanager
def _admin_api(settings: Settings) -> Iterator[AdminApi]:
    from mika_ops.admin_api import MikaAdminApi

    if settings.admin_api_url is None or settings.admin_api_token is None:
        raise TypeError("the admin API is configured with both its URL and its token")
    with MikaAdminApi(
        settings.admin_api_url,
        settings.admin_api_token.get_secret_value(),
        timeout_seconds=settings.admin_api_timeout_seconds,
    ) as api:
        yield api
