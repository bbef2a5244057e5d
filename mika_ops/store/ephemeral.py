"""Ephemeral rows: purging the expired, and deleting a person's tokens.

Source: behaviour, sections 7 and 8.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, select, text

from mika_ops.deadline import OutOfTime
from mika_ops.store.database import Database
from mika_ops.store.in_list import in_list
from mika_ops.store.schema.site import ephemeral_records
from mika_ops.timestamps import Timestamp

BATCH: Final = 10_000
"""Rows deleted by one transaction: few enough that the storefront's writes never wait for long."""

_row = ephemeral_records.c

_OLDEST: Final = {
    "sqlite": text(
        "DELETE FROM mika_ephemeral_records WHERE rowid IN (SELECT rowid FROM mika_ephemeral_records "
        "WHERE expires_at <= :due ORDER BY expires_at LIMIT :limit)"
    ),
    "postgresql": text(
        "DELETE FROM mika_ephemeral_records WHERE ctid = ANY(ARRAY(SELECT ctid FROM mika_ephemeral_records "
        "WHERE expires_at <= :due ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED))"
    ),
}
"""Deletes the oldest by where they lie, which is found faster than by their keys."""


@dataclass(frozen=True)
class EphemeralRows:
    """Mika's ephemeral table. Fits ``EphemeralRepository``."""

    database: Database

    def purge_expired(self, *, due: Timestamp, out_of_time: OutOfTime) -> int:
        """Delete what expired, oldest first, batch by batch."""
        statement = _OLDEST[self.database.dialect]
        values = {"due": due, "limit": BATCH}
        purged = 0
        while not out_of_time():
            deleted = self.database.write(lambda connection: connection.execute(statement, values).rowcount)
            purged += deleted
            if deleted < BATCH:
                break
        return purged

    def delete_tokens(self, subjects: Sequence[str]) -> Mapping[str, int]:
        """Delete the tokens and cache markers of these subjects, batch by batch."""
        theirs = (
            select(_row.key)
            .where(
                in_list(self.database.dialect, _row.subject_hash, subjects), _row.kind.in_(("token", "cache_marker"))
            )
            .limit(BATCH)
        )
        statement = delete(ephemeral_records).where(_row.key.in_(theirs)).returning(_row.subject_hash)

        def work(connection: Connection) -> list[str]:
            return list(connection.execute(statement).scalars())

        deleted: dict[str, int] = {}
        while True:
            batch = self.database.write(work)
            for subject in batch:
                deleted[subject] = deleted.get(subject, 0) + 1
            if len(batch) < BATCH:
                return deleted
