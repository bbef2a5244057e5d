"""The port of Mika's admin API."""

import hashlib
import re
from dataclasses import dataclass
from typing import Final, Literal, Protocol, runtime_checkable

from mika_ops.ports.stock import ReleasedReservations
from mika_ops.timestamps import Timestamp

LONGEST_KEY: Final = 200
"""Characters of an idempotency key. Mika sets no limit, but an index row of Postgres and an HTTP header do."""

_PLAIN_KEY: Final = re.compile(rf"[!-~]{{1,{LONGEST_KEY}}}")


def idempotency_key(*parts: str) -> str:
    """Return one key made of these parts: printable ASCII without spaces, at most ``LONGEST_KEY`` characters.

    Where the parts do not fit, the key is their digest. Equal parts give equal keys. Raises ``ValueError`` if all parts
    are empty: such a key is no key.
    """
    if not any(parts):
        raise ValueError("an idempotency key must not be empty")
    key = ":".join(parts)
    if _PLAIN_KEY.fullmatch(key):
        return key
    return f"sha256:{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"


@dataclass(frozen=True)
class ReplayedWebhook:
    """The admin API's answer to a replay.

    ``ok``: the site accepted it, and it did not fail. ``error``: the reason if it failed. Mika's answer has one in few
    cases: where it has none, the subtask reads ``record.lastError`` of the webhook. ``unprocessed``: why the site
    accepted the replay without processing the webhook: it is ``not_eligible`` because it was processed before, or its
    workflow is ``running``.
    """

    ok: bool
    error: str | None = None
    unprocessed: Literal["not_eligible", "running"] | None = None


@runtime_checkable
class AdminApi(Protocol):
    """The two calls of Mika's admin API that maintenance makes. Both write, and both need an idempotency key.

    Each call that Mika accepts leaves an audit document that nothing deletes, also where nothing was due.

    A key belongs to one call of one run. Within that call it may be sent again, as after a lost answer; it is never
    used for another call. The function ``idempotency_key`` of this module makes keys that every site accepts.

    What a repeated key does depends on the site. With EmDash 0.32 and older it has no effect: the call runs again. From
    EmDash 0.33 on, a key that was used returns its first answer, whatever has become due since; a key whose first call
    still runs is refused, and so is a key whose first call was lost with the site's process, indefinitely. So a later
    attempt needs a new key. Source: behaviour, section 10.
    """

    def release_expired_reservations(self, *, now: Timestamp, idempotency_key: str) -> ReleasedReservations:
        """Have the site release the reservations that had expired by ``now``, which is not later than the real time.

        Raises if the site refuses or cannot be reached.
        """
        ...

    def replay_webhook(self, webhook_id: str, *, idempotency_key: str) -> ReplayedWebhook:
        """Have the site replay a payment webhook, due or not. Raises if the site refuses or cannot be reached."""
        ...
