"""The ACP session store: mika-ops' own tables, for sites that keep their checkout sessions beside their shop.

``mika_acp_sessions`` holds one row for each session: the whole record as JSON in ``data``, and the fields by which
maintenance selects. A storefront that writes a session must compare ``version`` with the one it read and raise it by
one (optimistic concurrency). ``mika_acp_idempotency_keys`` holds idempotency keys, which are deleted with their
session. ``mika-ops db prepare`` creates and upgrades them, and ``mika_ops_schema``, which holds their version.
``docs/acp-sessions.md`` has the layout and the statements of a storefront's store.

Source: behaviour, section 6.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

from sqlalchemy import ColumnElement, Connection, Row, and_, bindparam, delete, literal, or_, select, tuple_

from mika_ops.clock import Clock
from mika_ops.deadline import OutOfTime
from mika_ops.documents.document import Document, MalformedDocument
from mika_ops.documents.repository import Change, Changes, Note, Rule
from mika_ops.ports.acp_sessions import CleanedSessions
from mika_ops.rules import acp_session
from mika_ops.store.database import Database
from mika_ops.store.documents import parsed, written_out
from mika_ops.store.errors import DatabaseError
from mika_ops.store.in_list import in_list
from mika_ops.store.migrate import wrong_version
from mika_ops.store.schema.own import acp_idempotency_keys, acp_sessions
from mika_ops.timestamps import Timestamp

LARGEST_VERSION: Final = 2**63 - 1
"""The largest value of the column ``version``."""

BATCH: Final = 500
"""Sessions changed by one transaction."""

_row = acp_sessions.c


@dataclass(frozen=True)
class AcpSessionStore:
    """ACP checkout sessions in the site's database. Fits ``AcpSessionCleanup`` and ``AcpSessionEditor``."""

    database: Database

    def put(self, sessions: Sequence[Document]) -> None:
        """Store new sessions, as a storefront would."""
        if sessions:
            self.database.write(lambda connection: insert_sessions(connection, sessions))

    def clean_up(
        self, clock: Clock, *, limit: int | None, purge_after_hours: float, out_of_time: OutOfTime
    ) -> CleanedSessions:
        """Purge and expire the sessions that are due, least recently updated first; each is tried once.

        Raises ``DatabaseError`` where the tables are of another version than ours.
        """
        if (wrong := wrong_version(self.database)) is not None:
            raise DatabaseError(wrong)
        due, purge_after = clock.scheduled_at, timedelta(hours=purge_after_hours)
        scanned = expired = purged = 0
        malformed: list[str] = []
        after = ("", "")
        while True:
            room = BATCH if limit is None else min(BATCH, limit - scanned)
            page = self._due(due, after=after, limit=room + 1)
            taken, has_more = page[:room], len(page) > room
            if not taken or out_of_time():
                return CleanedSessions(scanned, expired, purged, bool(page), tuple(malformed))
            batch = self.database.write(
                partial(self._clean, ids=[row.id for row in taken], due=due, now=clock.stamp(), purge_after=purge_after)
            )
            scanned += len(taken) - len(batch.malformed_ids)
            expired += batch.expired
            purged += batch.purged
            malformed += batch.malformed_ids
            if not has_more:
                return CleanedSessions(scanned, expired, purged, has_more=False, malformed_ids=tuple(malformed))
            after = (taken[-1].updated_at, taken[-1].id)

    def change_sessions(self, rule: Rule[Note]) -> Changes[Note]:
        """Apply a rule to every session that holds a buyer or an address, in batches. Fits ``AcpSessionEditor``.

        Raises ``DatabaseError`` where the tables are of another version than ours.
        """
        if (wrong := wrong_version(self.database)) is not None:
            raise DatabaseError(wrong)
        changed: dict[str, Change[Note]] = {}
        left: list[str] = []
        malformed: dict[str, str] = {}
        after = ""
        while ids := self._with_buyers(after):
            batch = self.database.write(partial(self._change, ids=ids, rule=rule))
            changed |= batch.changed
            left += batch.left
            malformed |= batch.malformed
            after = ids[-1]
        return Changes(changed, left, malformed)

    def _with_buyers(self, after: str) -> Sequence[str]:
        id_ = self.database.json_sql.by_code_point(_row.id)
        named = or_(*(_row.data.contains(f'"{name}"') for name in acp_session.PERSONAL))
        statement = select(_row.id).where(named, id_ > after).order_by(id_).limit(BATCH)
        with self.database.reading() as connection:
            return connection.execute(statement).scalars().all()

    def _change(self, connection: Connection, *, ids: Sequence[str], rule: Rule[Note]) -> Changes[Note]:
        chosen = in_list(self.database.dialect, _row.id, ids)
        rows = connection.execute(select(_row.id, _row.data).where(chosen).order_by(_row.id).with_for_update()).all()
        changed: dict[str, Change[Note]] = {}
        malformed: dict[str, str] = {}
        written: dict[str, dict[str, object]] = {}
        for row in rows:
            try:
                change = rule(row.id, parsed(row.data))
                if change is None:
                    continue
                if change.document is not None:
                    written[row.id] = _columns(change.document)
                changed[row.id] = change
            except MalformedDocument as error:
                malformed[row.id] = str(error)
        _write(connection, written)
        return Changes(changed, [id_ for id_ in ids if id_ not in changed and id_ not in malformed], malformed)

    def _due(self, due: Timestamp, *, after: tuple[str, str], limit: int) -> Sequence[Row[str, str]]:
        by_code_point = self.database.json_sql.by_code_point
        order = (by_code_point(_row.updated_at), by_code_point(_row.id))
        statement = (
            select(_row.id, _row.updated_at)
            .where(is_due(due), tuple_(*order) > tuple_(literal(after[0]), literal(after[1])))
            .order_by(*order)
            .limit(limit)
        )
        return self.database.read(lambda connection: connection.execute(statement).all())

    def _clean(
        self, connection: Connection, *, ids: Sequence[str], due: Timestamp, now: Timestamp, purge_after: timedelta
    ) -> CleanedSessions:
        chosen = in_list(self.database.dialect, _row.id, ids)
        locked = select(_row.id, _row.data).where(chosen).order_by(_row.id).with_for_update(skip_locked=True)
        purged: list[str] = []
        expired: dict[str, dict[str, object]] = {}
        malformed: list[str] = []
        for row in connection.execute(locked).all():
            try:
                session = parsed(row.data)
                if acp_session.is_purgeable(session, due):
                    purged.append(row.id)
                elif acp_session.is_expired(session, due):
                    expired[row.id] = _columns(acp_session.expired(session, now=now, purge_after=purge_after))
            except MalformedDocument:
                malformed.append(row.id)
        if purged:
            keys = acp_idempotency_keys.c.session_id
            connection.execute(delete(acp_idempotency_keys).where(in_list(self.database.dialect, keys, purged)))
            connection.execute(delete(acp_sessions).where(in_list(self.database.dialect, _row.id, purged)))
        _write(connection, expired)
        return CleanedSessions(len(purged) + len(expired), len(expired), len(purged), malformed_ids=tuple(malformed))


