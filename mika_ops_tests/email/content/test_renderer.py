"""How an outbox document is rendered, and when it is skipped."""

from typing import Any

import pytest
from babel import UnknownLocaleError

from mika_ops.documents.document import Document
from mika_ops.email.content.renderer import Brand, EmailRenderer
from mika_ops.ports.email import EmailSkipped, EmailUnrenderable, Envelope
from mika_ops_tests.email.builders import (
    email_document,
    line,
    magic_link,
    money,
    order,
    order_confirmation,
    titled,
)
from mika_ops_tests.email.reading import text_of

RENDERER = EmailRenderer(Brand(site_name="Tea House"))


def render(document: Document, order: Document | None = None) -> Envelope:
    return RENDERER.render(document, order)


class TestKinds:
    @pytest.mark.parametrize("kind", ["download", "admin_notification"])
    def test_a_kind_without_a_template_is_skipped_by_name(self, kind: str) -> None:
        with pytest.raises(EmailSkipped, match=kind):
            render(email_document(kind))

    @pytest.mark.parametrize("kind", ["ada@example.test", None, 7, ["magic_link"], {}])
    def test_an_unknown_kind_is_skipped_without_repeating_it(self, kind: Any) -> None:
        with pytest.raises(EmailSkipped) as raised:
            render(email_document(kind))
        assert str(kind) not in str(raised.value)

    def test_a_document_without_a_record_cannot_be_rendered(self) -> None:
        with pytest.raises(EmailUnrenderable, match="record is missing"):
            render({"id": "email_1", "kind": "magic_link"})


class TestMagicLink:
    def test_the_link_stands_literally_in_the_text(self) -> None:
        link = "https://shop.test/in?a=1&b=o'brien%20;--"
        assert f"\n{link}\n" in render(magic_link({"link": link})).text

    def test_the_link_is_escaped_in_the_html_and_visible_there(self) -> None:
        html = render(magic_link({"link": "https://shop.test/in?a=1&b=2"})).html
        assert 'href="https://shop.test/in?a=1&amp;b=2"' in html
        assert "https://shop.test/in?a=1&b=2" in text_of(html)

    def test_the_link_comes_before_the_url(self) -> None:
        envelope = render(magic_link({"link": "https://shop.test/link", "url": "https://shop.test/url"}))
        assert "https://shop.test/link" in envelope.text
        assert "https://shop.test/url" not in envelope.text + envelope.html

    @pytest.mark.parametrize("link", [42, None, ["https://shop.test/no"], {}])
    def test_a_link_that_is_no_string_falls_back_to_the_url(self, link: object) -> None:
        assert "https://shop.test/url" in render(magic_link({"link": link, "url": "https://shop.test/url"})).text

    @pytest.mark.parametrize(
        "metadata", [{}, {"link": "", "url": "https://shop.test/url"}, {"url": ""}, {"url": 42}, "no object", 7]
    )
    def test_without_a_link_it_is_skipped(self, metadata: object) -> None:
        with pytest.raises(EmailSkipped, match="no link"):
            render(magic_link(metadata))

    @pytest.mark.parametrize(
        "link",
        [
            "javascript:alert(1)",
            "ftp://shop.test/in",
            "//shop.test/in",
            "shop.test/in",
            "https:///in",
            "https://[",
            "https://shop.test/in\nhttps://evil.test",
            "https://shop.test/in and more",
            "https://shop.test/\ud800",
            " https://shop.test/in",
        ],
    )
    def test_a_link_that_is_not_http_is_refused_and_not_repeated(self, link: str) -> None:
        with pytest.raises(EmailUnrenderable) as raised:
            render(magic_link({"link": link}))
        assert str(raised.value) == "the email's link is not an http or https address"

    @pytest.mark.parametrize(
        ("purpose", "subject"),
        [
            ("sign_in", "Sign in to Tea House"),
            ("checkout", "Continue your checkout at Tea House"),
            ("account_delete", "Confirm the deletion of your account at Tea House"),
            ("something_else", "Sign in to Tea House"),
            (None, "Sign in to Tea House"),
            (["checkout"], "Sign in to Tea House"),
        ],
    )
    def test_the_purpose_decides_the_subject(self, purpose: object, subject: str) -> None:
        assert render(magic_link({"link": "https://shop.test/in", "purpose": purpose})).subject == subject

    def test_a_valid_expiry_is_stated_in_utc(self) -> None:
        metadata = {"link": "https://shop.test/in", "expiresAt": "2026-03-01T14:30:00.000+01:00"}
        envelope = render(magic_link(metadata))
        for content in (envelope.text, text_of(envelope.html)):
            assert "The link works until March 1, 2026, 1:30 PM UTC." in content.replace("\u202f", " ")

    @pytest.mark.parametrize("expires_at", ["not a time", "", None, 7, "0001-01-01T00:00:00+23:00"])
    def test_an_expiry_that_is_no_time_is_left_out(self, expires_at: object) -> None:
        envelope = render(magic_link({"link": "https://shop.test/in", "expiresAt": expires_at}))
        assert "works until" not in envelope.text + envelope.html


