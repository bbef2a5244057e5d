"""Python's SMTP connection, held to one deadline: a server that answers a byte at a time cannot outlast it."""

import io
import smtplib
import time
from dataclasses import dataclass
from typing import Any, Self


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


class Connection(smtplib.SMTP):
    """A connection of which everything ends by ``deadline``, which may be moved between two commands."""

    def __init__(self, host: str, port: int, *, deadline: Deadline, **options: Any) -> None:
        self.deadline = deadline
        super().__init__(host, port, timeout=deadline.left(), **options)

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
        socket = self._connection.sock
        if socket is None:
            return 0
        socket.settimeout(self._connection.deadline.left())
        return socket.recv_into(buffer)
