"""Python's SMTP connection, held to one deadline, even where a server answers a byte at a time."""

import io
import smtplib
import socket
from contextlib import suppress
from threading import Lock
from typing import Any
from weakref import WeakSet

from mika_ops.deadline import Deadline


class Connections:
    """All open connections, so that another thread can end the wait for a server."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._all: WeakSet[Connection] = WeakSet()
        self._are_cut = False

    def add(self, connection: "Connection") -> None:
        """Register a connection before it is made. Raises ``TimeoutError`` once all were cut."""
        with self._lock:
            if self._are_cut:
                raise TimeoutError("the run was asked to stop")
            self._all.add(connection)

    def cut(self) -> None:
        """Cut every connection, whatever it is doing, and allow no new one."""
        with self._lock:
            self._are_cut = True
            cut = list(self._all)
        for connection in cut:
            connection.cut()


class Connection(smtplib.SMTP):
    """A connection on which every step ends by ``deadline``, which may be moved between two commands."""

    def __init__(self, host: str, port: int, *, deadline: Deadline, connections: Connections, **options: Any) -> None:
        self.deadline = deadline
        connections.add(self)
        super().__init__(host, port, timeout=deadline.timeout(), **options)

    def cut(self) -> None:
        """End, from another thread, what this connection waits for."""
        if self.sock is not None:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)

    def send(self, s: Any) -> None:
        if self.sock is not None:
            self.sock.settimeout(self.deadline.timeout())
        super().send(s)

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None:
            self.file = io.BufferedReader(_TimedReader(self))
        return super().getreply()


class TlsConnection(Connection, smtplib.SMTP_SSL):
    """The same, encrypted from the start."""


class _TimedReader(io.RawIOBase):
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        connected = self._connection.sock
        if connected is None:
            return 0
        connected.settimeout(self._connection.deadline.timeout())
        return connected.recv_into(buffer)
