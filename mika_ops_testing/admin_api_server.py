"""A site's admin API on real sockets, whose answers and network faults a test controls."""

import json
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]

NO_WEBHOOK = "mika-ops-check"
"""The webhook that the client asks for to check a site."""

DRIP_SECONDS = 0.02
LONGEST_DRIP = 500
"""Ten seconds of bytes: the longest that a test can hang for a client that does not give up."""


@dataclass(frozen=True)
class Call:
    """One call as the site received it; header names are lower case."""

    path: str
    headers: dict[str, str]
    body: Json
    raw: bytes

    @property
    def key(self) -> str:
        """The idempotency key of the header, as Mika reads it: trimmed, and empty where there is none."""
        return self.headers.get("idempotency-key", "").strip()


class Exchange:
    """One call that is not answered yet."""

    def __init__(self, handler: BaseHTTPRequestHandler, closing: threading.Event) -> None:
        self._handler = handler
        self._closing = closing

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self._handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self._handler.send_header(name, value)
        self._handler.end_headers()
        self._handler.wfile.write(body)

    def send(self, raw: bytes) -> None:
        """Send bytes that need not be valid HTTP."""
        self._handler.wfile.write(raw)
        self._handler.wfile.flush()

    def pause(self, seconds: float) -> None:
        """Wait, but not longer than the site runs."""
        self._closing.wait(seconds)

    def hang_up(self) -> None:
        self._handler.close_connection = True

    def reset(self) -> None:
        """Close the connection so that the client detects the loss at once."""
        self._handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.hang_up()


Reply = Callable[[Exchange], None]


def says(body: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda exchange: exchange.answer(status, raw, headers)


def redirects(status: int, location: str) -> Reply:
    return says(b"", status=status, headers={"Location": location})


def hangs_up(exchange: Exchange) -> None:
    exchange.hang_up()


def resets(exchange: Exchange) -> None:
    exchange.reset()


def hangs_up_mid_answer(exchange: Exchange) -> None:
    exchange.send(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"ok": true, "da')
    exchange.hang_up()


def is_silent(exchange: Exchange) -> None:
    exchange.pause(DRIP_SECONDS * LONGEST_DRIP)
    exchange.hang_up()


def drips_headers(exchange: Exchange) -> None:
    _drip(exchange, b"HTTP/1.1 200 OK\r\nX-Slow: ")


def drips_a_body(exchange: Exchange) -> None:
    _drip(exchange, b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")


def drips_a_body_of_no_length(exchange: Exchange) -> None:
    _drip(exchange, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + json.dumps(done()).encode())


def _drip(exchange: Exchange, start: bytes) -> None:
    exchange.send(start)
    for _ in range(LONGEST_DRIP):
        exchange.pause(DRIP_SECONDS)
        exchange.send(b" ")
    exchange.hang_up()


def done(status: str = "completed", **data: Any) -> Json:
    """Return Mika's envelope for a call that the site accepted."""
    return {"ok": True, "status": 200, "data": {"status": status, **data}}


def refusal(status: int, code: str = "conflict", message: str = "Try again.", **error: Any) -> Json:
    """Return Mika's envelope for a call that it refused."""
    return {"ok": False, "status": status, "error": {"code": code, "message": message, **error}}


def no_such_webhook(id_: str) -> Json:
    """Return Mika's refusal to replay a webhook that does not exist, as it was recorded."""
    fields = {"webhookId": "Webhook was not found."}
    return {"success": True, "data": refusal(404, "NOT_FOUND", f"Webhook '{id_}' was not found.", fieldErrors=fields)}


def wants_a_key(call: Call) -> Json:
    """Return Mika's refusal of a call without the header, as it was recorded: the key in the body does not count."""
    operation = "webhookReplay" if call.path.endswith("replay") else "releaseExpiredReservations"
    message = f"Mika operation 'admin.{operation}' requires an idempotency key."
    return {"success": True, "data": refusal(409, "CONFLICT", message)}


@dataclass
class Site:
    """A site that sends its ``replies`` in order, then repeats the last one.

    Without replies, it accepts what it knows: every call but one for the webhook of a check, which no site has. A call
    without a key is refused.
    """

    url: str
    replies: list[Reply] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    connections: set[tuple[str, int]] = field(default_factory=set)
    reply_to: Callable[[Call], Reply] | None = None

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def will(self, *replies: Reply) -> None:
        self.replies = list(replies)

    def next_reply(self, call: Call) -> Reply:
        if not call.key:
            return says(wants_a_key(call))
        if self.reply_to is not None:
            return self.reply_to(call)
        if not self.replies:
            return says(no_such_webhook(NO_WEBHOOK) if call.body.get("webhookId") == NO_WEBHOOK else done())
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@contextmanager
def running_site(tls: ssl.SSLContext | None = None) -> Iterator[Site]:
    """Run a site on 127.0.0.1, encrypted if there is a context for it."""
    closing = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            call = Call(self.path, headers, json.loads(raw), raw)
            site.connections.add(self.client_address)
            site.calls.append(call)
            site.next_reply(call)(Exchange(self, closing))

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            # A client that gives up is what these tests are about.
            if not isinstance(sys.exception(), OSError):
                super().handle_error(request, client_address)

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        site = Site(f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield site
        finally:
            closing.set()
            server.shutdown()
            thread.join()
