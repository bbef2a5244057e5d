"""From the document to the mail server: what arrives of every kind, and what becomes of documents that are no good."""

from dataclasses import replace
from email.message import EmailMessage
from typing import Any

import pytest

from mika_ops.clock import Clock
from mika_ops.deadline import never_out_of_time
from mika_ops.documents.document import Document
from mika_ops.email.content.renderer import Brand, EmailRenderer
from mika_ops.email.smtp.sender import SmtpSender
from mika_ops.ports.email import DrainedOutbox
from mika_ops.store.database import Database
from mika_ops.timestamps import to_datetime
from mika_ops_testing.builders import NOW, documents_of, email, order, put
from mika_ops_testing.fakes import outbox_of
from mika_ops_testing.smtp_server import Mailroom, mail_server

BRAND = Brand("Tëa House", "help@shop.test", "https://shop.test/account")
LINK = "https://shop.test/in?token=abc&next=%2F"


def deliver(database: Database, mailroom: Mailroom, clock: Clock, brand: Brand = BRAND) -> DrainedOutbox:
    with SmtpSender(
        f"smtp://127.0.0.1:{mailroom.port}",
        sender='"Tëa House" <shop@shop.test>',
        reply_to="help@shop.test",
        bounce_address="bounces@shop.test",
        now=lambda: to_datetime(NOW),
    ) as smtp:
        outbox = replace(
            outbox_of(database, smtp), composer=EmailRenderer(brand, extra_kinds=("download", "admin_notification"))
        )
        return outbox.drain(clock, limit=None, out_of_time=never_out_of_time)


def arrived(database: Database, clock: Clock, *documents: Document) -> EmailMessage:
    """The one message that arrives of these documents."""
    put(database, "ops", *documents)
    with mail_server() as mailroom:
        drained = deliver(database, mailroom, clock)
    assert (drained.error, drained.sent) == (None, 1)
    (message,) = mailroom.messages
    (delivery,) = mailroom.deliveries
    assert (delivery.mail_from, delivery.rcpt_tos) == ("bounces@shop.test", ["zoe@example.test"])
    return message


def bodies(message: EmailMessage) -> tuple[str, str]:
    """The text and the HTML."""
    parts = [message.get_body((subtype,)) for subtype in ("plain", "html")]
    assert message.get_content_type() == "multipart/alternative"
    text, html = (str(part.get_content()) for part in parts if part is not None)
    return text, html


def to_zoe(kind: str, metadata: Document | None = None, **record: Any) -> Document:
    fields = {"idempotencyKey": "key:1", "metadata": metadata or {}, **record}
    return email(kind=kind, toEmail="zoe@example.test", **fields)


class TestKinds:
    @pytest.mark.parametrize("purpose", ["sign_in", "checkout", "account_delete"])
    def test_a_magic_link_arrives_with_its_link(self, purpose: str, database: Database, clock: Clock) -> None:
        document = to_zoe("magic_link", {"link": LINK, "purpose": purpose, "expiresAt": "2026-03-01T12:30:00Z"})
        message = arrived(database, clock, document)
        text, html = bodies(message)
        assert "Tëa House" in message["Subject"]
        assert LINK in text
        assert LINK.replace("&", "&amp;") in html
        assert "12:30" in text

    def test_an_order_confirmation_arrives_with_its_lines_and_totals(self, database: Database, clock: Clock) -> None:
        put(database, "ledger", order())
        message = arrived(database, clock, to_zoe("order_confirmation", orderId="order_1"))
        assert "N-order_1" in message["Subject"]
        for body in bodies(message):
            assert "Walnut bowl" in body
            assert "€15.00" in body

    def test_a_download_arrives_with_its_link(self, database: Database, clock: Clock) -> None:
        message = arrived(database, clock, to_zoe("download", {"link": LINK}))
        assert LINK in bodies(message)[0]

    def test_an_admin_notification_arrives_with_its_words(self, database: Database, clock: Clock) -> None:
        document = to_zoe("admin_notification", {"message": "Stock is low:\nWalnut bowl"}, subject="Stock is low")
        message = arrived(database, clock, document)
        assert "Stock is low" in message["Subject"]
        assert "Walnut bowl" in bodies(message)[0]

    def test_every_message_has_the_headers_of_an_automatic_email_from_the_shop(
        self, database: Database, clock: Clock
    ) -> None:
        message = arrived(database, clock, to_zoe("magic_link", {"link": LINK}))
        assert message["From"].addresses[0].display_name == "Tëa House"
        assert message["From"].addresses[0].addr_spec == "shop@shop.test"
        assert (message["To"], message["Reply-To"]) == ("zoe@example.test", "help@shop.test")
        assert message["Date"].datetime == to_datetime(NOW)
        assert message["Message-ID"].endswith("@shop.test>")
        assert message["Auto-Submitted"] == "auto-generated"
        assert message["Idempotency-Key"] == "key:1"
        stored = documents_of(database, "ops")["email_1"]
        assert (stored["status"], stored["record"]["providerMessageId"]) == ("sent", "ABC123")