class TestWhichOrder:
    def test_it_is_the_documents(self) -> None:
        assert RENDERER.order_id_of({**order_confirmation(), "orderId": "order_top"}) == "order_top"

    def test_it_is_the_records_where_the_document_names_none(self) -> None:
        assert RENDERER.order_id_of(order_confirmation(orderId="order_record")) == "order_record"

    @pytest.mark.parametrize("order_id", [None, "", 7, {}])
    def test_there_may_be_none(self, order_id: object) -> None:
        assert RENDERER.order_id_of(order_confirmation(orderId=order_id)) is None

    def test_other_emails_need_none(self) -> None:
        assert RENDERER.order_id_of({**magic_link(), "orderId": "order_1"}) is None

    def test_an_email_without_a_record_needs_none(self) -> None:
        assert RENDERER.order_id_of({"kind": "order_confirmation"}) is None


class TestOrderConfirmation:
    def test_it_names_the_order_and_its_lines(self) -> None:
        envelope = render(order_confirmation(), order(line("line_1"), line("line_2", quantity=7)))
        assert envelope.subject == "Your order N-1001 at Tea House"
        for content in (envelope.text, text_of(envelope.html)):
            for fact in ("N-1001", "2 × Product line_1", "7 × Product line_2", "€30.00"):
                assert fact in content

    def test_it_shows_subtotal_discount_and_total(self) -> None:
        totals = {"subtotal": money(15345), "discount": money(345), "total": money(15000)}
        envelope = render(order_confirmation(), order(totals=totals))
        assert "Subtotal: €153.45\nDiscount: -€3.45\nTotal: €150.00\n" in envelope.text
        assert "Subtotal €153.45 Discount -€3.45 Total €150.00" in text_of(envelope.html)

    @pytest.mark.parametrize("discount", [None, money(0)])
    def test_no_discount_is_not_shown(self, discount: object) -> None:
        envelope = render(order_confirmation(), order(totals={"discount": discount, "total": money(3000)}))
        assert "Discount" not in envelope.text + envelope.html

    def test_only_the_chosen_lines_are_listed(self) -> None:
        document = order_confirmation({"orderLineIds": ["line_1", "line_3", 7]})
        envelope = render(document, order(line("line_1"), line("line_2"), line("line_3")))
        for content in (envelope.text, envelope.html):
            assert "Product line_1" in content
            assert "Product line_2" not in content
            assert "Product line_3" in content
            assert "a part of your order" in content

    @pytest.mark.parametrize("ids", [[], [1, None, {"a": 1}], "line_1", None, {"line_1": True}])
    def test_without_chosen_lines_all_are_listed(self, ids: object) -> None:
        envelope = render(order_confirmation({"orderLineIds": ids}), order(line("line_1"), line("line_2")))
        assert "Product line_1" in envelope.text
        assert "Product line_2" in envelope.text
        assert "a part of your order" not in envelope.text

    @pytest.mark.parametrize("id_", [None, 7, [], {}])
    def test_a_line_whose_id_is_no_text_is_not_chosen(self, id_: object) -> None:
        envelope = render(order_confirmation({"orderLineIds": ["line_1"]}), order(line(id=id_), line("line_1")))
        assert envelope.text.count("Product line_1") == 1

    def test_unknown_lines_select_nothing(self) -> None:
        envelope = render(order_confirmation({"orderLineIds": ["unknown"]}), order())
        assert "N-1001" in envelope.text
        assert "Product" not in envelope.text + envelope.html

    @pytest.mark.parametrize("status", ["refunded", "cancelled"])
    def test_an_order_that_came_to_nothing_is_not_confirmed(self, status: str) -> None:
        with pytest.raises(EmailSkipped, match=f"order_1 is {status}"):
            render(order_confirmation(), order(status=status))

    @pytest.mark.parametrize("status", ["pending", "partially_refunded", None, ["refunded"]])
    def test_any_other_order_is_confirmed(self, status: object) -> None:
        assert "N-1001" in render(order_confirmation(), order(status=status)).text

    def test_an_email_that_names_no_order_cannot_be_rendered(self) -> None:
        with pytest.raises(EmailUnrenderable, match="names no order"):
            render(order_confirmation(orderId=None), order())

    @pytest.mark.parametrize("found", [None, {"type": "note"}, {}])
    def test_an_order_that_is_not_there_cannot_be_rendered(self, found: Document | None) -> None:
        with pytest.raises(EmailUnrenderable, match="there is no order order_1"):
            render(order_confirmation(), found)

    def test_an_address_in_an_orders_id_is_not_repeated(self) -> None:
        with pytest.raises(EmailUnrenderable) as raised:
            render(order_confirmation(orderId="ada@example.test"), None)
        assert "ada" not in str(raised.value)

    @pytest.mark.parametrize(
        ("unreadable", "reason"),
        [
            ({"aggregate": None}, "aggregate is missing"),
            ({"aggregate": {"totals": {"total": money(1)}}}, "no list of lines"),
            ({"aggregate": {"lines": {}, "totals": {"total": money(1)}}}, "no list of lines"),
            ({"aggregate": {"lines": []}}, "totals is missing"),
            ({"aggregate": {"lines": [], "totals": {}}}, "no total"),
            ({"aggregate": {"lines": ["tea"], "totals": {"total": money(1)}}}, "not an object"),
            ({"orderNumber": None}, "no order number"),
            ({"orderNumber": " "}, "no order number"),
        ],
    )
    def test_an_order_without_its_parts_cannot_be_rendered(self, unreadable: Document, reason: str) -> None:
        with pytest.raises(EmailUnrenderable, match=f"order_1 .*{reason}"):
            render(order_confirmation(), {**order(), **unreadable})

    @pytest.mark.parametrize("quantity", [None, "2", 1.5, True])
    def test_a_quantity_that_is_no_whole_number_cannot_be_rendered(self, quantity: object) -> None:
        with pytest.raises(EmailUnrenderable, match="quantity"):
            render(order_confirmation(), order(line(quantity=quantity)))


