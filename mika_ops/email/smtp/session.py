"""One session with a mail server: connects, then sends emails over the connection, one after the other."""

import re
import smtplib
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from email.headerregistry import Address
from typing import Final, Self

from mika_ops.deadline import Deadline
from mika_ops.email.smtp.connection import Connection, Connections, TlsConnection
from mika_ops.email.smtp.errors import (
    AUTHENTICATION_REQUIRED,
    SERVICE_NOT_AVAILABLE,
    MailServerFull,
    MailServerThrottled,
    MailServerUnavailable,
    SendFailed,
    answered,
    asks_to_slow_down,
    reason,
    redact_all,
)
from mika_ops.email.smtp.server_url import SmtpServer
from mika_ops.setting_names import SettingNames

_LEADING_DOT: Final = re.compile(rb"^\.", re.MULTILINE)
"""SMTP doubles it, for a line of one dot ends the message."""


@dataclass(frozen=True, repr=False)
class Mail:
    """An email in the form that SMTP needs; ``bounce_to`` receives the notice that it could not be delivered."""

    bounce_to: Address
    to: Address
    content: bytes
    smtputf8: bool


class SmtpSession:
    """A connection to a mail server that is ready for emails.

    ``mails`` counts the emails sent over it, successfully or not. ``lost_before_content`` says that the connection was
    lost before the server had received any content of the last one: that email can safely be sent again.
    """

    def __init__(self, connection: Connection, server: SmtpServer) -> None:
        self._connection = connection
        self._server = server
        self.mails = 0
        self.lost_before_content = False

    @classmethod
    def open(
        cls,
        server: SmtpServer,
        deadline: Deadline,
        *,
        tls: Callable[[], ssl.SSLContext],
        own_name: str,
        connections: Connections,
    ) -> Self:
        """Connect, encrypt and log in. Raises ``MailServerUnavailable``, which names the setting to check."""
        connection: Connection | None = None
        step = "the greeting"
        try:
            if server.scheme == "smtps":
                connection = TlsConnection(
                    server.host,
                    server.port,
                    deadline=deadline,
                    connections=connections,
                    local_hostname=own_name,
                    context=tls(),
                )
            else:
                connection = Connection(
                    server.host, server.port, deadline=deadline, connections=connections, local_hostname=own_name
                )
            if server.scheme == "smtp+starttls":
                step = "STARTTLS"
                connection.starttls(context=tls())
            step = "EHLO"
            connection.ehlo_or_helo_if_needed()
            if server.user is not None and server.password is not None:
                step = "AUTH"
                connection.login(server.user, server.password)
        except OSError as error:
            if connection is not None:
                connection.close()
            raise _unavailable(server, step, error) from None
        return cls(connection, server)

    @property
    def is_open(self) -> bool:
        """Whether the connection can take another email, as far as is known here."""
        return self._connection.sock is not None

    def send(self, mail: Mail, deadline: Deadline) -> str:
        """Send an email; return the server's answer. Raises ``SendFailed`` or what derives from it."""
        try:
            return self._send(mail, deadline)
        except SendFailed:
            raise
        except BaseException:
            # In the middle of a command: the server might take the next command for content.
            self._connection.close()
            raise

    def quit(self, deadline: Deadline) -> None:
        """Send QUIT, and close the connection whatever the server answers."""
        self._connection.deadline = deadline
        with suppress(OSError):
            self._connection.quit()
        self._connection.close()

    def _send(self, mail: Mail, deadline: Deadline) -> str:
        connection = self._connection
        # An idle connection may be dead without notice: the other half of the time is for a new one.
        connection.deadline = deadline if self.mails == 0 else deadline.half()
        self.mails += 1
        self.lost_before_content = False
        options = []
        if mail.smtputf8:
            if not connection.has_extn("smtputf8"):
                raise SendFailed("the mail server does not take addresses with letters outside ASCII (SMTPUTF8)")
            options = ["SMTPUTF8", "BODY=8BITMIME"]
        self._command("MAIL", 2, lambda: connection.mail(mail.bounce_to.addr_spec, options), mail)
        connection.deadline = deadline
        self._command("RCPT", 2, lambda: connection.rcpt(mail.to.addr_spec), mail)
        self._command("DATA", 3, lambda: connection.docmd("DATA"), mail)
        try:
            connection.send(_LEADING_DOT.sub(b"..", mail.content) + b".\r\n")
            code, reply = connection.getreply()
        except OSError as error:
            connection.close()
            raise SendFailed(
                "the connection to the mail server broke after the message, which it may or may not have taken: "
                + redact_all(reason(error), self._private(mail))
            ) from None
        if code // 100 != 2:
            raise self._refusal("the message", code, reply, mail)
        return _text(reply)

    def _command(self, command: str, expected: int, run: Callable[[], tuple[int, bytes]], mail: Mail) -> None:
        try:
            code, reply = run()
        except OSError as error:
            self._connection.close()
            self.lost_before_content = True
            # Once the server knows the recipient, the email itself may be the cause.
            failure = MailServerUnavailable if command == "MAIL" else SendFailed
            why = redact_all(reason(error), self._private(mail))
            raise failure(f"the connection to the mail server broke at {command}: {why}") from None
        if code // 100 != expected:
            self.lost_before_content = code == SERVICE_NOT_AVAILABLE
            raise self._refusal(command, code, reply, mail)

    def _refusal(self, command: str, code: int, reply: bytes, mail: Mail) -> SendFailed:
        """Return the error for an answer, with the connection made ready for the next email or closed."""
        words = _text(reply)
        sentence = answered(command, code, words, self._private(mail))
        if code == SERVICE_NOT_AVAILABLE:
            self._connection.close()
        else:
            try:
                self._connection.rset()
            except OSError:
                self._connection.close()
        if command == "MAIL" and code == SERVICE_NOT_AVAILABLE:
            return MailServerUnavailable(sentence)
        if command == "MAIL" and code == AUTHENTICATION_REQUIRED:
            return MailServerUnavailable(f"{sentence}; {_login_remedy(self._server.names)}")
        return (MailServerThrottled if asks_to_slow_down(code, words) else SendFailed)(sentence)

    def _private(self, mail: Mail) -> tuple[str | None, ...]:
        server, to = self._server, mail.to
        return (to.addr_spec, to.username, mail.bounce_to.addr_spec, server.password, server.user)


