"""Sessions with a mail server, shared by the threads that send: each has one to itself for as long as it sends."""

from collections.abc import Callable
from threading import Condition
from typing import Final

from mika_ops.deadline import Deadline
from mika_ops.email.smtp.errors import MailServerFull, MailServerUnavailable
from mika_ops.email.smtp.session import SmtpSession

QUIT_TIMEOUT_SECONDS: Final = 2.0
"""The longest wait for goodbyes: nothing depends on them."""


class SessionPool:
    """Never has more sessions than there were threads at once that wanted one.

    A session is used for ``mails_per_session`` emails, then ended. Where the server takes no further connection while
    others are open, as providers allow only so many, whoever wants one waits for one of the others.
    """

    def __init__(self, connect: Callable[[Deadline], SmtpSession], *, mails_per_session: int) -> None:
        self._connect = connect
        self._mails_per_session = mails_per_session
        self._changed = Condition()
        self._idle: list[SmtpSession] = []
        self._open = 0
        self._most: int | None = None

    def take(self, deadline: Deadline) -> SmtpSession:
        """Return the session that was used last, or a new one; to be given back. Raises ``MailServerUnavailable``."""
        while True:
            session = self._idle_session(deadline)
            if session is not None:
                if session.mails < self._mails_per_session:
                    return session
                session.quit(deadline.or_within(QUIT_TIMEOUT_SECONDS))
            try:
                return self._connect(deadline)
            except BaseException as failure:
                if not self._can_wait_for_another(failure):
                    raise

    def release(self, session: SmtpSession) -> None:
        """Take a session back; one that was closed is forgotten."""
        with self._changed:
            if session.is_open:
                self._idle.append(session)
            else:
                self._open -= 1
            self._changed.notify()

    def close(self) -> None:
        """End the sessions that nobody uses."""
        with self._changed:
            idle, self._idle = self._idle, []
            self._open -= len(idle)
            self._changed.notify_all()
        deadline = Deadline.within(QUIT_TIMEOUT_SECONDS)
        for session in idle:
            session.quit(deadline)

    def _idle_session(self, deadline: Deadline) -> SmtpSession | None:
        """Return an idle session, or ``None`` with one more counted as open, for the caller to connect."""
        with self._changed:
            while not self._idle:
                if self._most is None or self._open < self._most:
                    self._open += 1
                    return None
                try:
                    self._changed.wait(deadline.timeout())
                except TimeoutError:
                    raise MailServerUnavailable(
                        f"no connection to the mail server came free in time: it allows {self._most} at once"
                    ) from None
            return self._idle.pop()

    def _can_wait_for_another(self, failure: BaseException) -> bool:
        """Take note of a connection that was not made; say whether another one may be waited for instead."""
        with self._changed:
            self._open -= 1
            self._changed.notify()
            if not isinstance(failure, MailServerFull) or self._open == 0:
                return False
            self._most = self._open
            return True
