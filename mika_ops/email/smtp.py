"""Sends emails through a mail server.

One connection is kept and reused. Where it turns out to be dropped before the server was given the message, the email
is sent over a new one. Once the message itself was handed over, a broken connection leaves open whether the server took
it: that attempt fails, and the next one repeats the same ``Message-ID`` and ``Idempotency-Key``.
"""

import re
import smtplib
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from email.headerregistry import Address
from types import TracebackType
from typing import Final, Self

from mika_ops.clock import utc_now
from mika_ops.email.address import needs_smtputf8, sender_mailbox
from mika_ops.email.message import build_message
from mika_ops.email.smtp_url import SmtpServer
from mika_ops.ports import Envelope, SendResult
from mika_ops.privacy import redacted

SERVICE_NOT_AVAILABLE: Final = 421
"""With this answer to any command, the server closes the connection (RFC 5321)."""

_QUEUE_ID: Final = re.compile(
    r"\bqueued as ([^\s<>]+)|\bid=([^\s<>]+)|^(?:2\.\d+\.\d+ )?ok ([\w-]{16,})$", re.IGNORECASE
)
"""What Postfix, Exim and Amazon SES answer to a message they took."""

_LEADING_DOT: Final = re.compile(rb"^\.", re.MULTILINE)
"""SMTP doubles it, for a line of one dot ends the message."""


class SendFailed(Exception):
    """The mail server did not take the email, or may not have. The message holds no address and no password."""


class MailServerUnavailable(SendFailed):
    """No email can be sent just now: the server cannot be reached, trusted or logged in to, or it hangs up."""


