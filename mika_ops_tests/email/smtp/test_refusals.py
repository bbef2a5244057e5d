"""What a mail server refuses, and servers that cannot be reached."""

from typing import Any

import pytest

from mika_ops.email.smtp.errors import MailServerThrottled, MailServerUnavailable, SendFailed
from mika_ops_testing.smtp_server import HANG, free_port, mail_server, silent, tarpit
from mika_ops_tests.email.builders import envelope
from mika_ops_tests.email.smtp.sending import failure, sender


class TestRefusals:
    @pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA", "the message"])
    @pytest.mark.parametrize("answer", ["451 4.3.0 temporary failure", "550 5.7.1 not welcome"])
    def test_a_refusal_is_reported_with_its_code_and_command(self, command: str, answer: str) -> None:
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
    def test_an_answer_that_asks_to_slow_down_is_reported_as_one(
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
    def test_a_refusal_is_reported_without_the_address(self, words: str) -> None:
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

    def test_a_server_that_speaks_no_tls_is_reported(self) -> None:
        with mail_server() as mailroom, pytest.raises(MailServerUnavailable) as raised:
            sender(mailroom.port, scheme="smtps").send(envelope())
        assert "could not be spoken to in TLS" in str(raised.value)
        assert str(raised.value).endswith("check the scheme and the port in MIKA_SMTP_URL")
