"""Reading the whole backlog in one round trip."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Integer,
    Select,
    and_,
    bindparam,
    case,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.types import Text

from mika_ops.documents.repository import Candidate
from mika_ops.documents.selection import Selection, top
from mika_ops.documents.sweep import IDS_NAMED, PAGE
from mika_ops.ports.backlog import Backlog, Due, StockDrift
from mika_ops.store.acp_sessions import is_due as acp_sessions_due
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents
from mika_ops.store.json_sql import JsonSql
from mika_ops.store.schema.own import acp_sessions
from mika_ops.store.schema.site import ephemeral_records, plugin_storage, stock_events, stock_items
from mika_ops.store.statement_cache import execute
from mika_ops.timestamps import Timestamp

_UNREADABLE: Final = "unreadable"

_MADE: Final = top("createdAt")
"""Since when a document waits that does not say since when it is due: an email that was never tried, for one."""


@dataclass(frozen=True)
class DatabaseBacklog:
    """The backlog in the site's database. Fits ``BacklogReader``, ``NamesRows`` and ``BacklogInspector``."""

    database: Database

    def read(self, selections: Mapping[str, Selection], *, now: Timestamp) -> Backlog:
        """Count what is due at ``now``: the documents that each selection takes, and the rows of Mika's tables."""
        site = _Site.of(self.database)
        definitions = tuple((name, selection.definition) for name, selection in selections.items())
        times = {_time_parameter(number): selection.time for number, selection in enumerate(selections.values())}

        def work(connection: Connection) -> Backlog:
            found = execute(connection, _all_that_waits, site, definitions, now=now, **times)
            rows = {row.name: row for row in found}
            unreadable, named = rows.pop(_UNREADABLE).due, ()
            if unreadable:
                ids = select(plugin_storage.c.id).where(_unreadable(site)).order_by(plugin_storage.c.id)
                named = tuple(connection.execute(ids.limit(IDS_NAMED)).scalars())
            due = {name: Due(row.due, row.oldest, row.malformed) for name, row in rows.items()}
            return Backlog(due, unreadable, named)

        return self.database.read(work, generic_plan=True)

    def first_ids(self, subtask: str, *, now: Timestamp, limit: int) -> Sequence[str]:
        """Name reservations and ACP sessions; ephemeral rows have nothing but keys, which are secrets."""
        rows = _due_rows(_Site.of(self.database)).get(subtask)
        if rows is None or not rows.order_by:
            return ()
        order = [self.database.json_sql.by_code_point(column) for column in rows.order_by]
        first = select(rows.order_by[-1]).where(rows.is_due(now)).order_by(*order).limit(limit)
        return self.database.read(lambda connection: connection.execute(first).scalars().all())

    def first_documents(self, selection: Selection, *, limit: int) -> Sequence[str]:
        """Return the ids of the first documents that a selection takes and can read, in its order."""
        documents, ids = Documents(self.database, selection.collection), list[str]()
        after: Candidate | None = None
        wanted = limit
        while len(ids) < limit:
            page = documents.candidates(selection, after=after, limit=wanted)
            ids += [candidate.id for candidate in page if not candidate.malformed]
            if len(page) < wanted:
                break
            after, wanted = page[-1], PAGE  # Malformed documents come first, perhaps many.
        return ids[:limit]

    def stock_drift(self) -> StockDrift:
        """Hold the reserved quantities of all stock items against their active reservations, in one statement."""
        event, item = stock_events.c, stock_items.c
        held = (
            select(event.stock_item_id, func.sum(event.quantity_delta).label("quantity"))
            .where(event.kind == "reservation", event.status == "active")
            .group_by(event.stock_item_id)
            .subquery()
        )
        negative = item.quantity_reserved < 0
        drifting = (
            select(
                item.id,
                func.count().over().label("items"),
                func.sum(case((negative, 1), else_=0)).over().label("below"),
            )
            .select_from(stock_items.outerjoin(held, held.c.stock_item_id == item.id))
            .where(or_(negative, item.quantity_reserved != func.coalesce(held.c.quantity, 0)))
            .order_by(item.id)
            .limit(IDS_NAMED)
        )
        rows = self.database.read(lambda connection: connection.execute(drifting).all())
        return StockDrift(rows[0].items, rows[0].below, tuple(row.id for row in rows)) if rows else StockDrift()

    def malformed_ids(self, selection: Selection, *, limit: int = IDS_NAMED) -> Sequence[str]:
        """Return the ids of the first documents that a selection would take and cannot read."""
        found = plugin_storage.c
        json_sql, documents = self.database.json_sql.parsed_once(plugin_storage)
        # To sort by the bare id, SQLite would read through all documents by their primary key.
        by_id = json_sql.by_code_point(found.id.concat(""))
        statement = (
            select(found.id)
            .select_from(documents)
            .where(_of(_Site.of(self.database), selection), json_sql.where(selection), json_sql.malformed(selection))
            .order_by(by_id)
            .limit(limit)
        )
        parameters = {"at": selection.time}
        return self.database.read(lambda connection: connection.execute(statement, parameters).scalars().all())


