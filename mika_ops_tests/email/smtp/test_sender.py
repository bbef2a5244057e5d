"""Sending through a mail server, held against a real one."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mika_ops.email.smtp.errors import MailServerThrottled, MailServerUnavailable, SendFailed
from mika_ops.email.smtp.sender import SmtpSender
from mika_ops.ports.email import EmailSender
from mika_ops_testing.smtp_server import (
    HANG,
    HANG_UP,
    TAKEN,
    Mailroom,
    accepting,
    free_port,
    mail_server,
    self_signed,
    silent,
    tarpit,
)
from mika_ops_tests.email.builders import envelope

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def sender(port: int, *, scheme: str = "smtp", login: str = "", **options: Any) -> SmtpSender:
    url = f"{scheme}://{login}127.0.0.1:{port}"
    return SmtpSender(url, sender="Tea House <shop@shop.test>", now=lambda: NOON, **options)


def failure(mailroom: Mailroom, **fields: Any) -> SendFailed:
    """What is raised for one email."""
    with sender(mailroom.port) as smtp, pytest.raises(SendFailed) as raised:
        smtp.send(envelope(**fields))
    return raised.value


class TestSending:
    def test_it_is_a_sender(self) -> None:
        assert isinstance(sender(25), EmailSender)

    def test_the_email_arrives_as_it_was_written(self) -> None:
        text = "Zoë 李小龙\n.\n..two dots\n"
        with mail_server() as mailroom, sender(mailroom.port) as smtp:
            smtp.send(envelope(subject="Für Zoë", text=text, idempotency_key="magic-link:1"))
        [message] = mailroom.messages
        assert message["From"] == "Tea House <shop@shop.test>"
        assert message["To"] == "ada@example.test"
        assert message["Subject"] == "Für Zoë"
        assert message["Date"].datetime == NOON
        assert message["Message-ID"].endswith("@shop.test>")
        assert message["Idempotency-Key"] == "magic-link:1"
        body = message.get_body(("plain",))
        assert body is not None
        assert body.get_content().replace("\r\n", "\n") == text

    def test_it_goes_from_the_senders_to_the_recipients_address(self) -> None:
        with mail_server() as mailroom, sender(mailroom.port) as smtp:
            smtp.send(envelope(to="o'brien+tag@example.test"))
        [delivery] = mailroom.deliveries
        assert (delivery.mail_from, delivery.rcpt_tos) == ("shop@shop.test", ["o'brien+tag@example.test"])

    def test_replies_and_bounces_go_where_they_should(self) -> None:
        with (
            mail_server() as mailroom,
            sender(mailroom.port, reply_to="Tëa <help@shop.test>", bounce_address="bounces@shop.test") as smtp,
        ):
            smtp.send(envelope())
        [delivery], [message] = mailroom.deliveries, mailroom.messages
        assert delivery.mail_from == "bounces@shop.test"
        assert (message["From"], message["Reply-To"]) == ("Tea House <shop@shop.test>", "Tëa <help@shop.test>")
        assert message["Message-ID"].endswith("@shop.test>")

    @pytest.mark.parametrize(
        ("answer", "queue_id"),
        [
            (TAKEN, "ABC123"),
            ("250 OK id=1tVvRz-0001Ab-2C", "1tVvRz-0001Ab-2C"),
            ("250 Ok 0102018d5f1e7c3a-1b2c3d4e-000000", "0102018d5f1e7c3a-1b2c3d4e-000000"),
            ("250 2.0.0 Ok: queued as <ABC123>", None),
            ("250 OK", None),
            ("250 Message accepted for delivery", None),
        ],
    )
    def test_the_servers_queue_id_is_reported_where_it_says_one(self, answer: str, queue_id: str | None) -> None:
        with mail_server({"the message": [answer]}) as mailroom, sender(mailroom.port) as smtp:
            assert smtp.send(envelope()).provider_message_id == queue_id

    def test_a_recipient_that_is_no_address_is_refused_before_connecting(self) -> None:
        with pytest.raises(SendFailed, match="the recipient's address is missing or not an address"):
            sender(free_port()).send(envelope(to="nobody"))


class TestConnection:
    def test_it_is_reused(self) -> None:
        with mail_server() as mailroom, sender(mailroom.port) as smtp:
            for email_id in ("email_1", "email_2", "email_3"):
                smtp.send(envelope(email_id=email_id))
        assert (len(mailroom.deliveries), len(mailroom.sessions)) == (3, 1)

    def test_a_closed_sender_connects_anew(self) -> None:
        with mail_server() as mailroom:
            smtp = sender(mailroom.port)
            smtp.send(envelope())
            smtp.close()
            smtp.close()
            smtp.send(envelope())
            smtp.close()
        assert len(mailroom.sessions) == 2

    @pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
    @pytest.mark.parametrize("farewell", [HANG_UP, "421 4.4.2 timeout exceeded"])
    def test_a_connection_dropped_between_two_emails_is_replaced(self, command: str, farewell: str) -> None:
        fine = "" if command == "DATA" else "250 OK"
        with mail_server({command: [fine, farewell]}) as mailroom, sender(mailroom.port) as smtp:
            smtp.send(envelope(email_id="email_1"))
            smtp.send(envelope(email_id="email_2"))
        assert [message["Idempotency-Key"] for message in mailroom.messages] == ["email_1", "email_2"]
        assert len(mailroom.sessions) == 2

    @pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
    def test_a_new_connection_that_is_dropped_is_not_replaced(self, command: str) -> None:
        with mail_server({command: [HANG_UP]}) as mailroom:
            error = failure(mailroom)
        assert f"the connection to the mail server broke at {command}" in str(error)
        assert isinstance(error, MailServerUnavailable) == (command == "MAIL")
        assert len(mailroom.sessions) == 1

    def test_a_connection_that_died_without_a_word_is_replaced_in_time(self) -> None:
        with (
            mail_server({"MAIL": ["250 OK", HANG]}) as mailroom,
            sender(mailroom.port, timeout_seconds=1.0) as smtp,
        ):
            smtp.send(envelope(email_id="email_1"))
            smtp.send(envelope(email_id="email_2"))
        assert (len(mailroom.deliveries), mailroom.connections) == (2, 2)

    def test_an_email_that_may_have_been_taken_is_not_sent_again(self) -> None:
        with mail_server({"the message": [TAKEN, HANG_UP]}) as mailroom, sender(mailroom.port) as smtp:
            smtp.send(envelope(email_id="email_1"))
            with pytest.raises(SendFailed, match="may or may not have taken"):
                smtp.send(envelope(email_id="email_2"))
        assert mailroom.seen["the message"] == 2

    def test_the_next_email_after_a_broken_one_goes_over_a_new_connection(self) -> None:
        with mail_server({"the message": [HANG_UP]}) as mailroom, sender(mailroom.port) as smtp:
            with pytest.raises(SendFailed):
                smtp.send(envelope(email_id="email_1"))
            smtp.send(envelope(email_id="email_2"))
        assert len(mailroom.sessions) == 2


class TestRefusals:
    @pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA", "the message"])
    @pytest.mark.parametrize("answer", ["451 4.3.0 temporary failure", "550 5.7.1 not welcome"])
    def test_a_refusal_is_told_with_its_code_and_command(self, command: str, answer: str) -> None:
        with mail_server({command: [answer]}) as mailroom:
            error = failure(mailroom)
        assert str(error) == f"the mail server answered {answer[:3]} to {command}: {answer[4:]}"
        assert not isinstance(error, MailServerUnavailable)

    @pytest.mark.parametrize("command", ["RCPT", "DATA", "the message"])
    @pytest.mark.parametrize(
        ("answer", "is_throttle"),
        [
            ("421 4.3.2 shutting down", True),
            ("451 try again later", True),
            ("450 4.7.1 too many emails in this hour", True),
            ("452 4.7.0 slow down", True),
            ("432 4.3.2 concurrent connections limit exceeded", True),
            ("450 4.2.1 mailbox busy", False),
            ("452 4.3.1 no space, see 4.7.0", False),
            ("550 5.7.1 not welcome", False),
        ],
    )
    def test_an_answer_that_asks_to_slow_down_is_told_as_one(
        self, command: str, answer: str, is_throttle: bool
    ) -> None:
        with mail_server({command: [answer]}) as mailroom:
            error = failure(mailroom)
        assert isinstance(error, MailServerThrottled) == is_throttle
        assert not isinstance(error, MailServerUnavailable)

    @pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA", "the message"])
    def test_after_a_refusal_the_connection_serves_the_next_email(self, command: str) -> None:
        with mail_server({command: ["550 no"]}) as mailroom, sender(mailroom.port) as smtp:
            with pytest.raises(SendFailed):
                smtp.send(envelope(email_id="email_1", to="eve@example.test"))
            smtp.send(envelope(email_id="email_2"))
        assert mailroom.deliveries[-1].rcpt_tos == ["ada@example.test"]
        assert len(mailroom.sessions) == 1

    @pytest.mark.parametrize(
        "words",
        [
            "<ada.l@example.test>: Recipient address rejected",
            "no such user: ada.l",
            "Ada.L@EXAMPLE.test see https://mail.test/why?ada.l",
            "from shop@shop.test to ada.l@example.test",
        ],
    )
    def test_a_refusal_is_told_without_the_address(self, words: str) -> None:
        with mail_server({"RCPT": [f"550 5.1.1 {words}"]}) as mailroom:
            error = failure(mailroom, to="ada.l@example.test")
        assert str(error).startswith("the mail server answered 550 to RCPT: ")
        assert "ada" not in str(error).lower()
        assert "shop" not in str(error)

    @pytest.mark.parametrize("answer", ["421 4.3.2 shutting down", "530 5.7.0 authentication required"])
    def test_a_server_that_lets_nobody_send_is_unavailable(self, answer: str) -> None:
        with mail_server({"MAIL": [answer]}) as mailroom:
            assert isinstance(failure(mailroom), MailServerUnavailable)


class TestUnreachable:
    def test_a_server_that_is_down_is_unavailable(self) -> None:
        port = free_port()
        with pytest.raises(MailServerUnavailable, match=f"127.0.0.1:{port} could not be reached: Connection refused"):
            sender(port).send(envelope())

    def test_a_server_that_goes_down_between_two_emails_is_unavailable(self) -> None:
        with mail_server() as mailroom:
            smtp = sender(mailroom.port)
            smtp.send(envelope())
        with pytest.raises(MailServerUnavailable, match="could not be reached"):
            smtp.send(envelope())

    @pytest.mark.parametrize("limit", ["timeout_seconds", "connect_timeout_seconds"])
    @pytest.mark.parametrize("scheme", ["smtp", "smtp+starttls", "smtps"])
    def test_a_server_that_never_answers_is_given_up(self, limit: str, scheme: str) -> None:
        limits: dict[str, Any] = {limit: 0.1}
        with silent() as port, pytest.raises(MailServerUnavailable, match="timed out"):
            sender(port, scheme=scheme, **limits).send(envelope())

    def test_a_server_that_answers_a_letter_at_a_time_is_given_up(self) -> None:
        with tarpit() as port, pytest.raises(MailServerUnavailable, match="timed out"):
            sender(port, connect_timeout_seconds=0.2).send(envelope())

    def test_time_that_connecting_was_not_given_is_left_for_the_email(self) -> None:
        with (
            mail_server({"the message": [HANG]}) as mailroom,
            sender(mailroom.port, connect_timeout_seconds=0.1, timeout_seconds=0.5) as smtp,
            pytest.raises(SendFailed, match="broke after the message"),
        ):
            smtp.send(envelope())

    def test_a_server_that_turns_us_away_at_once_is_unavailable(self) -> None:
        with mail_server({"greeting": ["554 5.7.1 too many connections"]}) as mailroom:
            error = failure(mailroom)
        assert isinstance(error, MailServerUnavailable)
        assert str(error) == "the mail server answered 554 to the greeting: 5.7.1 too many connections"

    def test_a_server_that_speaks_no_tls_is_told(self) -> None:
        with mail_server() as mailroom, pytest.raises(MailServerUnavailable) as raised:
            sender(mailroom.port, scheme="smtps").send(envelope())
        assert "could not be spoken to in TLS" in str(raised.value)
        assert str(raised.value).endswith("check the scheme and the port in MIKA_SMTP_URL")


class TestLogin:
    def test_user_and_password_are_percent_decoded(self) -> None:
        with mail_server(**accepting("shop@shop.test", "p@ss/word")) as mailroom:
            with sender(mailroom.port, login="shop%40shop.test:p%40ss%2Fword@") as smtp:
                smtp.send(envelope())
            assert len(mailroom.deliveries) == 1

    def test_user_and_password_may_come_apart_from_the_url(self) -> None:
        with (
            mail_server(**accepting("shop@shop.test", "p@ss/word")) as mailroom,
            sender(mailroom.port, username="shop@shop.test", password="p@ss/word") as smtp,
        ):
            smtp.send(envelope())
            assert len(mailroom.deliveries) == 1

    def test_a_refused_login_is_told_without_user_and_password(self) -> None:
        with (
            mail_server(**accepting("shopkeeper", "right")) as mailroom,
            sender(mailroom.port, login="shopkeeper:s3cret@") as smtp,
            pytest.raises(MailServerUnavailable) as raised,
        ):
            smtp.send(envelope())
        assert str(raised.value).startswith("the mail server answered 535 to AUTH: ")
        assert str(raised.value).endswith("in MIKA_SMTP_URL or in MIKA_SMTP_USERNAME and MIKA_SMTP_PASSWORD")
        assert "s3cret" not in str(raised.value)
        assert "shopkeeper" not in str(raised.value)

    def test_a_server_without_logins_is_told(self) -> None:
        with (
            mail_server() as mailroom,
            sender(mailroom.port, login="user:s3cret@") as smtp,
            pytest.raises(MailServerUnavailable, match=r"no login \(AUTH\) over smtp: use smtp\+starttls or smtps"),
        ):
            smtp.send(envelope())


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["smtp+starttls", "smtps"])
def encrypted(request: pytest.FixtureRequest, tls: tuple[Path, ssl.SSLContext]) -> Iterator[tuple[str, Mailroom]]:
    """The scheme, and a server that speaks it with a certificate that nobody vouches for."""
    _, context = tls
    options: dict[str, Any] = {"smtp+starttls": {"tls_context": context}, "smtps": {"ssl_context": context}}
    with mail_server(**options[request.param]) as mailroom:
        yield request.param, mailroom


class TestEncryption:
    def test_a_certificate_that_nobody_vouches_for_is_refused(self, encrypted: tuple[str, Mailroom]) -> None:
        scheme, mailroom = encrypted
        with sender(mailroom.port, scheme=scheme) as smtp, pytest.raises(MailServerUnavailable) as raised:
            smtp.send(envelope())
        assert str(raised.value).startswith("the mail server's certificate was not accepted: self-signed certificate; ")
        assert "MIKA_SMTP_VERIFY_TLS=false" in str(raised.value)
        assert mailroom.deliveries == []

    def test_where_it_is_not_to_be_verified_any_certificate_will_do(self, encrypted: tuple[str, Mailroom]) -> None:
        scheme, mailroom = encrypted
        smtp = SmtpSender(f"{scheme}://localhost:{mailroom.port}", sender="shop@shop.test", verify_tls=False)
        with smtp:
            smtp.send(envelope())
        assert len(mailroom.deliveries) == 1

    def test_a_login_is_kept_until_the_connection_is_encrypted(self, tls: tuple[Path, ssl.SSLContext]) -> None:
        login = {**accepting("shop", "s3cret"), "auth_require_tls": True}
        with (
            mail_server(tls_context=tls[1], **login) as mailroom,
            sender(mailroom.port, scheme="smtp+starttls", login="shop:s3cret@", verify_tls=False) as smtp,
        ):
            smtp.send(envelope())
            assert len(mailroom.deliveries) == 1

    def test_a_certificate_that_is_trusted_is_used(
        self, encrypted: tuple[str, Mailroom], tls: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scheme, mailroom = encrypted
        monkeypatch.setenv("SSL_CERT_FILE", str(tls[0]))
        with sender(mailroom.port, scheme=scheme) as smtp:
            smtp.send(envelope(email_id="email_1"))
            smtp.send(envelope(email_id="email_2"))
        assert len(mailroom.deliveries) == 2

    def test_a_certificate_for_another_host_is_refused(
        self, encrypted: tuple[str, Mailroom], tls: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scheme, mailroom = encrypted
        monkeypatch.setenv("SSL_CERT_FILE", str(tls[0]))
        smtp = SmtpSender(f"{scheme}://localhost:{mailroom.port}", sender="shop@shop.test")
        with pytest.raises(MailServerUnavailable, match="certificate was not accepted: Hostname mismatch"):
            smtp.send(envelope())

    def test_a_server_without_starttls_gets_no_email(self) -> None:
        with (
            mail_server() as mailroom,
            sender(mailroom.port, scheme="smtp+starttls") as smtp,
            pytest.raises(MailServerUnavailable, match="does not offer STARTTLS, which MIKA_SMTP_URL asks for"),
        ):
            smtp.send(envelope())
        assert mailroom.deliveries == []


class TestInternationalAddresses:
    def test_a_local_part_outside_ascii_is_sent_with_smtputf8(self) -> None:
        with mail_server() as mailroom, sender(mailroom.port) as smtp:
            smtp.send(envelope(to="zoë+tag@exämple.test"))
        [delivery] = mailroom.deliveries
        assert delivery.rcpt_tos == ["zoë+tag@xn--exmple-cua.test"]
        assert delivery.smtp_utf8
        assert mailroom.messages[0]["To"] == "zoë+tag@xn--exmple-cua.test"

    def test_a_server_without_smtputf8_does_not_get_it_but_gets_the_next(self) -> None:
        with mail_server(enable_SMTPUTF8=False) as mailroom, sender(mailroom.port) as smtp:
            with pytest.raises(SendFailed, match="SMTPUTF8"):
                smtp.send(envelope(to="zoë@example.test"))
            smtp.send(envelope())
        assert [delivery.rcpt_tos for delivery in mailroom.deliveries] == [["ada@example.test"]]

    @pytest.mark.parametrize("own", ["reply_to", "bounce_address"])
    def test_an_address_of_our_own_outside_ascii_is_sent_with_smtputf8(self, own: str) -> None:
        with mail_server() as mailroom, sender(mailroom.port, **{own: "tëa@shop.test"}) as smtp:
            smtp.send(envelope())
        assert mailroom.deliveries[0].smtp_utf8

    def test_a_domain_outside_ascii_needs_no_smtputf8(self) -> None:
        with mail_server(enable_SMTPUTF8=False) as mailroom, sender(mailroom.port) as smtp:
            smtp.send(envelope(to="ada@exämple.test"))
        assert mailroom.deliveries[0].rcpt_tos == ["ada@xn--exmple-cua.test"]

    def test_an_ascii_email_after_another_is_sent_without_smtputf8(self) -> None:
        with mail_server() as mailroom, sender(mailroom.port) as smtp:
            smtp.send(envelope(to="zoë@example.test"))
            smtp.send(envelope())
        assert [delivery.smtp_utf8 for delivery in mailroom.deliveries] == [True, False]


class TestSettings:
    @pytest.mark.parametrize(
        "url",
        [
            "",
            "mail.example.test",
            "http://user:s3cret@mail.example.test",
            "smtp://",
            "smtp://user:s3cret@",
            "smtp://user:s3cret@mail.example.test:port",
            "smtp://user:s3cret@mail.example.test:99999",
            "smtp://user:s3cret/more@mail.example.test",
            "smtp://user:s3cret#more@mail.example.test",
            "smtp://user:s3cret@mail.example.test/path",
            "smtp://user:s3cret@mail.example.test?tls=no",
            "smtp://user@mail.example.test",
            "smtp://:s3cret@mail.example.test",
            "smtp://user:s3cr%C3%A9t@mail.example.test",
            "smtp://user:s3cret@[mail.example.test",
            "smtp://user:s3cret@mail..example.test",
        ],
    )
    def test_a_wrong_url_is_refused_by_the_name_of_its_setting_without_the_password(self, url: str) -> None:
        with pytest.raises(ValueError, match="MIKA_SMTP_URL") as raised:
            SmtpSender(url, sender="shop@shop.test")
        assert "s3cr" not in str(raised.value)

    @pytest.mark.parametrize(
        ("login", "username", "password", "sentence"),
        [
            (
                "user:s3cret@",
                "user",
                "s3cret",
                "MIKA_SMTP_URL has a user and a password, and so have MIKA_SMTP_USERNAME",
            ),
            ("", "user", None, "MIKA_SMTP_USERNAME is set without MIKA_SMTP_PASSWORD"),
            ("", None, "s3cret", "MIKA_SMTP_PASSWORD is set without MIKA_SMTP_USERNAME"),
            ("user:s3cret@", None, "s3cret", "MIKA_SMTP_PASSWORD is set without MIKA_SMTP_USERNAME"),
            ("", "user", "s3crét", "MIKA_SMTP_USERNAME and MIKA_SMTP_PASSWORD have characters outside ASCII"),
        ],
    )
    def test_a_wrong_login_is_refused_by_the_names_of_its_settings(
        self, login: str, username: str | None, password: str | None, sentence: str
    ) -> None:
        with pytest.raises(ValueError, match=sentence) as raised:
            sender(25, login=login, username=username, password=password)
        assert "s3cr" not in str(raised.value)

    @pytest.mark.parametrize("name", ["reply_to", "bounce_address"])
    def test_a_wrong_address_is_refused_by_the_name_of_its_setting(self, name: str) -> None:
        with pytest.raises(ValueError, match=f"MIKA_EMAIL_{name.upper()} is not one mail address"):
            sender(25, **{name: "nobody"})

    @pytest.mark.parametrize("from_", ["", "Tea House", "a@b.test, c@d.test"])
    def test_a_wrong_sender_is_refused_by_the_name_of_its_setting(self, from_: str) -> None:
        with pytest.raises(ValueError, match="MIKA_EMAIL_FROM"):
            SmtpSender("smtp://mail.example.test", sender=from_)
