"""Python's SMTP connection, held to one deadline: a server that answers a byte at a time cannot outlast it."""

import io
import smtplib
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import Any, Self
from weakref import WeakSet


@dataclass(frozen=True)
class Deadline:
    """When to give up, by ``time.monotonic``."""

    at: float

    @classmethod
    def within(cls, seconds: float) -> Self:
        """Return the deadline that many seconds from now."""
        return cls(time.monotonic() + seconds)

    def left(self) -> float:
        """Return how many seconds are left. Raises ``TimeoutError`` where none are."""
        left = self.at - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left

    def or_within(self, seconds: float) -> "Deadline":
        """Return the deadline that many seconds from now, but not after this one."""
        return Deadline(min(self.at, time.monotonic() + seconds))

    def half(self) -> "Deadline":
        """Return the deadline that leaves half of the time for something else."""
        now = time.monotonic()
        return Deadline(now + (self.at - now) / 2)


class Connections:
    """The connections that there are, so that whoever waits for a server can be made to stop waiting."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._all: WeakSet[Connection] = WeakSet()
        self._are_cut = False

    def add(self, connection: "Connection") -> None:
        """Take note of a connection before it is made. Raises ``TimeoutError`` where all were cut."""
        with self._lock:
            if self._are_cut:
                raise TimeoutError("the run was asked to stop")
            self._all.add(connection)

    def cut(self) -> None:
        """Cut every connection in the middle of what it does, and let no other one be made."""
        with self._lock:
            self._are_cut = True
            cut = list(self._all)
        for connection in cut:
            connection.cut()


class Connection(smtplib.SMTP):
    """A connection of which everything ends by ``deadline``, which may be moved between two commands."""

    def __init__(self, host: str, port: int, *, deadline: Deadline, among: Connections, **options: Any) -> None:
        self.deadline = deadline
        among.add(self)
        super().__init__(host, port, timeout=deadline.left(), **options)

    def cut(self) -> None:
        """End, from another thread, whatever this connection waits for."""
        if self.sock is not None:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)

    def send(self, s: Any) -> None:
        if self.sock is not None:
            self.sock.settimeout(self.deadline.left())
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
        connected.settimeout(self._connection.deadline.left())
        return connected.recv_into(buffer)
