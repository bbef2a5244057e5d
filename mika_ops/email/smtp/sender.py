"""Sends emails through a mail server, from any number of threads.

Connections are kept and reused. Where one was dropped before the server received the content of an email, the email is
sent over another. Once the content was sent, a broken connection leaves it unknown whether the server accepted it: that
attempt fails, and the next one repeats the same ``Message-ID`` and ``Idempotency-Key``.
"""

import re
import smtplib
import ssl
from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from types import TracebackType
from typing import Final, Self

from mika_ops.clock import utc_now
from mika_ops.deadline import Deadline
from mika_ops.email.address import needs_smtputf8, sender_mailbox
from mika_ops.email.message import build_message
from mika_ops.email.smtp.connection import Connections
from mika_ops.email.smtp.errors import SendFailed
from mika_ops.email.smtp.pool import QUIT_TIMEOUT_SECONDS, SessionPool
from mika_ops.email.smtp.server_url import SmtpServer
from mika_ops.email.smtp.session import Mail, SmtpSession
from mika_ops.ports.email import Envelope, SendResult
from mika_ops.setting_names import PLAIN_NAMES, SettingNames

_QUEUE_ID: Final = re.compile(
    r"\bqueued as ([^\s<>]+)|\bid=([^\s<>]+)|^(?:2\.\d+\.\d+ )?ok ([\w-]{16,})$", re.IGNORECASE
)
"""What Postfix, Exim and Amazon SES answer to a message that they accepted."""


class SmtpSender:
    """An ``EmailSender`` for a mail server; use it as a context manager, or call ``close``.

    - ``url``: ``smtp://``, ``smtp+starttls://`` or ``smtps://``; ``username`` and ``password`` where it has none.
    - ``sender``, ``reply_to``: the values of ``From`` and ``Reply-To``.
    - ``bounce_address``: receives the notices of emails that could not be delivered; by default the sender.
    - ``verify_tls``: ``False`` encrypts without checking the server's identity.
    - ``connect_timeout_seconds``: the longest that connecting may take, encryption and login included.
    - ``timeout_seconds``: the longest for one email, connecting included.
    - ``messages_per_connection``: after so many, a connection is replaced.

    Raises ``ValueError``, naming the setting, where one cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        sender: str,
        username: str | None = None,
        password: str | None = None,
        reply_to: str | None = None,
        bounce_address: str | None = None,
        verify_tls: bool = True,
        connect_timeout_seconds: float = 10.0,
        timeout_seconds: float = 20.0,
        messages_per_connection: int = 100,
        names: SettingNames = PLAIN_NAMES,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.server = SmtpServer.from_url(url, username=username, password=password, names=names)
        self._from = sender_mailbox(sender, setting=names("email_from"))
        self._bounce_to = sender_mailbox(bounce_address or sender, setting=names("email_bounce_address"))
        self._own_addresses = [self._from, self._bounce_to]
        if reply_to is not None:
            self._own_addresses.append(sender_mailbox(reply_to, setting=names("email_reply_to")))
        self._sender = sender
        self._reply_to = reply_to
        self._verify_tls = verify_tls
        self._connect_timeout_seconds = connect_timeout_seconds
        self._timeout_seconds = timeout_seconds
        self._now = now
        self._connections = Connections()
        self._pool = SessionPool(self._connect, mails_per_session=messages_per_connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connections that are not in use. The sender can be used again: it then opens new ones."""
        self._pool.close()

    def abandon(self) -> None:
        """Abort every email under way; from now on, ``send`` raises ``MailServerUnavailable``."""
        self._connections.cut()

    def check(self) -> None:
        """Connect, encrypt and log in as for an email, then send QUIT: no email is sent.

        Raises ``MailServerUnavailable``, which says what is wrong and which setting to check.
        """
        session = self._connect(Deadline.within(self._timeout_seconds))
        session.quit(Deadline.within(QUIT_TIMEOUT_SECONDS))

    def send(self, envelope: Envelope) -> SendResult:
        """Send an email; the result has the server's queue id, where its answer says one.

        Raises ``MailServerUnavailable`` where no email could be sent, ``MailServerThrottled`` where the server asks
        for fewer, and ``SendFailed`` where it refused this one or the connection was lost.
        """
        mail = self._mail(envelope)
        deadline = Deadline.within(self._timeout_seconds)
        while True:
            session = self._pool.take(deadline)
            is_reused = session.mails > 0
            try:
                return SendResult(provider_message_id=_queue_id(session.send(mail, deadline)))
            except SendFailed:
                if not (is_reused and session.lost_before_content):
                    raise
            finally:
                self._pool.release(session)

    def _mail(self, envelope: Envelope) -> Mail:
        try:
            message = build_message(
                envelope,
                sender=self._sender,
                reply_to=self._reply_to,
                message_id_domain=self._from.domain,
                date=self._now(),
            )
        except ValueError as error:
            raise SendFailed(str(error)) from None
        to = message["To"].addresses[0]
        smtputf8 = needs_smtputf8(*self._own_addresses, to)
        return Mail(bounce_to=self._bounce_to, to=to, content=message.as_bytes(), smtputf8=smtputf8)

    def _connect(self, deadline: Deadline) -> SmtpSession:
        own_name, deadline = self._own_name, deadline.or_within(self._connect_timeout_seconds)
        return SmtpSession.open(
            self.server, deadline, tls=lambda: self._tls, own_name=own_name, connections=self._connections
        )

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if not self._verify_tls:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    @cached_property
    def _own_name(self) -> str:
        # Resolved once: a slow name service would delay every connection.
        return smtplib.SMTP().local_hostname


def _queue_id(reply: str) -> str | None:
    match = _QUEUE_ID.search(" ".join(reply.split()))
    return next(filter(None, match.groups())).rstrip(".,;)") or None if match else None
