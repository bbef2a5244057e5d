"""The kinds that Mika skips, if a shop enables them; and the shop's name and links in every email."""

from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mika_ops.assembly import open_host
from mika_ops.clock import Clock
from mika_ops.config.loading import isolated_settings
from mika_ops.config.shop import Shop
from mika_ops.deadline import never_out_of_time
from mika_ops.documents.document import Document, record_of
from mika_ops.email.content.brand import Brand
from mika_ops.email.content.details import LONGEST_TEXT, MOST_LINES, lines_of_text, outline_details
from mika_ops.email.content.renderer import EmailRenderer
from mika_ops.email.content.samples import sample_email, sample_order
from mika_ops.email.kinds import EXTRA_KINDS, KINDS
from mika_ops.ports.email import EmailSkipped, EmailUnrenderable, Envelope
from mika_ops.rules.email import sent
from mika_ops.store.database import Database
from mika_ops.timestamps import to_datetime
from mika_ops_testing.builders import NOW, email, get, put
from mika_ops_testing.builders import order as stored_order
from mika_ops_tests.email.arbitrary import HOSTILE, JSON, damaged
from mika_ops_tests.email.builders import email_document, line, magic_link, order, order_confirmation, titled
from mika_ops_tests.email.reading import links_of, markup_of, text_of

LINK = "https://shop.test/files/1?a=1&b=2"
OPEN = EmailRenderer(Brand("Tea House"), extra_kinds=EXTRA_KINDS)

NOT_LINKS = ["javascript:alert(1)", "ftp://shop.test/in", "shop.test/in", "https://shop.test/in and more", "https://["]


def download(metadata: object = None, **record: Any) -> Document:
    return email_document("download", {"link": LINK} if metadata is None else metadata, **record)


def notification(metadata: object = None, subject: object = "Stock is low") -> Document:
    return email_document("admin_notification", metadata, subject=subject)


def contents(document: Document, found: Document | None = None) -> tuple[str, str]:
    """What is read in the plain text and in the HTML."""
    envelope = OPEN.render(document, found)
    return envelope.text, text_of(envelope.html)


class TestWhichKinds:
    @pytest.mark.parametrize("kind", EXTRA_KINDS)
    def test_a_kind_is_skipped_where_only_the_other_is_asked_for(self, kind: str) -> None:
        other = next(extra for extra in EXTRA_KINDS if extra != kind)
        renderer = EmailRenderer(Brand(), extra_kinds=[other])
        with pytest.raises(EmailSkipped, match=f"{kind} .*MIKA_EMAIL_EXTRA_KINDS"):
            renderer.render(sample_email(kind, now=to_datetime(NOW)), sample_order(kind))

    def test_a_kind_that_is_skipped_has_no_order_read(self) -> None:
        assert EmailRenderer(Brand()).order_id_of(download(orderId="order_1")) is None

    def test_a_kind_that_there_is_not_is_refused_at_once(self) -> None:
        with pytest.raises(ValueError, match=r"'newsletter' .*download or admin_notification"):
            EmailRenderer(Brand(), extra_kinds=["download", "newsletter"])

    def test_the_settings_have_them_sent_with_the_shops_own_templates(
        self, database: Database, url: str, clock: Clock, tmp_path: Path
    ) -> None:
        templates, emails = tmp_path / "templates", tmp_path / "emails"
        templates.mkdir()
        (templates / "download.txt.j2").write_text("Hier: {{ link }} ({{ order.number }})")
        put(database, "ledger", stored_order("order_1"))
        put(database, "ops", email("email_1", kind="download", orderId="order_1", metadata={"url": LINK}))
        settings = isolated_settings(
            database_url=url, email_directory=emails, email_extra_kinds="download", email_templates=templates
        )
        with open_host(Shop(settings)) as host:
            assert host.email_outbox is not None
            drained = host.email_outbox.drain(clock, limit=None, out_of_time=never_out_of_time)
        assert (drained.sent, drained.error) == (1, None)
        (file,) = emails.iterdir()
        message = message_from_bytes(file.read_bytes(), policy=policy.default)
        plain = message.get_body(("plain",))
        assert plain is not None
        assert plain.get_content().strip() == f"Hier: {LINK} (N-order_1)"
        assert record_of(get(database, "ops", "email_1"))["metadata"] == {"url": LINK}

    def test_a_broken_template_fails_its_emails_and_no_others(
        self, database: Database, url: str, clock: Clock, tmp_path: Path
    ) -> None:
        (tmp_path / "magic_link.txt.j2").write_text("{% if %}")
        put(database, "ledger", stored_order("order_1"))
        put(database, "ops", email("email_1"), email("email_2", kind="order_confirmation", orderId="order_1"))
        settings = isolated_settings(database_url=url, email_directory=tmp_path / "emails", email_templates=tmp_path)
        with open_host(Shop(settings)) as host:
            assert host.email_outbox is not None
            drained = host.email_outbox.drain(clock, limit=None, out_of_time=never_out_of_time)
        assert (drained.sent, drained.failed, drained.error) == (1, 1, None)
        error = record_of(get(database, "ops", "email_1"))["lastError"]
        assert error.startswith("the template magic_link.txt.j2 cannot be read: line 1: ")