def _unavailable(server: SmtpServer, step: str, error: OSError) -> MailServerUnavailable:
    private, names = (server.password, server.user), server.names
    where = f"the mail server {server.host}:{server.port}"
    match error:
        case smtplib.SMTPResponseException(smtp_code=code, smtp_error=reply):
            sentence = answered(step, code, _text(reply), private)
            if code // 100 == 4:
                return MailServerFull(sentence)
            return MailServerUnavailable(f"{sentence}; {_login_remedy(names)}" if step == "AUTH" else sentence)
        case smtplib.SMTPNotSupportedError() if step == "AUTH":
            return MailServerUnavailable(
                f"the mail server offers no login (AUTH) over {server.scheme}: use smtp+starttls or smtps in "
                f"{names('smtp_url')}, or set no user and no password"
            )
        case smtplib.SMTPNotSupportedError():
            return MailServerUnavailable(f"the mail server does not offer {step}, which {names('smtp_url')} asks for")
        case ssl.SSLCertVerificationError():
            refused = f"the mail server's certificate was not accepted: {redact_all(error.verify_message, private)}"
            return MailServerUnavailable(f"{refused}; {_certificate_remedy(names)}")
        case ssl.SSLError():
            return MailServerUnavailable(
                f"{where} could not be spoken to in TLS: {redact_all(reason(error), private)}; "
                f"check the scheme and the port in {names('smtp_url')}"
            )
        case smtplib.SMTPException():
            return MailServerUnavailable(f"{where} was lost at {step}: {redact_all(reason(error), private)}")
    what = "could not be reached" if step == "the greeting" else f"was lost at {step}"
    return MailServerUnavailable(f"{where} {what}: {redact_all(reason(error), private)}")


def _certificate_remedy(names: SettingNames) -> str:
    return (
        f"{names('smtp_url')} must name the host as its certificate does, and SSL_CERT_FILE may name your own "
        f"authority; {names('smtp_verify_tls')}=false sends without verifying the certificate"
    )


def _login_remedy(names: SettingNames) -> str:
    return (
        f"check the user and the password, in {names('smtp_url')} or in {names('smtp_username')} and "
        f"{names('smtp_password')}"
    )


def _text(reply: bytes | str) -> str:
    return reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