def _write(connection: Connection, sessions: Mapping[str, Mapping[str, object]]) -> None:
    """Write the columns of these sessions, by id."""
    if not sessions:
        return
    names = next(iter(sessions.values()))
    connection.execute(
        acp_sessions.update()
        .where(_row.id == bindparam("an_id"))
        .values({name: bindparam(f"a_{name}") for name in names}),
        [
            {"an_id": id_, **{f"a_{name}": value for name, value in columns.items()}}
            for id_, columns in sessions.items()
        ],
    )


def insert_sessions(connection: Connection, sessions: Sequence[Document]) -> None:
    """Insert new sessions."""
    connection.execute(acp_sessions.insert(), [{**_columns(session), "id": session["id"]} for session in sessions])


def is_due(now: Timestamp | ColumnElement[str]) -> ColumnElement[bool]:
    """Return the condition for the sessions that need work at ``now``."""
    return or_(
        _row.purge_at <= now,
        and_(_row.expired_at.is_(None), _row.expires_at <= now, _row.status.not_in(acp_session.TERMINAL_STATUSES)),
    )


def _columns(session: Document) -> dict[str, object]:
    version = session.get("version")
    if isinstance(version, int) and not -LARGEST_VERSION <= version <= LARGEST_VERSION:
        raise MalformedDocument("version is larger than any that counting up would reach")
    return {
        "status": session["status"],
        "expires_at": session.get("expiresAt"),
        "expired_at": session.get("expiredAt"),
        "purge_at": session.get("purgeAt"),
        "updated_at": session["updatedAt"],
        "version": session.get("version"),
        "data": written_out(session),
    }