class TestDownload:
    def test_the_link_is_read_and_leads_there(self) -> None:
        envelope = OPEN.render(download(), None)
        assert f"\n{LINK}\n" in envelope.text
        assert LINK in text_of(envelope.html)
        assert set(links_of(envelope.html)) == {LINK}

    @pytest.mark.parametrize("metadata", [{}, {"link": "", "url": LINK}, {"url": ""}, {"link": 42}, "no object", 7])
    def test_without_a_link_it_is_skipped(self, metadata: object) -> None:
        with pytest.raises(EmailSkipped, match="no link"):
            OPEN.render(download(metadata), None)

    @pytest.mark.parametrize("link", NOT_LINKS)
    def test_a_link_that_is_not_http_is_refused_and_not_repeated(self, link: str) -> None:
        with pytest.raises(EmailUnrenderable) as raised:
            OPEN.render(download({"link": link}), None)
        assert link not in str(raised.value)

    def test_it_is_about_the_order_that_the_document_names(self) -> None:
        assert OPEN.order_id_of(download(orderId="order_1")) == "order_1"

    def test_the_order_is_named_with_its_titles_each_once(self) -> None:
        found = order(titled("Field recordings"), titled("Booklet"), titled("Booklet"))
        envelope = OPEN.render(download(orderId="order_1"), found)
        assert envelope.subject == "Your download from Tea House (order N-1001)"
        assert "\nOrder N-1001\n\n- Field recordings\n- Booklet\n" in envelope.text
        assert "Order N-1001 Field recordings Booklet Download" in text_of(envelope.html)

    def test_only_the_lines_that_it_is_about_are_named(self) -> None:
        found = order(line("line_1"), line("line_2"))
        for content in contents(download({"link": LINK, "orderLineIds": ["line_2"]}, orderId="order_1"), found):
            assert "Product line_2" in content
            assert "Product line_1" not in content

    @pytest.mark.parametrize("found", [None, {"type": "note", "orderNumber": "N-1001"}, {"type": "order"}])
    def test_without_an_order_it_is_sent_all_the_same(self, found: Document | None) -> None:
        envelope = OPEN.render(download(orderId="order_1"), found)
        assert envelope.subject == "Your download from Tea House"
        assert "Order" not in envelope.text

    @pytest.mark.parametrize("broken", [{"orderNumber": 7}, {"aggregate": None}, {"aggregate": {"lines": ["tea"]}}])
    def test_what_cannot_be_read_of_the_order_is_left_out(self, broken: Document) -> None:
        assert LINK in OPEN.render(download(orderId="order_1"), {**order(), **broken}).text

    @pytest.mark.parametrize("status", ["refunded", "cancelled"])
    def test_a_download_of_an_order_that_came_to_nothing_is_not_sent(self, status: str) -> None:
        with pytest.raises(EmailSkipped, match=f"order_1 is {status}"):
            OPEN.render(download(orderId="order_1"), order(status=status))

    def test_its_expiry_is_stated(self) -> None:
        for content in contents(download({"link": LINK, "expiresAt": "2026-03-01T13:30:00.000Z"})):
            assert "The link works until March 1, 2026, 1:30 PM UTC." in content.replace("\u202f", " ")

    def test_its_link_stays_in_the_document_once_it_is_sent(self) -> None:
        leased = download(attemptCount=1, maxAttempts=5)
        after = sent(leased, now=NOW, provider_message_id="1")
        assert record_of(after)["metadata"] == {"link": LINK}


