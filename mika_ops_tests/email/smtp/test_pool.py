"""Sending from many threads over few connections."""

import ssl
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mika_ops.deadline import Deadline
from mika_ops.email.smtp import pool as pool_module
from mika_ops.email.smtp.connection import Connections
from mika_ops.email.smtp.errors import MailServerUnavailable, SendFailed
from mika_ops.email.smtp.pool import SessionPool
from mika_ops.email.smtp.sender import SmtpSender
from mika_ops.email.smtp.server_url import SmtpServer
from mika_ops.email.smtp.session import SmtpSession
from mika_ops.ports.email import SendResult
from mika_ops_testing.smtp_server import HANG, HANG_UP, Mailroom, mail_server
from mika_ops_tests.email.builders import envelope


def sender(mailroom: Mailroom, **options: Any) -> SmtpSender:
    return SmtpSender(f"smtp://127.0.0.1:{mailroom.port}", sender="shop@shop.test", **options)


def send_all(smtp: SmtpSender, count: int, *, threads: int) -> Sequence[SendResult | SendFailed]:
    """Send so many emails from so many threads; return how each ended."""

    def send(number: int) -> SendResult | SendFailed:
        try:
            return smtp.send(envelope(email_id=f"email_{number}"))
        except SendFailed as failure:
            return failure

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(send, range(count)))


def connected(mailroom: Mailroom, deadline: Deadline) -> SmtpSession:
    server = SmtpServer.from_url(f"smtp://127.0.0.1:{mailroom.port}")
    tls = ssl.create_default_context
    return SmtpSession.open(server, deadline, tls=tls, own_name="test", connections=Connections())


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def failures(ends: Sequence[SendResult | SendFailed]) -> list[SendFailed]:
    return [end for end in ends if isinstance(end, SendFailed)]


@pytest.mark.parametrize("threads", [1, 2, 16])
def test_so_many_threads_send_at_once_over_as_many_connections_and_keep_them(threads: int) -> None:
    with mail_server(together=threads) as mailroom, sender(mailroom) as smtp:
        assert failures(send_all(smtp, threads, threads=threads)) == []
        assert mailroom.connections == threads
        assert failures(send_all(smtp, 5 * threads, threads=threads)) == []
        assert (mailroom.connections, mailroom.most_open) == (threads, threads)
    assert len(mailroom.deliveries) == 6 * threads
    assert mailroom.seen["NOOP"] == 0


def test_of_several_idle_connections_the_one_used_last_is_used_next() -> None:
    with mail_server(together=4) as mailroom, sender(mailroom) as smtp:
        send_all(smtp, 4, threads=4)
        send_all(smtp, 3, threads=1)
    assert len(set(mailroom.peers[:4])) == 4
    assert len(set(mailroom.peers[4:])) == 1


def test_a_connection_is_replaced_after_as_many_emails_as_are_set() -> None:
    with mail_server() as mailroom, sender(mailroom, messages_per_connection=3) as smtp:
        assert failures(send_all(smtp, 7, threads=1)) == []
        assert (mailroom.connections, mailroom.seen["QUIT"], mailroom.most_open) == (3, 2, 1)
    assert [mailroom.peers.count(peer) for peer in dict.fromkeys(mailroom.peers)] == [3, 3, 1]


def test_with_many_threads_too_every_connection_is_replaced_in_time() -> None:
    with mail_server() as mailroom, sender(mailroom, messages_per_connection=5) as smtp:
        assert failures(send_all(smtp, 60, threads=4)) == []
    assert max(mailroom.peers.count(peer) for peer in set(mailroom.peers)) == 5
    assert mailroom.most_open <= 4


def test_idle_connections_that_were_dropped_are_all_replaced() -> None:
    with mail_server({"MAIL": ["250 OK"] * 3 + [HANG_UP] * 3}, together=3) as mailroom, sender(mailroom) as smtp:
        send_all(smtp, 3, threads=3)
        assert failures(send_all(smtp, 3, threads=1)) == []
    assert (len(mailroom.deliveries), mailroom.connections) == (6, 4)


def test_closing_says_goodbye_on_every_connection() -> None:
    with mail_server(together=5) as mailroom:
        with sender(mailroom) as smtp:
            send_all(smtp, 5, threads=5)
        assert mailroom.seen["QUIT"] == 5


def test_a_server_that_does_not_answer_goodbyes_is_left_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "QUIT_TIMEOUT_SECONDS", 0.2)
    with mail_server({"QUIT": [HANG] * 5}, together=5) as mailroom:
        smtp = sender(mailroom)
        send_all(smtp, 5, threads=5)
        started = time.monotonic()
        smtp.close()
        assert time.monotonic() - started < 1


def test_an_email_that_was_interrupted_takes_its_connection_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with mail_server() as mailroom, sender(mailroom) as smtp:
        smtp.send(envelope(email_id="email_1"))
        with monkeypatch.context() as patched:
            patched.setattr("smtplib.SMTP.rcpt", interrupt)
            with pytest.raises(KeyboardInterrupt):
                smtp.send(envelope(email_id="email_2"))
        smtp.send(envelope(email_id="email_3"))
    assert [message["Idempotency-Key"] for message in mailroom.messages] == ["email_1", "email_3"]
    assert mailroom.connections == 2


class TestServersThatAllowFewConnections:
    def test_threads_wait_for_the_connections_that_the_server_allows(self) -> None:
        with mail_server(allows=2) as mailroom, sender(mailroom) as smtp:
            assert failures(send_all(smtp, 40, threads=8)) == []
        assert (len(mailroom.deliveries), mailroom.most_open) == (40, 2)
        assert mailroom.turned_away <= 6

    def test_a_connection_that_ends_makes_room_for_another(self) -> None:
        with mail_server(allows=2) as mailroom, sender(mailroom, messages_per_connection=3) as smtp:
            assert failures(send_all(smtp, 40, threads=8)) == []
        assert (len(mailroom.deliveries), mailroom.most_open) == (40, 2)

    def test_an_email_waits_no_longer_than_its_time(self) -> None:
        with mail_server(allows=1) as mailroom:
            pool = SessionPool(lambda deadline: connected(mailroom, deadline), mails_per_session=10)
            in_use = pool.take(Deadline.within(5))
            with pytest.raises(MailServerUnavailable, match="no connection to the mail server came free in time"):
                pool.take(Deadline.within(0.2))
            pool.release(in_use)
            assert pool.take(Deadline.within(5)) is in_use
            pool.release(in_use)
            pool.close()

    def test_a_server_that_allows_none_is_unavailable_at_once(self) -> None:
        with mail_server(allows=0) as mailroom, sender(mailroom) as smtp:
            started = time.monotonic()
            ends = failures(send_all(smtp, 8, threads=4))
            assert time.monotonic() - started < 5
        assert len(ends) == 8
        assert all(isinstance(end, MailServerUnavailable) for end in ends)
        assert {str(end) for end in ends} == {
            "the mail server answered 421 to the greeting: 4.7.0 too many connections"
        }
