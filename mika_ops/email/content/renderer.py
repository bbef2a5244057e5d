"""Turns one leased email document into an ``Envelope`` (behaviour, section 3: prepare)."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from babel import Locale
from babel.dates import format_date, format_time

from mika_ops.documents.document import Document, MalformedDocument, metadata_of, record_of
from mika_ops.email import kinds
from mika_ops.email.address import mailbox
from mika_ops.email.content.brand import Brand, BrandOf, ResolvedBrand, resolve_brand
from mika_ops.email.content.details import lines_of_text, outline_details
from mika_ops.email.content.magic_link import magic_link_purpose, magic_link_wording
from mika_ops.email.content.order import order_summary, order_titles
from mika_ops.email.content.template_set import TemplateSet
from mika_ops.email.links import is_link
from mika_ops.email.message import LONGEST_SUBJECT
from mika_ops.email.text import one_line
from mika_ops.ports.email import EmailSkipped, EmailUnrenderable, Envelope
from mika_ops.redaction import redact
from mika_ops.rules.email import link_in
from mika_ops.setting_names import PLAIN_NAMES, SettingNames
from mika_ops.timestamps import to_datetime

__all__ = ["Brand", "EmailRenderer"]

LONGEST_HEADLINE: Final = 200

_VOID_STATUSES: Final = ("refunded", "cancelled")


class EmailRenderer:
    """Renders emails for one shop. Fits ``mika_ops.ports.EmailComposer``.

    ``brand`` is the shop's, or a function that gives it for one email's document. Amounts and times are written as in
    ``locale``, such as ``en`` or ``de-AT``. Of ``kinds.EXTRA_KINDS``, those that ``extra_kinds`` does not name are
    skipped. Templates in the folder ``templates`` replace the built-in ones of the same name.

    Raises Babel's ``UnknownLocaleError`` or ``ValueError`` for a locale that it does not know, ``ValueError`` for an
    unknown extra kind. An error in a template is raised when an email needs it.
    """

    def __init__(
        self,
        brand: Brand | BrandOf,
        locale: str = "en",
        *,
        extra_kinds: Collection[str] = (),
        templates: Path | None = None,
        names: SettingNames = PLAIN_NAMES,
    ) -> None:
        self._names = names
        self._brand = brand
        self._locale = Locale.parse(locale.replace("-", "_"))
        self._extra_kinds = kinds.require_extra_kinds(tuple(extra_kinds))
        self._templates = TemplateSet(templates, names=names)

    def order_id_of(self, document: Document) -> str | None:
        """Return the id of the order that the email is about, or ``None`` if it needs or names no order."""
        kind = document.get("kind")
        if kind != kinds.ORDER_CONFIRMATION and not (kind == kinds.DOWNLOAD and kind in self._extra_kinds):
            return None
        record = document.get("record")
        for holder in (document, record):
            order_id = holder.get("orderId") if isinstance(holder, dict) else None
            if isinstance(order_id, str) and order_id:
                return order_id
        return None

    def render(self, document: Document, order: Document | None) -> Envelope:
        """Render the document as an email; ``order`` is the one that ``order_id_of`` names, or ``None`` if not found.

        Raises ``EmailSkipped`` if it must not be sent, ``EmailUnrenderable`` if it cannot be rendered, and whatever a
        host's function for the brand or the account page raises.
        """
        kind = document.get("kind")
        if kind in kinds.EXTRA_KINDS and kind not in self._extra_kinds:
            raise EmailSkipped(
                f"emails of the kind {kind} are sent only where {self._names('email_extra_kinds')} names it"
            )
        if kind not in kinds.KINDS:
            raise EmailSkipped("the email is of an unknown kind, for which there is no template")
        try:
            head = self._letterhead(document)
            return self._envelope(document, {**vars(head), **self._facts(document, order, head)})
        except MalformedDocument as error:
            raise EmailUnrenderable(f"the email's document cannot be read: {error}") from None

    def _facts(self, document: Document, order: Document | None, head: ResolvedBrand) -> Mapping[str, Any]:
        """Return the variables for the templates of the document's kind (docs/email-templates.md)."""
        record = record_of(document)
        match document["kind"]:
            case kinds.MAGIC_LINK:
                return self._magic_link(metadata_of(record), head)
            case kinds.ORDER_CONFIRMATION:
                return self._order_confirmation(self.order_id_of(document), order, metadata_of(record))
            case kinds.DOWNLOAD:
                return self._download(self.order_id_of(document), order, metadata_of(record))
            case _:
                return self._admin_notification(record, head)

    def _letterhead(self, document: Document) -> ResolvedBrand:
        record_of(document)  # a host's function need not check that there is one
        return resolve_brand(self._brand, document)

    def _magic_link(self, metadata: Document, head: ResolvedBrand) -> Mapping[str, Any]:
        purpose = magic_link_purpose(metadata.get("purpose"))
        return {
            "purpose": purpose,
            "wording": magic_link_wording(purpose, site_name=head.site_name),
            "link": _needed_link(metadata),
            "expires_at": self._moment(metadata.get("expiresAt")),
        }

    def _order_confirmation(
        self, order_id: str | None, order: Document | None, metadata: Document
    ) -> Mapping[str, Any]:
        if order_id is None:
            raise EmailUnrenderable("the email names no order")
        named = redact(order_id)
        if order is None or order.get("type") != "order":
            raise EmailUnrenderable(f"there is no order {named}")
        _require_active(order, named)
        try:
            summary = order_summary(order, line_ids=_line_ids(metadata), locale=self._locale)
        except MalformedDocument as error:
            raise EmailUnrenderable(f"the order {named} cannot be put into an email: {error}") from None
        return {"order": summary}

    def _download(self, order_id: str | None, order: Document | None, metadata: Document) -> Mapping[str, Any]:
        link = _needed_link(metadata)
        named = None
        if order_id is not None and order is not None and order.get("type") == "order":
            _require_active(order, redact(order_id))
            named = order_titles(order, line_ids=_line_ids(metadata))
        return {
            "link": link,
            "order": named,
            "expires_at": self._moment(metadata.get("expiresAt")),
        }

    def _admin_notification(self, record: Document, head: ResolvedBrand) -> Mapping[str, Any]:
        metadata = metadata_of(record)
        subject, message = record.get("subject"), metadata.get("message")
        headline = one_line(subject, longest=LONGEST_HEADLINE) if isinstance(subject, str) else ""
        lines = lines_of_text(message) if isinstance(message, str) else []
        details = metadata.get("details")
        if not lines and details is not None:
            lines = lines_of_text(details) if isinstance(details, str) else outline_details(details)
        link = link_in(metadata)
        if link is not None and not is_link(link):
            link = None
        if not headline and not lines and link is None:
            raise EmailSkipped("the email has no content: no subject, no message, no details and no link")
        return {"headline": headline or f"Notification from {head.site_name}", "lines": lines, "link": link}

    def _envelope(self, document: Document, facts: Mapping[str, Any]) -> Envelope:
        record = record_of(document)
        to = record.get("toEmail")
        if not isinstance(to, str) or mailbox(to) is None:
            raise EmailUnrenderable("the recipient's address is missing or not an address")
        email_id = document.get("id", record.get("id"))
        if not isinstance(email_id, str):
            raise EmailUnrenderable("the email's document has no id")
        kind, key = document["kind"], record.get("idempotencyKey")
        subject = self._subject(kind, facts)
        return Envelope(
            email_id=email_id,
            kind=kind,
            to=to,
            subject=subject,
            text=self._templates.render(f"{kind}.txt.j2", {**facts, "subject": subject}),
            html=self._templates.render(f"{kind}.html.j2", {**facts, "subject": subject}),
            idempotency_key=key if isinstance(key, str) else None,
            metadata=metadata_of(record),
        )

    def _subject(self, kind: str, facts: Mapping[str, Any]) -> str:
        name = f"{kind}.subject.txt.j2"
        subject = one_line(self._templates.render(name, facts), longest=LONGEST_SUBJECT)
        if not subject:
            raise EmailUnrenderable(f"the template {name} makes an empty subject")
        return subject

    def _moment(self, time: object) -> str | None:
        try:
            moment = to_datetime(time) if isinstance(time, str) else None
        except (ValueError, OverflowError):
            return None
        if moment is None:
            return None
        date = format_date(moment, "long", locale=self._locale)
        return f"{date}, {format_time(moment, 'short', locale=self._locale)} UTC"


def _needed_link(metadata: Document) -> str:
    link = link_in(metadata)
    if link is None:
        raise EmailSkipped("the email has no link to send")
    if not is_link(link):
        raise EmailUnrenderable("the email's link is not an http or https address")
    return link


def _require_active(order: Document, named: str) -> None:
    status = order.get("status")
    if status in _VOID_STATUSES:
        raise EmailSkipped(f"the order {named} is {status}")


def _line_ids(metadata: Document) -> set[str]:
    wanted = metadata.get("orderLineIds")
    return {id_ for id_ in wanted if isinstance(id_, str)} if isinstance(wanted, list) else set()