class TestAdminNotification:
    def test_the_subject_is_the_headline_on_one_line(self) -> None:
        envelope = OPEN.render(notification({"message": "Order more."}, "Stock\r\n is\tlow\x07"), None)
        assert envelope.subject == "Stock is low"
        assert envelope.text.startswith("Stock is low\n\nOrder more.\n")
        assert "Stock is low Order more." in text_of(envelope.html)

    @pytest.mark.parametrize("subject", [None, "", " \n", 7, ["x"]])
    def test_without_a_subject_the_shop_is_named(self, subject: object) -> None:
        assert OPEN.render(notification({"message": "x"}, subject), None).subject == "Notification from Tea House"

    def test_the_message_keeps_its_lines(self) -> None:
        envelope = OPEN.render(notification({"message": "One <b>bowl</b>.\n\n\nTwo\r\n  towels.\n"}), None)
        assert "One <b>bowl</b>.\n\nTwo\n  towels.\n" in envelope.text
        assert "One &lt;b&gt;bowl&lt;/b&gt;.<br><br>Two<br>  towels.</div>" in envelope.html

    def test_details_are_written_as_names_and_values(self) -> None:
        details = {"sku": "WB-1", "left": 3, "hidden": False, "by": None, "stores": ["Wien", {"name": "Graz"}]}
        text = OPEN.render(notification({"details": details}), None).text
        expected = "sku: WB-1\nleft: 3\nhidden: no\nby: none\nstores:\n  - Wien\n  -\n    name: Graz\n"
        assert expected in text

    @pytest.mark.parametrize(
        ("details", "shown"), [("Two\nlines", "Two\nlines"), (7, "7"), (["a"], "- a"), (True, "yes")]
    )
    def test_details_may_be_anything(self, details: object, shown: str) -> None:
        assert f"Stock is low\n\n{shown}\n" in OPEN.render(notification({"details": details}), None).text

    def test_a_message_comes_before_details(self) -> None:
        text = OPEN.render(notification({"message": "Read me", "details": "not me"}), None).text
        assert "Read me" in text
        assert "not me" not in text

    @pytest.mark.parametrize("message", ["", " \n ", 7, None])
    def test_details_are_shown_where_the_message_says_nothing(self, message: object) -> None:
        assert "the details" in OPEN.render(notification({"message": message, "details": "the details"}), None).text

    def test_a_link_is_optional(self) -> None:
        assert links_of(OPEN.render(notification({"message": "x"}), None).html) == []
        assert set(links_of(OPEN.render(notification({"message": "x", "url": LINK}), None).html)) == {LINK}

    @pytest.mark.parametrize("link", NOT_LINKS)
    def test_what_is_no_http_link_is_left_out(self, link: str) -> None:
        envelope = OPEN.render(notification({"message": "x", "link": link}), None)
        assert link not in envelope.text + envelope.html
        assert links_of(envelope.html) == []

    @pytest.mark.parametrize(
        "metadata", [None, {}, {"message": " "}, {"details": ""}, {"details": {}}, {"link": "x:y"}]
    )
    def test_with_nothing_to_say_it_is_skipped(self, metadata: object) -> None:
        with pytest.raises(EmailSkipped, match="no content"):
            OPEN.render(notification(metadata, None), None)

    def test_shoppers_links_are_not_for_those_who_run_the_shop(self) -> None:
        brand = Brand("Tea House", "help@shop.test", "https://shop.test/account")
        envelope = EmailRenderer(brand, extra_kinds=EXTRA_KINDS).render(notification(), None)
        for content in (envelope.text, envelope.html):
            assert "help@shop.test" not in content
            assert "https://shop.test/account" not in content


class TestLongTexts:
    @pytest.mark.parametrize("text", ["x" * 5_000_000, "word " * 1_000_000, "line\n" * 1_000_000])
    def test_a_text_of_megabytes_is_cut_and_says_so(self, text: str) -> None:
        lines = lines_of_text(text)
        assert len("\n".join(lines)) <= LONGEST_TEXT + 2
        assert lines[-1].endswith("…")

    @given(JSON)
    def test_details_are_never_longer_than_a_text(self, details: object) -> None:
        lines = outline_details({"a": details, "b": [details] * 200})
        assert len(lines) <= MOST_LINES + 1
        assert all(len(one.splitlines()) <= 1 for one in lines)

    def test_details_may_be_nested_as_deep_as_json_goes(self) -> None:
        nested: Any = "the core"
        for _ in range(20_000):
            nested = [nested]
        assert len(outline_details(nested)) <= MOST_LINES + 1

    @given(st.text() | st.just(HOSTILE))
    def test_a_text_has_no_control_characters_left(self, text: str) -> None:
        for one in lines_of_text(text):
            assert len(one.splitlines()) <= 1
            assert not set(one) & {"\x00", "\x07", "\t", "\u202e"}
            one.encode()


EMAILS = damaged(download({"link": LINK, "expiresAt": NOW, "orderLineIds": ["line_1"]}, orderId="order_1")) | damaged(
    email_document(
        "admin_notification",
        {"message": "Hello", "details": {"a": [1, {"b": None}]}, "url": LINK},
        subject="Stock is low",
    )
)


