"""A real SMTP server on this machine, which answers as it is told and keeps what arrives."""

import socket
import ssl
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from threading import Thread
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult
from aiosmtpd.smtp import Envelope as Delivery
from aiosmtpd.smtp import Session as SmtpSession

HANG_UP = "hang up"
"""An answer: close the connection instead of answering."""

TAKEN = "250 2.0.0 Ok: queued as ABC123"


@dataclass
class Mailroom:
    """What the server says and has seen. ``answers`` are given in turn, then the server does as it should."""

    answers: dict[str, list[str]] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    deliveries: list[Delivery] = field(default_factory=list)
    sessions: set[Any] = field(default_factory=set)
    port: int = 0

    @property
    def messages(self) -> list[EmailMessage]:
        """The messages that arrived, as their receivers read them."""
        return [message_from_bytes(delivery.content, policy=default) for delivery in self.deliveries]  # type: ignore[arg-type]

    def answer(self, command: str, server: SMTP, otherwise: str) -> str:
        self.seen[command] += 1
        waiting = self.answers.get(command)
        answer = waiting.pop(0) if waiting else otherwise
        if answer == HANG_UP:
            assert server.transport is not None
            server.transport.close()
        return answer

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: SmtpSession, delivery: Delivery, address: str, options: list[str]
    ) -> str:
        self.sessions.add(session.peer)
        answer = self.answer("MAIL", server, "250 OK")
        delivery.mail_from = address
        delivery.mail_options.extend(options)
        return answer

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: SmtpSession, delivery: Delivery, address: str, options: list[str]
    ) -> str:
        answer = self.answer("RCPT", server, "250 OK")
        if answer.startswith("2"):
            delivery.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: SmtpSession, delivery: Delivery) -> str:  # noqa: N802
        answer = self.answer("the message", server, TAKEN)
        self.deliveries.append(delivery)
        return answer


class ScriptedSmtp(SMTP):
    """Answers the DATA command, too, as it is told."""

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802
        answer = self.event_handler.answer("DATA", self, "")
        if answer == HANG_UP:
            return
        await (self.push(answer) if answer else super().smtp_DATA(arg))


class ScriptedController(Controller):
    def factory(self) -> SMTP:
        return ScriptedSmtp(self.handler, **self.SMTP_kwargs)


@contextmanager
def mail_server(answers: dict[str, list[str]] | None = None, **options: Any) -> Iterator[Mailroom]:
    mailroom = Mailroom(answers or {}, port=free_port())
    controller = ScriptedController(mailroom, "127.0.0.1", mailroom.port, **options)
    controller.start()
    try:
        yield mailroom
    finally:
        controller.stop()


@contextmanager
def greeting(words: str) -> Iterator[int]:
    """A port on which one client is greeted with these words and then hung up on."""

    def greet() -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(words.encode() + b"\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = Thread(target=greet)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def accepting(user: str, password: str) -> dict[str, Any]:
    """Options of a server that lets only this user in, without encryption."""

    def authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        known = (data.login, data.password) == (user.encode(), password.encode())
        return AuthResult(success=known, handled=False)

    return {"authenticator": authenticate, "auth_require_tls": False}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def self_signed(directory: Path) -> tuple[Path, ssl.SSLContext]:
    """Make a certificate for 127.0.0.1; return its file and a context for a server that shows it."""
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    subprocess.run(  # noqa: S603 - nothing in it comes from outside
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 "
        f"-keyout {key.name} -out {certificate.name}".split(),
        cwd=directory,
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return certificate, context
