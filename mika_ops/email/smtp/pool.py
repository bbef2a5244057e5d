"""A pool of sessions with a mail server, shared by the threads that send: each holds one while it sends."""

from collections.abc import Callable
from threading import Condition
from typing import Final

from mika_ops.deadline import Deadline
from mika_ops.email.smtp.errors import MailServerFull, MailServerUnavailable
from mika_ops.email.smtp.session import SmtpSession

QUIT_TIMEOUT_SECONDS: Final = 2.0
"""The longest wait for the answer to QUIT: nothing depends on it."""


class SessionPool:
    """Opens no more sessions than there are threads that need one at once.

    A session is used for ``mails_per_session`` emails, then ended. Providers limit how many connections are open: where
    the server accepts no further one while others are open, a thread waits for one of those.
    """

    def __init__(self, connect: Callable[[Deadline], SmtpSession], *, mails_per_session: int) -> None:
        self._connect = connect
        self._mails_per_session = mails_per_session
        self._changed = Condition()
        self._idle: list[SmtpSession] = []
        self._open = 0
        self._most: int | None = None

    def take(self, deadline: Deadline) -> SmtpSession:
        """Return the session used last, or a new one; release it after use. Raises ``MailServerUnavailable``."""
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
        """Return a session to the pool; one that was closed is dropped."""
        with self._changed:
            if session.is_open:
                self._idle.append(session)
            else:
                self._open -= 1
            self._changed.notify()

    def close(self) -> None:
        """End the sessions that are not in use."""
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
        """Note that a connection was refused; say whether the caller may wait for another one instead."""
        with self._changed:
            self._open -= 1
            self._changed.notify()
            if not isinstance(failure, MailServerFull) or self._open == 0:
                return False
            self._most = self._open
            return True