class SmtpSender:
    """An ``EmailSender`` for a mail server; use it as a context manager, or call ``close``.

    ``url`` is ``smtp://``, ``smtp+starttls://`` or ``smtps://``, ``sender`` the ``From`` value. One email is given up
    after ``timeout_seconds``, connecting included. Raises ``ValueError``, naming the setting, where ``url`` or
    ``sender`` cannot be read.
    """

    def __init__(
        self,
        url: str,
        *,
        sender: str,
        timeout_seconds: float = 20.0,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._server = SmtpServer.from_url(url)
        self._from = sender_mailbox(sender)
        self._sender = sender
        self._timeout_seconds = timeout_seconds
        self._now = now
        self._connection: smtplib.SMTP | None = None
        self._give_up_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection, where there is one. The sender can be used again: it then connects anew."""
        if self._connection is not None:
            with suppress(OSError):
                self._connection.quit()
        self._drop()

    def send(self, envelope: Envelope) -> SendResult:
        """Send an email; the result has the server's queue id, where its answer says one.

        Raises ``SendFailed`` where the server refused it or was lost on the way, ``MailServerUnavailable`` where no
        email could be sent.
        """
        try:
            message = build_message(
                envelope, sender=self._sender, message_id_domain=self._from.domain, date=self._now()
            )
        except ValueError as error:
            raise SendFailed(str(error)) from None
        to = message["To"].addresses[0]
        self._give_up_at = time.monotonic() + self._timeout_seconds
        connection = self._ready_for_data(to)
        try:
            self._limit(connection)
            connection.send(_LEADING_DOT.sub(b"..", message.as_bytes()) + b".\r\n")
            code, reply = connection.getreply()
        except OSError as error:
            self._drop()
            raise SendFailed(
                "the connection to the mail server broke after the message, which it may or may not have taken: "
                + self._safe(_reason(error), to)
            ) from None
        if code // 100 != 2:
            raise self._refusal("the message", code, reply, to)
        return SendResult(provider_message_id=_queue_id(_text(reply)))

    def _ready_for_data(self, to: Address) -> smtplib.SMTP:
        if self._connection is not None:
            with suppress(MailServerUnavailable):
                return self._announce(self._connection, to)
        self._connection = self._connect()
        return self._announce(self._connection, to)

    def _announce(self, connection: smtplib.SMTP, to: Address) -> smtplib.SMTP:
        options = []
        if needs_smtputf8(self._from, to):
            if not connection.has_extn("smtputf8"):
                raise SendFailed("the mail server does not take addresses with letters outside ASCII (SMTPUTF8)")
            options = ["SMTPUTF8", "BODY=8BITMIME"]
        commands: tuple[tuple[str, int, Callable[[], tuple[int, bytes]]], ...] = (
            ("MAIL", 2, lambda: connection.mail(self._from.addr_spec, options)),
            ("RCPT", 2, lambda: connection.rcpt(to.addr_spec)),
            ("DATA", 3, lambda: connection.docmd("DATA")),
        )
        for command, expected, run in commands:
            try:
                self._limit(connection)
                code, reply = run()
            except OSError as error:
                self._drop()
                raise MailServerUnavailable(
                    f"the connection to the mail server broke at {command}: {self._safe(_reason(error), to)}"
                ) from None
            if code // 100 != expected:
                raise self._refusal(command, code, reply, to)
        return connection

    def _connect(self) -> smtplib.SMTP:
        server = self._server
        connection: smtplib.SMTP | None = None
        step = "the connection"
        try:
            if server.scheme == "smtps":
                tls = ssl.create_default_context()
                connection = smtplib.SMTP_SSL(server.host, server.port, timeout=self._left(), context=tls)
            else:
                connection = smtplib.SMTP(server.host, server.port, timeout=self._left())
            if server.scheme == "smtp+starttls":
                step = "STARTTLS"
                self._limit(connection)
                connection.starttls(context=ssl.create_default_context())
            step = "EHLO"
            self._limit(connection)
            connection.ehlo_or_helo_if_needed()
            if server.user is not None and server.password is not None:
                step = "AUTH"
                self._limit(connection)
                connection.login(server.user, server.password)
        except OSError as error:
            if connection is not None:
                connection.close()
            raise MailServerUnavailable(self._connect_failure(step, error)) from None
        return connection

    def _connect_failure(self, step: str, error: OSError) -> str:
        match error:
            case smtplib.SMTPResponseException():
                return self._answer(step, error.smtp_code, _bytes(error.smtp_error))
            case smtplib.SMTPNotSupportedError():
                return f"the mail server does not offer {step}, which MIKA_SMTP_URL asks for"
            case ssl.SSLCertVerificationError():
                return f"the mail server's certificate was not accepted: {self._safe(error.verify_message)}"
        where = f"the mail server {self._server.host}:{self._server.port}"
        what = "could not be reached" if step == "the connection" else f"was lost at {step}"
        return f"{where} {what}: {self._safe(_reason(error))}"

    def _refusal(self, command: str, code: int, reply: bytes, to: Address) -> SendFailed:
        """Return the error for an answer, with the connection made ready for the next email or dropped."""
        sentence = self._answer(command, code, reply, to)
        if code == SERVICE_NOT_AVAILABLE:
            self._drop()
            return MailServerUnavailable(sentence)
        try:
            if self._connection is not None:
                self._connection.rset()
        except OSError:
            self._drop()
        return SendFailed(sentence)

    def _answer(self, command: str, code: int, reply: bytes, to: Address | None = None) -> str:
        return f"the mail server answered {code} to {command}: {self._safe(_text(reply), to)}"

    def _safe(self, text: str, to: Address | None = None) -> str:
        # Servers repeat who was refused, often by the local part alone, which only we can tell from a word.
        recipient = (to.addr_spec, to.username) if to else ()
        for private in filter(None, (*recipient, self._from.addr_spec, self._server.password, self._server.user)):
            text = re.sub(rf"(?<!\w){re.escape(private)}(?!\w)", "<private>", text, flags=re.IGNORECASE)
        return redacted(text)

    def _limit(self, connection: smtplib.SMTP) -> None:
        if connection.sock is None:
            raise smtplib.SMTPServerDisconnected("it is closed")
        connection.sock.settimeout(self._left())

    def _left(self) -> float:
        left = self._give_up_at - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__


def _bytes(reply: bytes | str) -> bytes:
    return reply if isinstance(reply, bytes) else reply.encode()


def _text(reply: bytes) -> str:
    return reply.decode("utf-8", "replace")


def _queue_id(reply: str) -> str | None:
    match = _QUEUE_ID.search(" ".join(reply.split()))
    return next(filter(None, match.groups())).rstrip(".,;)") or None if match else None