def order_of(id_: str, *, amount: object = 1500, currency: object = "EUR", title: object = "Bowl") -> Document:
    line = {
        "id": "line_1",
        "item": {"titleSnapshot": title, "currency": currency},
        "quantity": 1,
        "totalAmount": amount,
    }
    money = {"amount": amount, "currency": currency}
    return {**order(id_), "aggregate": {"lines": [line], "totals": {"subtotal": money, "total": money}}}


BAD_EMAILS = {
    "address with a line break": email("bad", toEmail="eve@example.test\r\nBcc: mallory@example.test"),
    "address without a domain": email("bad", toEmail="eve"),
    "address that is a number": email("bad", toEmail=5),
    "link that runs a script": email("bad", metadata={"link": "javascript:alert(1)"}),
    "link to a file": email("bad", metadata={"link": "file:///etc/passwd"}),
}

BAD_ORDERS = {
    "amount that is a text": order_of("order_bad", amount="1500"),
    "amount that is half a cent": order_of("order_bad", amount=1500.5),
    "amount that is nothing": order_of("order_bad", amount=None),
    "currency that is none": order_of("order_bad", currency="not a currency"),
}


class TestBadInput:
    @pytest.mark.parametrize("name", BAD_EMAILS)
    def test_a_bad_email_fails_alone_and_says_why_without_repeating_it(
        self, name: str, database: Database, clock: Clock
    ) -> None:
        self.fails_alone(database, clock, BAD_EMAILS[name])

    @pytest.mark.parametrize("name", BAD_ORDERS)
    def test_a_bad_order_fails_the_emails_about_it_alone(self, name: str, database: Database, clock: Clock) -> None:
        put(database, "ledger", BAD_ORDERS[name])
        bad = email("bad", kind="order_confirmation", orderId="order_bad", top={"orderId": "order_bad"})
        self.fails_alone(database, clock, bad)

    def fails_alone(self, database: Database, clock: Clock, bad: Document) -> None:
        put(database, "ledger", order())
        put(database, "ops", bad, email("good", toEmail="zoe@example.test"))
        ledger = documents_of(database, "ledger")
        with mail_server() as mailroom:
            drained = deliver(database, mailroom, clock)
        assert (drained.error, drained.sent, drained.failed) == (None, 1, 1)
        assert [delivery.rcpt_tos for delivery in mailroom.deliveries] == [["zoe@example.test"]]
        stored = documents_of(database, "ops")
        assert (stored["bad"]["status"], stored["good"]["status"]) == ("failed", "sent")
        record, error = stored["bad"]["record"], stored["bad"]["record"]["lastError"]
        assert len(error) > 20
        assert not any(private in error for private in ("eve", "mallory", "script", "passwd"))
        assert (record["toEmail"], record["metadata"]) == (bad["record"]["toEmail"], bad["record"]["metadata"])
        assert documents_of(database, "ledger") == ledger

    def test_a_title_of_five_megabytes_makes_an_email_of_a_few_kilobytes(
        self, database: Database, clock: Clock
    ) -> None:
        put(database, "ledger", order_of("order_1", title="x" * 5_000_000))
        put(database, "ops", email(kind="order_confirmation", orderId="order_1", top={"orderId": "order_1"}))
        with mail_server() as mailroom:
            assert deliver(database, mailroom, clock).sent == 1
        (delivery,) = mailroom.deliveries
        assert delivery.content is not None
        assert len(delivery.content) < 50_000

    def test_a_site_name_with_line_breaks_adds_no_header(self, database: Database, clock: Clock) -> None:
        put(database, "ops", email())
        with mail_server() as mailroom:
            brand = Brand("Tea\r\nBcc: mallory@example.test\r\n\r\n<script>")
            assert deliver(database, mailroom, clock, brand).sent == 1
        (message,) = mailroom.messages
        assert message["Bcc"] is None
        assert "Tea Bcc: mallory@example.test <script>" in message["Subject"]
        assert "<script>" not in bodies(message)[1]
