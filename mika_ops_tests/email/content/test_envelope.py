"""The recipient and the headers of an email, whatever the document holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mika_ops.documents.document import Document
from mika_ops.email.content.renderer import Brand, EmailRenderer
from mika_ops.ports.email import EmailSkipped, EmailUnrenderable
from mika_ops_tests.email.arbitrary import HOSTILE, JSON, damaged
from mika_ops_tests.email.builders import (
    line,
    magic_link,
    money,
    order,
    order_confirmation,
    titled,
)
from mika_ops_tests.email.content.test_renderer import RENDERER, render
from mika_ops_tests.email.reading import markup_of, text_of


class TestRecipient:
    @pytest.mark.parametrize(
        "address",
        [
            "zoë+tag@exämple.test",
            "o'brien@example.test",
            "FAIL@example.test",
            "failing@example.test",
            "redacted-email_001@redacted.invalid",
            "a..b@example.test",
            "ada@localhost",
            "李@例え.テスト",
        ],
    )
    def test_a_plausible_address_is_kept_as_it_is(self, address: str) -> None:
        assert render(magic_link(toEmail=address)).to == address

    @pytest.mark.parametrize(
        "address",
        [
            None,
            7,
            "",
            "ada",
            "ada@",
            "@example.test",
            "ada@example..test",
            "ada@.test",
            "ada@exämple..test",
            f"ada@{'ä' * 80}.test",
            "ada@example.test, eve@example.test",
            "ada@example.test eve@example.test",
            "ada@eve@example.test",
            "Ada <ada@example.test>",
            "ada@example.test\r\nBcc: eve@example.test",
            "ada@example.test\n",
            "ada\x00@example.test",
            "=?utf-8?q?ada=0D=0ABcc?=@example.test",
            "ada\ud800@example.test",
            f"{'a' * 320}@example.test",
        ],
    )
    def test_what_is_not_one_address_cannot_be_rendered(self, address: object) -> None:
        with pytest.raises(EmailUnrenderable) as raised:
            render(magic_link(toEmail=address))
        assert str(raised.value) == "the recipient's address is missing or not an address"


class TestEnvelope:
    def test_it_carries_the_emails_id_and_kind(self) -> None:
        envelope = render(magic_link())
        assert (envelope.email_id, envelope.kind) == ("email_1", "magic_link")

    @pytest.mark.parametrize(("key", "carried"), [("magic-link:1", "magic-link:1"), (None, None), (7, None)])
    def test_it_carries_the_idempotency_key_where_that_is_text(self, key: object, carried: str | None) -> None:
        assert render(magic_link(idempotencyKey=key)).idempotency_key == carried

    def test_it_carries_the_metadata(self) -> None:
        metadata = {"link": "https://shop.test/in", "returnTo": "/cart"}
        assert render(magic_link(metadata)).metadata == metadata

    def test_without_metadata_it_carries_none(self) -> None:
        assert render(order_confirmation("no object"), order()).metadata == {}

    def test_an_email_without_an_id_cannot_be_rendered(self) -> None:
        with pytest.raises(EmailUnrenderable, match="no id"):
            render({**magic_link(), "id": 7})


class TestBrand:
    def test_the_shop_its_support_address_and_its_account_page_are_shown(self) -> None:
        brand = Brand("Tea & Co", "help@shop.test", "https://shop.test/account?a=1&b=2")
        envelope = EmailRenderer(brand).render(magic_link(), None)
        assert envelope.subject == "Sign in to Tea & Co"
        for fact in ("Tea & Co", "help@shop.test", "https://shop.test/account?a=1&b=2"):
            assert fact in envelope.text
        assert "Tea & Co" in text_of(envelope.html)
        assert 'href="mailto:help@shop.test"' in envelope.html
        assert 'href="https://shop.test/account?a=1&amp;b=2"' in envelope.html

    def test_what_the_shop_has_not_is_not_mentioned(self) -> None:
        envelope = render(magic_link())
        for content in (envelope.text, envelope.html):
            assert "Questions" not in content
            assert "Your account" not in content


EMAILS = (
    damaged(
        magic_link({"link": "https://shop.test/in", "purpose": "checkout", "expiresAt": "2026-03-01T12:00:00.000Z"})
    )
    | damaged(order_confirmation({"orderLineIds": ["line_1"]}))
    | st.just(order_confirmation())
)


ORDERS = st.none() | damaged(
    order(line("line_1"), line("line_2"), totals={"subtotal": money(3), "discount": money(1), "total": money(2)})
)


class TestWhateverTheDocument:
    @given(EMAILS, ORDERS)
    def test_it_is_rendered_skipped_or_unrenderable(self, document: Document, found: Document | None) -> None:
        RENDERER.order_id_of(document)
        try:
            envelope = render(document, found)
        except (EmailSkipped, EmailUnrenderable):
            return
        assert len(envelope.subject.splitlines()) == 1
        (envelope.text + envelope.html).encode()

    @given(st.dictionaries(st.text(), JSON), JSON)
    def test_any_object_at_all_is_distinguished(self, document: Document, record: object) -> None:
        for kind in ("magic_link", "order_confirmation"):
            with pytest.raises((EmailSkipped, EmailUnrenderable)):
                render({**document, "kind": kind, "record": record}, document)

    @given(st.text() | st.just(HOSTILE), st.text(min_size=1) | st.just(HOSTILE), st.text() | st.just(HOSTILE))
    def test_no_value_becomes_markup(self, title: str, number: str, site_name: str) -> None:
        def shape(number: str, title: str, site_name: str) -> list[str]:
            document = order(titled(title), orderNumber=f"N{number}")
            return markup_of(EmailRenderer(Brand(site_name)).render(order_confirmation(), document).html)

        assert shape(number, title, site_name) == shape("1", "Tea", "Tea House")

    @given(st.text() | st.just(HOSTILE))
    def test_a_subject_is_one_printable_line(self, value: str) -> None:
        envelope = EmailRenderer(Brand(value)).render(order_confirmation(), order(orderNumber=f"N{value}"))
        assert len(envelope.subject.splitlines()) == 1
        assert "\r" not in envelope.subject
        assert "\x00" not in envelope.subject
