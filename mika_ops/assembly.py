"""Assembles a host from settings: opens the configured components, and closes them again."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Final

from mika_ops.config.errors import SettingsError
from mika_ops.config.shop import Shop
from mika_ops.config.validators import reveal
from mika_ops.documents.document import Document
from mika_ops.documents.repository import DocumentRepository
from mika_ops.email.content.brand import Brand
from mika_ops.email.directory import FileSink
from mika_ops.email.outbox.outbox import LeasedOutbox
from mika_ops.email.smtp.sender import SmtpSender
from mika_ops.host.components import COMPONENTS
from mika_ops.host.host import NO_OVERRIDES, EmailOverrides, Host
from mika_ops.host.lazy import resolve_host
from mika_ops.ports.email import EmailComposer, EmailOutbox, EmailSender, Envelope
from mika_ops.rules import email as email_rules
from mika_ops.store.acp_sessions import AcpSessionStore
from mika_ops.store.backlog import DatabaseBacklog
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents
from mika_ops.store.ephemeral import EphemeralRows
from mika_ops.store.opening import open_database
from mika_ops.store.stock import StockRows

if TYPE_CHECKING:
    from mika_ops.admin_api.client import MikaAdminApi

DATABASE_COMPONENTS: Final = frozenset(COMPONENTS) - {"email_outbox", "admin_api"}
"""The components that a configured database supplies."""

SINK_SENDER: Final = "mika-ops <mika-ops@localhost>"
"""The sender of emails that are written into a folder if none is set."""


def configured_components(shop: Shop) -> frozenset[str]:
    """Return the names of the components that the host supplies or the settings configure. Opens nothing."""
    settings, supplied = shop.settings, shop.supplied
    components = {name for name in COMPONENTS if getattr(supplied, name) is not None}
    if settings.database_url is not None:
        components |= DATABASE_COMPONENTS
    if settings.admin_api_url is not None:
        components.add("admin_api")
    senders = (supplied.email.sender, settings.smtp_url, settings.email_directory)
    if any(sender is not None for sender in senders) and components >= {"ops", "ledger"}:
        components.add("email_outbox")
    return frozenset(components)


def require_database_for_email(shop: Shop) -> None:
    """Raise ``SettingsError`` if the settings configure sending emails without a database that holds the outbox."""
    sends = shop.settings.smtp_url is not None or shop.settings.email_directory is not None
    if sends and "email_outbox" not in configured_components(shop):
        raise SettingsError(f"emails are configured without {shop.names('database_url')}, where the outbox is")


def open_shop_database(shop: Shop, *, to_prepare: bool = False) -> Database:
    """Open the shop's database, changing nothing; ``to_prepare`` as in ``open_database``.

    Raises ``SettingsError`` if none is configured, and ``UnusableDatabase`` if it cannot be reached or does not belong
    to a Mika site.
    """
    settings = shop.settings
    if settings.database_url is None:
        raise SettingsError(f"{shop.names('database_url')} is not set: there is no database to open")
    return open_database(
        settings.database_url.get_secret_value(),
        plugin_id=settings.plugin_id,
        names=shop.names,
        to_prepare=to_prepare,
    )


@contextmanager
def open_host(shop: Shop) -> Iterator[Host]:
    """Open the components of a shop, changing nothing, and close them at the end; supplied components take precedence.

    Raises ``UnusableDatabase`` if the database cannot be reached or does not belong to a Mika site, and ``InvalidHost``
    if a component that was created lazily does not fit its port.
    """
    with ExitStack() as stack:
        supplied = resolve_host(shop.supplied)
        given = {name: value for name in COMPONENTS if (value := getattr(supplied, name)) is not None}
        host = replace(_open_from_settings(shop, stack), email=supplied.email, **given)
        if host.email_outbox is None and host.ops is not None and host.ledger is not None:
            sender = host.email.sender if host.email.sender is not None else _sender(shop, stack)
            if sender is not None:
                host = replace(host, email_outbox=_outbox(shop, host.ops, host.ledger, sender, host.email))
        yield host


def _open_from_settings(shop: Shop, stack: ExitStack) -> Host:
    """Open what the settings configure, except the outbox."""
    admin_api = stack.enter_context(admin_api_of(shop)) if shop.settings.admin_api_url is not None else None
    if shop.settings.database_url is None:
        return Host(admin_api=admin_api)
    database = stack.enter_context(open_shop_database(shop))
    stock, ephemeral = StockRows(database), EphemeralRows(database)
    return Host(
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


def _sender(shop: Shop, stack: ExitStack) -> EmailSender | None:
    settings = shop.settings
    if settings.email_directory is not None:
        return FileSink(
            settings.email_directory,
            sender=settings.email_from or SINK_SENDER,
            reply_to=settings.email_reply_to,
            names=shop.names,
        )
    sender = smtp_sender(shop)
    return None if sender is None else stack.enter_context(sender)


def smtp_sender(shop: Shop) -> SmtpSender | None:
    """Return the sender for the mail server of the settings, or ``None`` if they name none. Does not connect."""
    settings = shop.settings
    if settings.smtp_url is None or settings.email_from is None:
        return None
    return SmtpSender(
        settings.smtp_url.get_secret_value(),
        sender=settings.email_from,
        username=reveal(settings.smtp_username),
        password=reveal(settings.smtp_password),
        reply_to=settings.email_reply_to,
        bounce_address=settings.email_bounce_address,
        verify_tls=settings.smtp_verify_tls,
        connect_timeout_seconds=settings.smtp_connect_timeout_seconds,
        timeout_seconds=settings.smtp_timeout_seconds,
        messages_per_connection=settings.smtp_messages_per_connection,
        names=shop.names,
    )


def _outbox(
    shop: Shop, ops: DocumentRepository, ledger: DocumentRepository, sender: EmailSender, parts: EmailOverrides
) -> EmailOutbox:
    settings = shop.settings
    return LeasedOutbox(
        ops=ops,
        ledger=ledger,
        sender=sender,
        composer=LazyComposer(shop, parts),
        lease=timedelta(minutes=settings.email_lease_minutes),
        send_timeout=timedelta(seconds=settings.smtp_connect_timeout_seconds + settings.smtp_timeout_seconds),
        concurrency=settings.email_concurrency,
        max_per_second=settings.email_max_per_second,
        retry_delay=parts.retry_delay or email_rules.retry_delay,
    )


def email_renderer(shop: Shop, parts: EmailOverrides = NO_OVERRIDES) -> EmailComposer:
    """Return the renderer of the shop's emails, with the overrides of its host."""
    from mika_ops.email.content.renderer import EmailRenderer

    settings = shop.settings
    account_url = parts.account_url or settings.account_url
    return EmailRenderer(
        parts.brand or Brand(settings.site_name, settings.support_email, account_url),
        settings.locale,
        extra_kinds=settings.email_extra_kinds,
        templates=settings.email_templates,
        names=shop.names,
    )


class LazyComposer:
    """Loads the templates with the first email: most runs send none, and do not wait for them."""

    def __init__(self, shop: Shop, parts: EmailOverrides) -> None:
        self._shop = shop
        self._parts = parts

    def order_id_of(self, document: Document) -> str | None:
        return self._composer.order_id_of(document)

    def render(self, document: Document, order: Document | None) -> Envelope:
        return self._composer.render(document, order)

    @cached_property
    def _composer(self) -> EmailComposer:
        return email_renderer(self._shop, self._parts)


@contextmanager
def admin_api_of(shop: Shop) -> Iterator["MikaAdminApi"]:
    """Open the client of the admin API that the settings name. Makes no call."""
    from mika_ops.admin_api.client import MikaAdminApi

    settings = shop.settings
    if settings.admin_api_url is None or settings.admin_api_token is None:
        raise TypeError("the admin API is configured with both its URL and its token")
    with MikaAdminApi(
        settings.admin_api_url,
        settings.admin_api_token.get_secret_value(),
        timeout_seconds=settings.admin_api_timeout_seconds,
        names=shop.names,
    ) as api:
        yield api
