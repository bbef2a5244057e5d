"""Persistence: a write that must not be lost is repeated while the lease of its emails allows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential_jitter

from mika_ops.clock import Clock
from mika_ops.documents.repository import RepositoryUnreachable
from mika_ops.email.outbox.attempts import Leased
from mika_ops.timestamps import to_datetime

T = TypeVar("T")

LONGEST_WAIT_SECONDS: Final = 5.0
"""How long to wait at most before a write to a storage that cannot be reached is retried."""


@dataclass(frozen=True)
class LeasePersistence:
    """Repeats writes about leased emails: an email that was sent and not recorded would be sent again.

    ``aborted`` says that the run has no time left, as its process is about to be killed.
    """

    clock: Clock
    sleep: Callable[[float], None]
    aborted: Callable[[], bool]

    def write(self, write: Callable[[], T], emails: Sequence[Leased]) -> T:
        """Call ``write``, again while the storage cannot be reached and any of the emails is leased.

        Raises ``RepositoryUnreachable`` after that, and whatever else ``write`` raises at once.
        """
        last = max((to_datetime(each.expires_at) for each in emails), default=None)
        left = 0.0 if last is None else (last - to_datetime(self.clock.stamp())).total_seconds()

        def stop(state: RetryCallState) -> bool:
            # By the timer, and by the waits themselves: a clock that is set back must not keep anybody waiting.
            return self.aborted() or max(state.seconds_since_start or 0.0, state.idle_for) + state.upcoming_sleep > left

        repeated = Retrying(
            stop=stop,
            wait=wait_exponential_jitter(multiplier=0.1, max=LONGEST_WAIT_SECONDS, jitter=0.1),
            retry=retry_if_exception_type(RepositoryUnreachable),
            sleep=self.sleep,
            reraise=True,
        )
        done: T = repeated(write)
        return done
