"""Turns one leased email document into an ``Envelope`` (behaviour, section 3: prepare)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from babel import Locale
from babel.dates import format_date, format_time
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from mika_ops.email.address import mailbox
from mika_ops.email.one_line import one_line
from mika_ops.email.order_summary import order_summary
from mika_ops.email.wording import ORDER_SUBJECT, magic_link_wording
from mika_ops.ports import EmailSkipped, EmailUnrenderable, Envelope
from mika_ops.privacy import redacted
from mika_ops.rules.document import Document, MalformedDocument, metadata_of, record_of
from mika_ops.timestamps import to_datetime

LONGEST_SITE_NAME: Final = 100

_WITHOUT_TEMPLATE: Final = ("download", "admin_notification")
_NOT_TO_BE_CONFIRMED: Final = ("refunded", "cancelled")


@dataclass(frozen=True)
class Brand:
    """How the shop shows itself in its emails."""

    site_name: str = "Our shop"
    support_email: str | None = None
    account_url: str | None = None


class EmailRenderer:
    """Renders emails for one shop. Fits ``mika_ops.ports.EmailComposer``.

    Amounts and times are written as in ``locale``, such as ``en`` or ``de-AT``. Raises Babel's ``UnknownLocaleError``
    or ``ValueError`` for a locale that it does not know.
    """

    def __init__(self, brand: Brand, locale: str = "en") -> None:
        self._locale = Locale.parse(locale.replace("-", "_"))
        self._site_name = one_line(brand.site_name, longest=LONGEST_SITE_NAME)
        self._templates = Environment(
            loader=PackageLoader("mika_ops.email"),
            autoescape=select_autoescape(enabled_extensions=("html.j2",)),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self._templates.globals.update(
            site_name=self._site_name, support_email=brand.support_email, account_url=brand.account_url
        )

    def order_id_of(self, document: Document) -> str | None:
        """Return the id of the order that the email is about, or ``None`` where it needs none or names none."""
        if document.get("kind") != "order_confirmation":
            return None
        record = document.get("record")
        for holder in (document, record):
            order_id = holder.get("orderId") if isinstance(holder, dict) else None
            if isinstance(order_id, str) and order_id:
                return order_id
        return None

    def render(self, document: Document, order: Document | None) -> Envelope:
        """Make an email of the document; ``order`` is the one that ``order_id_of`` names, or ``None`` if not found.

        Raises ``EmailSkipped`` where it is not to be sent, ``EmailUnrenderable`` where it cannot be made.
        """
        try:
            match document.get("kind"):
                case "magic_link":
                    return self._magic_link(document)
                case "order_confirmation":
                    return self._order_confirmation(document, order)
                case kind if kind in _WITHOUT_TEMPLATE:
                    raise EmailSkipped(f"there is no template for emails of the kind {kind}")
                case _:
                    raise EmailSkipped("the email is of an unknown kind, for which there is no template")
        except MalformedDocument as error:
            raise EmailUnrenderable(f"the email's document cannot be read: {error}") from None

    def _magic_link(self, document: Document) -> Envelope:
        metadata = metadata_of(record_of(document))
        link = metadata.get("link")
        if not isinstance(link, str):
            link = metadata.get("url")
        if not isinstance(link, str) or not link:
            raise EmailSkipped("the email has no link to send")
        if not _is_link(link):
            raise EmailUnrenderable("the email's link is not an http or https address")
        wording = magic_link_wording(metadata.get("purpose"))
        return self._envelope(
            document,
            kind="magic_link",
            subject=wording.subject.format(site=self._site_name),
            facts={
                "wording": wording,
                "lead": wording.lead.format(site=self._site_name),
                "link": link,
                "expires_at": self._moment(metadata.get("expiresAt")),
            },
        )

    def _order_confirmation(self, document: Document, order: Document | None) -> Envelope:
        order_id = self.order_id_of(document)
        if order_id is None:
            raise EmailUnrenderable("the email names no order")
        named = redacted(order_id)
        if order is None or order.get("type") != "order":
            raise EmailUnrenderable(f"there is no order {named}")
        status = order.get("status")
        if status in _NOT_TO_BE_CONFIRMED:
            raise EmailSkipped(f"the order {named} is {status}")
        wanted = metadata_of(record_of(document)).get("orderLineIds")
        line_ids = {id_ for id_ in wanted if isinstance(id_, str)} if isinstance(wanted, list) else set()
        try:
            summary = order_summary(order, line_ids=line_ids, locale=self._locale)
        except MalformedDocument as error:
            raise EmailUnrenderable(f"the order {named} cannot be put into an email: {error}") from None
        return self._envelope(
            document,
            kind="order_confirmation",
            subject=ORDER_SUBJECT.format(number=summary.number, site=self._site_name),
            facts={"order": summary},
        )

    def _envelope(self, document: Document, *, kind: str, subject: str, facts: Mapping[str, Any]) -> Envelope:
        record = record_of(document)
        to = record.get("toEmail")
        if not isinstance(to, str) or mailbox(to) is None:
            raise EmailUnrenderable("the recipient's address is missing or not an address")
        email_id = document.get("id", record.get("id"))
        if not isinstance(email_id, str):
            raise EmailUnrenderable("the email's document has no id")
        key = record.get("idempotencyKey")
        return Envelope(
            email_id=email_id,
            kind=kind,
            to=to,
            subject=subject,
            text=self._templates.get_template(f"{kind}.txt.j2").render(facts),
            html=self._templates.get_template(f"{kind}.html.j2").render(subject=subject, **facts),
            idempotency_key=key if isinstance(key, str) else None,
            metadata=metadata_of(record),
        )

    def _moment(self, time: object) -> str | None:
        try:
            moment = to_datetime(time) if isinstance(time, str) else None
        except (ValueError, OverflowError):
            return None
        if moment is None:
            return None
        date = format_date(moment, "long", locale=self._locale)
        return f"{date}, {format_time(moment, 'short', locale=self._locale)} UTC"


def _is_link(text: str) -> bool:
    if not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
