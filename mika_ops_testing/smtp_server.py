"""A real SMTP server on this machine, whose answers a test controls and which keeps the messages."""

import asyncio
import socket
import ssl
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from threading import Event, Thread
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult
from aiosmtpd.smtp import Envelope as Delivery
from aiosmtpd.smtp import Session as SmtpSession

HANG_UP = "hang up"
"""An answer: close the connection instead of answering."""

HANG = "hang"
"""An answer: none, and the connection stays open."""

TAKEN = "250 2.0.0 Ok: queued as ABC123"


@dataclass
class Mailroom:
    """The answers of the server and what it received. It sends ``answers`` in order, then answers normally.

    Messages are answered once ``together`` of them have arrived. Of connections, ``allows`` may be open at once.
    """

    answers: dict[str, list[str]] = field(default_factory=dict)
    together: int = 0
    allows: int = 1000
    seen: Counter[str] = field(default_factory=Counter)
    deliveries: list[Delivery] = field(default_factory=list)
    sessions: set[Any] = field(default_factory=set)
    peers: list[Any] = field(default_factory=list)
    port: int = 0
    started: bool = False
    connections: int = 0
    turned_away: int = 0
    open: int = 0
    most_open: int = 0
    loop: asyncio.AbstractEventLoop | None = None
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def messages(self) -> list[EmailMessage]:
        """The messages that arrived, as their receivers read them."""
        return [message_from_bytes(delivery.content, policy=default) for delivery in self.deliveries]  # type: ignore[arg-type]

    def answer_messages(self) -> None:
        """Answer the messages that are held back, and all later ones at once."""
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self._arrived.set)

    async def answer(self, command: str, server: SMTP, otherwise: str) -> str:
        self.seen[command] += 1
        waiting = self.answers.get(command)
        answer = waiting.pop(0) if waiting else otherwise
        if answer == HANG:
            await asyncio.Event().wait()
        if answer == HANG_UP:
            assert server.transport is not None
            server.transport.close()
        return answer

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: SmtpSession, delivery: Delivery, address: str, options: list[str]
    ) -> str:
        self.sessions.add(session.peer)
        answer = await self.answer("MAIL", server, "250 OK")
        delivery.mail_from = address
        delivery.mail_options.extend(options)
        return answer

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: SmtpSession, delivery: Delivery, address: str, options: list[str]
    ) -> str:
        answer = await self.answer("RCPT", server, "250 OK")
        if answer.startswith("2"):
            delivery.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: SmtpSession, delivery: Delivery) -> str:  # noqa: N802
        self.deliveries.append(delivery)
        self.peers.append(session.peer)
        if len(self.deliveries) >= self.together:
            self._arrived.set()
        await self._arrived.wait()
        return await self.answer("the message", server, TAKEN)

    async def handle_QUIT(self, server: SMTP, session: SmtpSession, delivery: Delivery) -> str:  # noqa: N802
        return await self.answer("QUIT", server, "221 Bye")

    async def handle_NOOP(  # noqa: N802
        self, server: SMTP, session: SmtpSession, delivery: Delivery, argument: str
    ) -> str:
        return await self.answer("NOOP", server, "250 OK")


class ScriptedSmtp(SMTP):
    """Also lets a test control the answers to the greeting, EHLO and DATA, and counts connections."""

    admitted = False

    async def _handle_client(self) -> None:
        room: Mailroom = self.event_handler
        if not room.started:
            return await super()._handle_client()
        full = "421 4.7.0 too many connections" if room.open >= room.allows else ""
        answer = await room.answer("greeting", self, full)
        if answer == HANG_UP:
            return None
        if answer:
            room.turned_away += 1
            await self.push(answer)
            assert self.transport is not None
            self.transport.close()
            return None
        self.admitted = True
        room.connections += 1
        room.open += 1
        room.most_open = max(room.most_open, room.open)
        return await super()._handle_client()

    def connection_lost(self, error: Exception | None) -> None:
        self.event_handler.open -= self.admitted
        self.admitted = False
        super().connection_lost(error)

    async def smtp_EHLO(self, hostname: str) -> None:  # noqa: N802
        await self.event_handler.answer("EHLO", self, "")
        await super().smtp_EHLO(hostname)

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802
        answer = await self.event_handler.answer("DATA", self, "")
        if answer == HANG_UP:
            return
        await (self.push(answer) if answer else super().smtp_DATA(arg))


class ScriptedController(Controller):
    def factory(self) -> SMTP:
        return ScriptedSmtp(self.handler, **self.SMTP_kwargs)


@contextmanager
def mail_server(
    answers: dict[str, list[str]] | None = None, *, together: int = 0, allows: int = 1000, **options: Any
) -> Iterator[Mailroom]:
    mailroom = Mailroom(answers or {}, together, allows, port=free_port())
    controller = ScriptedController(mailroom, "127.0.0.1", mailroom.port, **options)
    controller.start()  # it connects once itself, to see that the server is there
    mailroom.loop, mailroom.started = controller.loop, True
    try:
        yield mailroom
    finally:
        controller.stop()


@contextmanager
def silent() -> Iterator[int]:
    """A port that accepts every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@contextmanager
def tarpit() -> Iterator[int]:
    """A port that sends one client an endless greeting, one letter at a time."""
    hung_up = Event()

    def greet() -> None:
        connection, _ = server.accept()
        with connection, suppress(OSError):
            connection.sendall(b"220 ")
            while not hung_up.wait(0.02):
                connection.sendall(b"a")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = Thread(target=greet)
        thread.start()
        yield server.getsockname()[1]
        hung_up.set()
        thread.join()


def accepting(user: str, password: str) -> dict[str, Any]:
    """Options of a server that accepts only this user's login, without encryption."""

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
