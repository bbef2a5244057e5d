"""The ports of ephemeral rows."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from mika_ops.deadline import OutOfTime
from mika_ops.timestamps import Timestamp


@runtime_checkable
class EphemeralPurge(Protocol):
    """Purges expired ephemeral rows."""

    def purge_expired(self, *, due: Timestamp, out_of_time: OutOfTime) -> int:
        """Delete rows with ``expires_at <= due``, in bounded batches, until none is left; return how many."""
        ...


@runtime_checkable
class EphemeralRepository(EphemeralPurge, Protocol):
    """The shop's ephemeral rows: tokens, rate limits, locks, nonces, cache markers.

    Its ``purge_expired`` is called only where the host has no ``ephemeral_purge``.
    """

    def delete_tokens(self, subjects: Sequence[str]) -> Mapping[str, int]:
        """Delete the tokens and cache markers of these subjects; return how many, by subject (zeros may be left out).

        A subject is written as in the row: ``customer:ID``, ``user:ID``, ``email:HASH``, or a bare id or hash.
        """
        ...
