"""One collection of Mika's documents: finding candidates, and changing them in bulk so that no update is lost."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Integer, Select, Text, TextClause, and_, bindparam, select, text, tuple_

from mika_ops.documents.document import Document, MalformedDocument
from mika_ops.documents.repository import Candidate, Change, Changes, Note, Rule
from mika_ops.documents.selection import Collection, Selection
from mika_ops.store.database import Database
from mika_ops.store.errors import RowRefused
from mika_ops.store.in_list import in_list
from mika_ops.store.json_sql import JsonSql
from mika_ops.store.schema.site import plugin_storage
from mika_ops.store.statement_cache import execute

_storage = plugin_storage.c

_WRITE: Final = {
    "sqlite": text(
        "UPDATE _plugin_storage SET data = :data, updated_at = :now "
        "WHERE plugin_id = :plugin_id AND collection = :collection AND id = :id"
    ),
    "postgresql": text(
        "UPDATE _plugin_storage AS s SET data = v.data, updated_at = :now "
        "FROM unnest(CAST(:id AS text[]), CAST(:data AS text[])) AS v(id, data) "
        "WHERE s.plugin_id = :plugin_id AND s.collection = :collection AND s.id = v.id"
    ),
}
"""Writes documents in bulk: SQLite a row at a time, Postgres from arrays."""

_WRITE_MANY: Final = text(
    "UPDATE _plugin_storage SET data = v.data, updated_at = :now "
    "FROM (SELECT s.rowid AS at, json_extract(j.value, '$[1]') AS data, json_extract(j.value, '$[2]') AS seen "
    "FROM json_each(:rows) AS j CROSS JOIN _plugin_storage AS s ON s.plugin_id = :plugin_id "
    "AND s.collection = :collection AND s.id = json_extract(j.value, '$[0]') LIMIT -1) AS v "
    "WHERE _plugin_storage.rowid = v.at AND _plugin_storage.data = coalesce(v.seen, _plugin_storage.data)"
)
"""The same on SQLite for many documents, as one statement; of those given with what was seen, each that is still so.

