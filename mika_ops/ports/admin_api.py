"""The port of Mika's admin API."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from mika_ops.ports.stock import ReleasedReservations
from mika_ops.timestamps import Timestamp


@dataclass(frozen=True)
class ReplayedWebhook:
    """The admin API's answer to a replay; ``error`` is the reason if it was refused or failed."""

    ok: bool
    error: str | None = None


@runtime_checkable
class AdminApi(Protocol):
    """The two calls of Mika's admin API that maintenance makes.

    A call is idempotent: repeated with the same ``idempotency_key``, it changes nothing and returns the first answer.
    """

    def release_expired_reservations(self, *, now: Timestamp, idempotency_key: str) -> ReleasedReservations:
        """Have the site release its expired reservations. Raises if the site refuses or cannot be reached."""
        ...

    def replay_webhook(self, webhook_id: str, *, idempotency_key: str) -> ReplayedWebhook:
        """Have the site replay a payment webhook. Raises if the site cannot be reached."""
        ...