@dataclass(frozen=True)
class _Site:
    """What a statement depends on beside its selections."""

    json_sql: JsonSql
    plugin_id: str
    has_acp_sessions: bool

    @classmethod
    def of(cls, database: Database) -> Self:
        return cls(database.json_sql, database.plugin_id, database.has_acp_sessions)


def _expired_reservations(now: Timestamp | ColumnElement[str]) -> ColumnElement[bool]:
    event = stock_events.c
    return and_(event.kind == "reservation", event.status == "active", event.expires_at <= now)


@dataclass(frozen=True)
class _DueRows:
    """The rows of one of Mika's tables that a subtask works on.

    ``is_due``: the condition at a time. ``order_by`` ends with the id; it is empty if the key of a row is a secret.
    """

    is_due: Callable[[Timestamp | ColumnElement[str]], ColumnElement[bool]]
    waiting_since: ColumnElement[str | None]
    order_by: tuple[ColumnElement[str], ...] = ()


_DUE_ROWS: Final = {
    "stock_reservations": _DueRows(_expired_reservations, stock_events.c.expires_at, (stock_events.c.id,)),
    "ephemeral_records": _DueRows(lambda now: ephemeral_records.c.expires_at <= now, ephemeral_records.c.expires_at),
    "acp_sessions": _DueRows(
        acp_sessions_due, acp_sessions.c.updated_at, (acp_sessions.c.updated_at, acp_sessions.c.id)
    ),
}
"""The rows that are due, by the subtask that works on them."""


def _due_rows(site: _Site) -> dict[str, _DueRows]:
    """Return the rows of the tables that the site has: those of ACP sessions are ours, and optional."""
    return {name: rows for name, rows in _DUE_ROWS.items() if name != "acp_sessions" or site.has_acp_sessions}


def _time_parameter(number: int) -> str:
    """Return the parameter that holds the time of one selection: they differ, as the end of a retention is not now."""
    return f"at_{number}"


def _all_that_waits(site: _Site, selections: tuple[tuple[str, Selection], ...]) -> CompoundSelect[Any]:
    now = bindparam("now", None, type_=Text())
    statements = [
        *(_documents(site, number, *named) for number, named in enumerate(selections)),
        *(_rows(name, rows, now) for name, rows in _due_rows(site).items()),
        select(*_counts(_UNREADABLE, null())).where(_unreadable(site)),
    ]
    return union_all(*statements)


def _documents(site: _Site, number: int, name: str, selection: Selection) -> Select[str, int, Any, int]:
    json_sql, documents = replace(site.json_sql, time_parameter=_time_parameter(number)).parsed_once(plugin_storage)
    malformed = json_sql.malformed(selection)
    since = func.nullif(json_sql.waiting_since(replace(selection, order_by=(*selection.order_by, _MADE))), "")
    return (
        select(
            literal(name, Text()).label("name"),
            func.count(case((not_(malformed), 1))).label("due"),
            func.min(case((not_(malformed), since))).label("oldest"),
            func.count(case((malformed, 1))).label("malformed"),
        )
        .select_from(documents)
        .where(_of(site, selection), json_sql.where(selection))
    )


def _of(site: _Site, selection: Selection) -> ColumnElement[bool]:
    found = plugin_storage.c
    return and_(found.plugin_id == site.plugin_id, found.collection == selection.collection)


def _rows(name: str, rows: _DueRows, now: ColumnElement[str]) -> Select[str, int, Any, int]:
    return select(*_counts(name, func.min(rows.waiting_since))).where(rows.is_due(now))


def _counts(name: str, oldest: ColumnElement[Any]) -> tuple[Any, Any, Any, Any]:
    return (
        literal(name, Text()).label("name"),
        func.count().label("due"),
        oldest.label("oldest"),
        literal(0, Integer()).label("malformed"),
    )


def _unreadable(site: _Site) -> ColumnElement[bool]:
    return and_(
        plugin_storage.c.plugin_id == site.plugin_id,
        plugin_storage.c.collection.in_(("account", "ledger", "ops", "session")),
        site.json_sql.text(top("type")).is_(None),
    )