Each statement opens all of the table's indexes anew, which costs a fifth of a row's write. The limit, which is none,
keeps the planner from reading the whole table instead of using the primary key.
"""

MANY: Final = 16
"""From so many documents on, SQLite writes them in one statement: for few, preparing for an undo costs more."""

_REPLACE: Final = {
    "sqlite": text(f"{_WRITE['sqlite'].text} AND data = :seen"),
    "postgresql": text(
        "UPDATE _plugin_storage AS s SET data = v.data, updated_at = :now "
        "FROM unnest(CAST(:id AS text[]), CAST(:data AS text[]), CAST(:seen AS text[])) AS v(id, data, seen) "
        "WHERE s.plugin_id = :plugin_id AND s.collection = :collection AND s.id = v.id AND s.data = v.seen"
    ),
}
"""Writes documents in bulk where each is still as it was seen."""


class _Conflict(Exception):
    """A document is not as it was seen any more."""


@dataclass(frozen=True)
class Documents:
    """The documents of one collection of one plugin. Fits ``mika_ops.ports.DocumentRepository``."""

    database: Database
    collection: Collection

    def candidates(self, selection: Selection, *, after: Candidate | None, limit: int) -> Sequence[Candidate]:
        """Return up to ``limit`` documents that the selection takes, in its order, by the site's own indexes."""
        database = self.database
        parameters: dict[str, Any] = {"at": selection.time, "limit": limit}
        if after is not None:
            parameters |= {"after_sorted_by": after.sorted_by, "after_id": after.id}
        statement = database.json_sql, database.plugin_id, selection.definition, after is not None
        rows = database.read(lambda connection: execute(connection, _candidates, *statement, **parameters).all())
        return [Candidate(row.id, row.sorted_by, bool(row.malformed)) for row in rows]

    def read(self, ids: Sequence[str]) -> Mapping[str, Document]:
        """Return the documents with these ids that exist and are JSON objects."""
        if not ids:
            return {}
        rows = self.database.read(lambda connection: connection.execute(self._with_ids(ids)).all())
        documents: dict[str, Document] = {}
        for row in rows:
            try:
                documents[row.id] = parsed(row.data)
            except MalformedDocument:
                continue
        return documents

    def change(
        self, ids: Sequence[str], rule: Rule[Note], *, wait: bool = False, seen: Mapping[str, Document] | None = None
    ) -> Changes[Note]:
        """Apply a rule to these documents in one transaction; one that is locked elsewhere is left, or waited for."""
        if not ids:
            return Changes()
        try:
            texts = self._texts_unlocked(ids, seen)
            if texts is not None:
                return self._change_optimistically(ids, rule, texts)
        except (_Conflict, MalformedDocument, RowRefused):
            pass  # Nothing was written: read them once more, one by one if needed.
        try:
            return self.database.write(
                lambda connection: self._change_locked(connection, ids, rule, wait), generic_plan=True
            )
        except RowRefused as refusal:
            if len(ids) == 1:
                return Changes(malformed={ids[0]: f"it cannot be written: {refusal}"})
            # One that the database refuses must not keep the others from being written.
            return _together([self.change([id_], rule, wait=wait) for id_ in ids])

    def _change_locked(self, connection: Connection, ids: Sequence[str], rule: Rule[Note], wait: bool) -> Changes[Note]:
        # Ordered by id, so that two workers that lock the same documents cannot wait for each other.
        locked = self._with_ids(ids).order_by(self.database.json_sql.by_code_point(_storage.id))
        rows = connection.execute(locked.with_for_update(skip_locked=not wait)).all()
        found = {row.id: row.data for row in rows}
        changed: dict[str, Change[Note]] = {}
        malformed: dict[str, str] = {}
        written: dict[str, str] = {}
        for id_ in ids:
            if id_ not in found:
                continue
            try:
                change = rule(id_, parsed(found[id_]))
                if change is None:
                    continue
                if change.document is not None:
                    written[id_] = written_out(change.document)
            except MalformedDocument as error:
                malformed[id_] = str(error)
                continue
            changed[id_] = change
        if written:
            self._write(connection, _WRITE, id=list(written), data=list(written.values()))
        left = [id_ for id_ in ids if id_ not in changed and id_ not in malformed]
        return Changes(changed, left, malformed)

    def _texts_unlocked(self, ids: Sequence[str], seen: Mapping[str, Document] | None) -> Mapping[str, str] | None:
        """Return the documents' texts as they are without a lock. ``None``: they are to be locked before they are read.

        On SQLite, whose lock keeps the whole storefront waiting, all but the writing is done before it is taken.
        """
        if seen is not None:
            return {id_: written_out(seen[id_]) for id_ in ids}
        if self.database.dialect != "sqlite":
            return None
        rows = self.database.read(lambda connection: connection.execute(self._with_ids(ids)).all())
        # SQLite keeps bytes where they were written instead of a text, and they equal none.
        return {row.id: row.data for row in rows if isinstance(row.data, str)}

    def _change_optimistically(self, ids: Sequence[str], rule: Rule[Note], texts: Mapping[str, str]) -> Changes[Note]:
        """Write what the rule makes of documents with these texts. Raises ``_Conflict`` if one has another text by now.

        Optimistic concurrency: to compare and swap costs less than to lock, read and then write.
        """
        changed: dict[str, Change[Note]] = {}
        written: dict[str, str] = {}
        for id_ in ids:
            change = rule(id_, parsed(texts[id_])) if id_ in texts else None
            if change is None or change.document is None:
                # What the rule leaves alone is decided on the document as it is now.
                raise _Conflict
            changed[id_], written[id_] = change, written_out(change.document)

        def work(connection: Connection) -> None:
            columns = {"id": ids, "data": list(written.values()), "seen": [texts[id_] for id_ in ids]}
            if self._write(connection, _REPLACE, **columns) != len(ids):
                raise _Conflict

        self.database.write(work, generic_plan=True)
        return Changes(changed)

    def _write(self, connection: Connection, statements: Mapping[str, TextClause], **columns: Sequence[str]) -> int:
        """Run one of the statements above with a value of each column for each document; return how many it wrote."""
        dialect, ours = self.database.dialect, self._written_to()
        if dialect == "postgresql":
            return connection.execute(
                statements[dialect], {**ours, **{name: list(columns[name]) for name in columns}}
            ).rowcount
        rows = list(zip(*columns.values(), strict=True))
        if len(rows) >= MANY:
            return connection.execute(_WRITE_MANY, {**ours, "rows": json.dumps(rows, ensure_ascii=False)}).rowcount
        named = [{**ours, **dict(zip(columns, row, strict=True))} for row in rows]
        return connection.execute(statements[dialect], named).rowcount

    def _written_to(self) -> dict[str, str]:
        return {"plugin_id": self.database.plugin_id, "collection": self.collection, "now": self.database.row_time()}

    def _with_ids(self, ids: Sequence[str]) -> Any:
        return select(_storage.id, _storage.data).where(self._ours, in_list(self.database.dialect, _storage.id, ids))

    @property
    def _ours(self) -> Any:
        return and_(_storage.plugin_id == self.database.plugin_id, _storage.collection == self.collection)


def _candidates(json_sql: JsonSql, plugin_id: str, selection: Selection, goes_on: bool) -> Select[Any]:
    json_sql, documents = json_sql.parsed_once(plugin_storage)
    sorted_by, id_ = json_sql.sort_key(selection), json_sql.by_code_point(_storage.id)
    statement = (
        select(_storage.id, sorted_by.label("sorted_by"), json_sql.malformed(selection).label("malformed"))
        .select_from(documents)
        .where(_storage.plugin_id == plugin_id, _storage.collection == selection.collection, json_sql.where(selection))
        .order_by(sorted_by, id_)
        .limit(bindparam("limit", None, type_=Integer))
    )
    if not goes_on:
        return statement
    after = tuple_(bindparam("after_sorted_by", None, type_=Text), bindparam("after_id", None, type_=Text))
    return statement.where(tuple_(sorted_by, id_) > after)


def _together(changes: Sequence[Changes[Note]]) -> Changes[Note]:
    return Changes(
        {id_: change for each in changes for id_, change in each.changed.items()},
        [id_ for each in changes for id_ in each.left],
        {id_: reason for each in changes for id_, reason in each.malformed.items()},
    )


def parsed(data: str) -> Document:
    """Read a stored document. Raises ``MalformedDocument`` where it is no JSON object."""
    try:
        document = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise MalformedDocument("not JSON") from None
    if not isinstance(document, dict):
        raise MalformedDocument("not a JSON object")
    return document


def written_out(document: Document) -> str:
    """Write a document as JSON text, as compact as EmDash writes it.

    Raises ``MalformedDocument`` for what JSON has no words for. Half of a surrogate pair, which JavaScript allows in a
    text, cannot be stored as UTF-8: such a document is written in ASCII.
    """
    try:
        text_ = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        text_.encode()
    except UnicodeEncodeError:
        return json.dumps(document, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    except ValueError:
        raise MalformedDocument("a number in it is too large to be written again") from None
    return text_


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