class TestMoney:
    @pytest.mark.parametrize(
        ("amount", "currency", "shown"),
        [
            (1500, "EUR", "€15.00"),
            (980, "JPY", "¥980"),
            (1234567, "KWD", "KWD 1,234.567"),
            (150000, "RSD", "RSD 1,500.00"),
            (1500, "eur", "€15.00"),
            (0, "USD", "$0.00"),
        ],
    )
    def test_an_amount_has_its_currencys_decimals(self, amount: int, currency: str, shown: str) -> None:
        text = render(order_confirmation(), order(totals={"total": money(amount, currency)})).text
        assert f"Total: {shown}\n" in text.replace("\xa0", " ")

    def test_amounts_are_written_as_the_locale_does(self) -> None:
        german = EmailRenderer(Brand(), "de-AT").render(order_confirmation(), order(totals={"total": money(150000)}))
        assert "Total: € 1.500,00" in german.text.replace("\xa0", " ")

    def test_an_unknown_locale_is_refused_at_once(self) -> None:
        with pytest.raises(UnknownLocaleError):
            EmailRenderer(Brand(), "qq")

    @pytest.mark.parametrize("amount", [True, 15.0, "1500", None, 2**53, [1500]])
    def test_an_amount_that_is_no_whole_number_of_minor_units_cannot_be_rendered(self, amount: object) -> None:
        for unreadable in (order(totals={"total": money(amount)}), order(line(totalAmount=amount))):
            with pytest.raises(EmailUnrenderable, match="minor units"):
                render(order_confirmation(), unreadable)

    @pytest.mark.parametrize("currency", ["EURO", "QQQ", "€", "", None, 978, ["EUR"]])
    def test_a_currency_that_nobody_knows_cannot_be_rendered(self, currency: object) -> None:
        with pytest.raises(EmailUnrenderable, match="currency"):
            render(order_confirmation(), order(totals={"total": money(1500, currency)}))


class TestTitles:
    def test_a_title_is_put_on_one_line(self) -> None:
        envelope = render(order_confirmation(), order(titled("Green\ttea,\r\n loose\u2028leaf\x07")))
        assert "2 × Green tea, loose leaf\n" in envelope.text
        assert "2 × Green tea, loose leaf" in text_of(envelope.html)

    def test_a_long_title_ends_in_an_ellipsis(self) -> None:
        text = render(order_confirmation(), order(titled("x" * 301))).text
        assert f" {'x' * 299}…\n" in text

    def test_a_title_of_300_characters_is_whole(self) -> None:
        assert f" {'x' * 300}\n" in render(order_confirmation(), order(titled("x" * 300))).text

    def test_a_blank_title_is_said_to_be_none(self) -> None:
        assert "(no title)" in render(order_confirmation(), order(titled(" \n"))).text

    @pytest.mark.parametrize("title", [None, 7, ["tea"]])
    def test_a_title_that_is_no_text_cannot_be_rendered(self, title: object) -> None:
        with pytest.raises(EmailUnrenderable, match="no title"):
            render(order_confirmation(), order(titled(title)))

    def test_a_title_is_escaped_in_the_html_only(self) -> None:
        envelope = render(order_confirmation(), order(titled('<b>&amp;</b> "O\'Brien"')))
        assert '<b>&amp;</b> "O\'Brien"' in envelope.text
        assert "<b>" not in envelope.html
        assert '<b>&amp;</b> "O\'Brien"' in text_of(envelope.html)