class TestWhateverTheDocument:
    @given(EMAILS, st.none() | damaged(order(line("line_1"), line("line_2"))))
    def test_it_is_rendered_skipped_or_unrenderable(self, document: Document, found: Document | None) -> None:
        OPEN.order_id_of(document)
        try:
            envelope = OPEN.render(document, found)
        except (EmailSkipped, EmailUnrenderable):
            return
        assert len(envelope.subject.splitlines()) == 1
        (envelope.subject + envelope.text + envelope.html).encode()
        assert all(link.startswith(("http://", "https://")) for link in links_of(envelope.html))

    @given(st.dictionaries(st.text(), JSON), JSON, JSON)
    def test_any_object_at_all_is_distinguished(self, document: Document, record: object, metadata: object) -> None:
        for kind in EXTRA_KINDS:
            for inner in (record, {"metadata": metadata}):
                with pytest.raises((EmailSkipped, EmailUnrenderable)):
                    OPEN.render({**document, "kind": kind, "record": inner}, document)

    @given(st.text(min_size=1) | st.just(HOSTILE), st.text(min_size=1) | st.just(HOSTILE))
    def test_no_value_becomes_markup(self, title: str, subject: str) -> None:
        def shapes(title: str, subject: str) -> list[list[str]]:
            found = order(titled(f"T{title}"), orderNumber=f"N{title}")
            emails: list[Envelope] = [
                OPEN.render(download(orderId="order_1"), found),
                OPEN.render(notification({"details": {"a": f"a{title}"}}, f"S{subject}"), None),
            ]
            return [markup_of(envelope.html) for envelope in emails]

        assert shapes(title, subject) == shapes("Tea", "Stock is low")


def brand_of(document: Document) -> Brand:
    named = document["record"]["metadata"]["brand"]
    return Brand(named, named)


BRANDED = EmailRenderer(brand_of)


class TestBrandOfADocument:
    def test_the_brand_may_be_a_function_of_the_document(self) -> None:
        for brand in ("Outlet", "House"):
            envelope = BRANDED.render(magic_link({"link": LINK, "brand": brand}), None)
            assert envelope.subject == f"Sign in to {brand}"
            assert f"Sent by {brand}" in text_of(envelope.html)

    def test_so_may_the_address_of_the_account_page(self) -> None:
        renderer = EmailRenderer(Brand(account_url=lambda document: f"https://shop.test/account/{document['kind']}"))
        envelope = renderer.render(magic_link(), None)
        assert "Your account: https://shop.test/account/magic_link\n" in envelope.text
        assert "https://shop.test/account/magic_link" in links_of(envelope.html)

    @pytest.mark.parametrize("url", [None, "", *NOT_LINKS])
    def test_an_account_page_that_is_no_http_link_is_left_out(self, url: str | None) -> None:
        envelope = EmailRenderer(Brand(account_url=lambda _: url)).render(order_confirmation(), order())
        assert "account" not in envelope.text
        assert links_of(envelope.html) == []

    def test_a_function_is_not_asked_about_an_email_without_a_record(self) -> None:
        with pytest.raises(EmailUnrenderable, match="record is missing"):
            BRANDED.render({"id": "email_1", "kind": "magic_link"}, None)

    @given(st.text() | st.just(HOSTILE))
    def test_no_brand_becomes_markup_or_breaks_a_line(self, value: str) -> None:
        plain = BRANDED.render(magic_link({"link": LINK, "brand": "x"}), None)
        envelope = BRANDED.render(magic_link({"link": LINK, "brand": f"x{value}"}), None)
        assert markup_of(envelope.html) == markup_of(plain.html)
        assert len(envelope.text.splitlines()) == len(plain.text.splitlines())


class TestEveryKind:
    @pytest.mark.parametrize("kind", KINDS)
    def test_an_inbox_shows_what_it_is_about_before_it_is_opened(self, kind: str) -> None:
        html = OPEN.render(sample_email(kind, now=to_datetime(NOW)), sample_order(kind)).html
        hidden = html[html.index("display:none") :]
        preheader = hidden[hidden.index(">") + 1 : hidden.index("&#847;")].strip()
        assert preheader
        assert "\n" not in preheader

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_sample_is_rendered_in_a_language_of_its_own(self, kind: str) -> None:
        german = EmailRenderer(Brand("Teehaus"), "de_AT", extra_kinds=EXTRA_KINDS)
        envelope = german.render(sample_email(kind, now=to_datetime(NOW)), sample_order(kind))
        assert "Teehaus" in envelope.text
