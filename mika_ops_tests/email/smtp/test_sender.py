"""Sending through a mail server, held against a real one."""

import pytest

from mika_ops.email.smtp.errors import MailServerUnavailable, SendFailed
from mika_ops_testing.smtp_server import HANG, HANG_UP, TAKEN, free_port, mail_server
from mika_ops_tests.email.builders import envelope
from mika_ops_tests.email.smtp.sending import NOON, failure, sender


class TestSending:
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
    def test_an_own_address_outside_ascii_is_sent_with_smtputf8(self, own: str) -> None:
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
