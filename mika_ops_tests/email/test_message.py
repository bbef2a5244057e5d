"""The internet message that an envelope becomes."""

import re
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mika_ops.email.message import build_message
from mika_ops.ports.email import Envelope
from mika_ops_tests.email.builders import envelope

SENDER = "Tea House <shop@shop.test>"
DATE = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

HEADERS = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "Idempotency-Key",
    "MIME-Version",
    "Content-Type",
]


def raw(mail: Envelope, sender: str = SENDER) -> bytes:
    return build_message(mail, sender=sender, message_id_domain="shop.test", date=DATE).as_bytes()


def arrived(mail: Envelope, sender: str = SENDER) -> EmailMessage:
    """The message as the one who receives it reads it."""
    message = message_from_bytes(raw(mail, sender), policy=default)
    assert isinstance(message, EmailMessage)
    return message


def body(message: EmailMessage, subtype: str) -> str:
    part = message.get_body((subtype,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def test_it_has_the_text_first_and_the_html_as_its_alternative() -> None:
    message = arrived(envelope())
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    assert (body(message, "plain"), body(message, "html")) == ("Hello Ada\n", "<p>Hello Ada</p>\n")


def test_it_has_the_headers_of_an_automatic_email() -> None:
    message = arrived(envelope(idempotency_key="magic-link:1"))
    assert message["From"] == "Tea House <shop@shop.test>"
    assert message["To"] == "ada@example.test"
    assert message["Subject"] == "Sign in"
    assert message["Date"].datetime == DATE
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Idempotency-Key"] == "magic-link:1"


def test_replies_go_elsewhere_where_that_is_set() -> None:
    message = build_message(
        envelope(), sender=SENDER, message_id_domain="shop.test", date=DATE, reply_to="Zoë <help@shop.test>"
    )
    assert b"\r\nReply-To: =?utf-8?q?Zo=C3=AB?= <help@shop.test>\r\n" in message.as_bytes()
    assert "Reply-To" not in arrived(envelope())


def test_every_character_survives() -> None:
    text = "Zoë 李小龙 שלום 👩‍💻 … \n.\n..leading dots\n--=_\nFrom here\n" + "long " * 400 + "\n"
    message = arrived(envelope(subject="Zoë 李小龙 👩‍💻", text=text, html=text))
    assert message["Subject"] == "Zoë 李小龙 👩‍💻"
    assert body(message, "plain") == text
    assert body(message, "html") == text


def test_no_line_is_longer_than_mail_allows() -> None:
    mail = envelope(text="x" * 5000, html="李" * 5000, subject="y" * 200, idempotency_key="k" * 200)
    assert max(len(line) for line in raw(mail).split(b"\r\n")) <= 998


def test_it_is_ascii_where_the_addresses_are() -> None:
    assert raw(envelope(subject="Zoë", text="Zoë", html="Zoë"), "Zoë <shop@shop.test>").isascii()


def test_a_domain_is_written_in_its_ascii_form() -> None:
    assert b"\r\nTo: ada@xn--exmple-cua.test\r\n" in raw(envelope(to="ada@exämple.test"))


def test_a_domain_whose_ascii_form_is_another_domain_stays_as_it_is() -> None:
    assert arrived(envelope(to="ada@straße.test"))["To"] == "ada@straße.test"


def test_a_local_part_outside_ascii_is_written_in_utf8() -> None:
    assert "\r\nTo: zoë+tag@xn--exmple-cua.test\r\n".encode() in raw(envelope(to="zoë+tag@exämple.test"))


class TestRepeating:
    def test_the_same_email_is_the_same_message(self) -> None:
        assert raw(envelope()) == raw(envelope())

    def test_the_message_id_follows_from_the_email_id_alone(self) -> None:
        first = arrived(envelope(subject="One", to="ada@example.test"))["Message-ID"]
        assert first == arrived(envelope(subject="Two", to="eve@example.test"))["Message-ID"]
        assert first != arrived(envelope(email_id="email_2"))["Message-ID"]
        assert re.fullmatch(r"<[0-9a-f]{32}@shop\.test>", first)

    def test_without_a_key_the_email_id_is_the_key(self) -> None:
        assert arrived(envelope(email_id="email_7"))["Idempotency-Key"] == "email_7"

    @pytest.mark.parametrize(
        "key", ["with space", "a\r\nBcc: eve@example.test", "k" * 61, "schlüssel", "=?utf-8?q?a?="]
    )
    def test_a_key_that_no_header_can_carry_is_replaced_by_its_digest(self, key: str) -> None:
        header = arrived(envelope(idempotency_key=key))["Idempotency-Key"]
        assert re.fullmatch(r"[0-9a-f]{32}", header)
        assert header == arrived(envelope(idempotency_key=key))["Idempotency-Key"]


class TestAddresses:
    @pytest.mark.parametrize("to", ["", "ada", "ada@example.test\r\nBcc: eve@example.test", "a@b.test, c@d.test"])
    def test_a_recipient_that_is_no_address_is_refused_and_not_repeated(self, to: str) -> None:
        with pytest.raises(ValueError, match=r"^the recipient's address is missing or not an address$"):
            raw(envelope(to=to))

    @pytest.mark.parametrize(
        "sender",
        [
            "",
            "Tea House",
            "Tea, House <shop@shop.test>",
            "a@b.test, c@d.test",
            "a@b.test\r\nBcc: c@d.test",
            "=?utf-8?q?=0D=0ABcc?= <a@b.test>",
        ],
    )
    def test_a_sender_that_is_not_one_address_is_refused_by_the_name_of_its_setting(self, sender: str) -> None:
        with pytest.raises(ValueError, match="MIKA_EMAIL_FROM"):
            raw(envelope(), sender)

    @pytest.mark.parametrize("sender", ["shop@shop.test", '"Tea, House" <shop@shop.test>', "Zoë <shop@shop.test>"])
    def test_a_sender_may_have_a_name(self, sender: str) -> None:
        assert arrived(envelope(), sender)["From"].addresses[0].addr_spec == "shop@shop.test"


ANYTHING = st.text() | st.sampled_from(
    ["a\r\nBcc: eve@example.test", "\r\n\r\n<script>", "=?utf-8?q?=0D=0ABcc:_eve?=", "\ud800\x00", "x" * 2000]
)


@given(
    st.fixed_dictionaries({"email_id": ANYTHING, "subject": ANYTHING, "idempotency_key": st.none() | ANYTHING}),
    st.text(max_size=40) | st.just("=?utf-8?q?=0D=0ABcc?="),
)
def test_no_value_breaks_out_of_its_header(fields: dict[str, Any], local_part: str) -> None:
    try:
        head = raw(envelope(to=f"{local_part}@example.test", **fields)).split(b"\r\n\r\n")[0]
    except ValueError as refusal:
        assert "recipient" in str(refusal)  # noqa: PT017 - most local parts are none
        return
    unfolded = re.sub(rb"\r\n(?=[ \t])", b"", head)
    assert [line.split(b":")[0].decode() for line in unfolded.split(b"\r\n")] == HEADERS
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", head)
