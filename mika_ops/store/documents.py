"""One collection of Mika's documents: finding candidates, and changing them in bulk under a lock."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, bindparam, select, text, tuple_
from sqlalchemy import literal as bound

from mika_ops.ports import Candidate, Change, Changes, Note, Rule
from mika_ops.rules.document import Document, MalformedDocument
from mika_ops.rules.selection import Collection, Selection
from mika_ops.store.engine import Database, RowRefused
from mika_ops.store.id_lists import among
from mika_ops.store.schema import plugin_storage

_storage = plugin_storage.c


@dataclass(frozen=True)
class Documents:
    """The documents of one collection of one plugin. Fits ``mika_ops.ports.DocumentRepository``."""

    database: Database
    collection: Collection

    def candidates(self, selection: Selection, *, after: Candidate | None, limit: int) -> Sequence[Candidate]:
        """Return up to ``limit`` documents that the selection takes, in its order, by the site's own indexes."""
        json_sql = self.database.json_sql
        sorted_by, id_ = json_sql.sort_key(selection), json_sql.by_code_point(_storage.id)
        statement = (
            select(_storage.id, sorted_by.label("sorted_by"), json_sql.malformed(selection).label("malformed"))
            .where(self._ours, json_sql.where(selection))
            .order_by(sorted_by, id_)
            .limit(limit)
        )
        if after is not None:
            statement = statement.where(tuple_(sorted_by, id_) > tuple_(bound(after.sorted_by), bound(after.id)))
        with self.database.reading() as connection:
            rows = connection.execute(statement).all()
        return [Candidate(row.id, row.sorted_by, bool(row.malformed)) for row in rows]

    def read(self, ids: Sequence[str]) -> Mapping[str, Document]:
        """Return the documents with these ids that exist and are JSON objects."""
        if not ids:
            return {}
        with self.database.reading() as connection:
            rows = connection.execute(self._with_ids(ids)).all()
        documents: dict[str, Document] = {}
        for row in rows:
            try:
                documents[row.id] = parsed(row.data)
            except MalformedDocument:
                continue
        return documents

    def change(self, ids: Sequence[str], rule: Rule[Note], *, wait: bool = False) -> Changes[Note]:
        """Apply a rule to these documents in one transaction; one that is locked elsewhere is left, or waited for."""
        if not ids:
            return Changes()
        try:
            return self.database.write(lambda connection: self._change(connection, ids, rule, wait))
        except RowRefused as refusal:
            if len(ids) == 1:
                return Changes(malformed={ids[0]: f"it cannot be written: {refusal}"})
            # One that the database refuses must not keep the others from being written.
            return _together([self.change([id_], rule, wait=wait) for id_ in ids])

    def _change(self, connection: Connection, ids: Sequence[str], rule: Rule[Note], wait: bool) -> Changes[Note]:
        # Ordered by id, so that two workers that lock the same documents cannot wait for each other.
        locked = self._with_ids(ids).order_by(self.database.json_sql.by_code_point(_storage.id))
        rows = connection.execute(locked.with_for_update(skip_locked=not wait)).all()
        found = {row.id: row.data for row in rows}
        changed: dict[str, Change[Note]] = {}
        malformed: dict[str, str] = {}
        written: list[dict[str, Any]] = []
        for id_ in ids:
            if id_ not in found:
                continue
            try:
                change = rule(id_, parsed(found[id_]))
                if change is None:
                    continue
                if change.document is not None:
                    written.append({"an_id": id_, "a_data": written_out(change.document)})
            except MalformedDocument as error:
                malformed[id_] = str(error)
                continue
            changed[id_] = change
        if written:
            self._write(connection, written)
        left = [id_ for id_ in ids if id_ not in changed and id_ not in malformed]
        return Changes(changed, left, malformed)

    def _write(self, connection: Connection, written: list[dict[str, Any]]) -> None:
        if self.database.dialect == "postgresql":
            connection.execute(
                text(
                    "UPDATE _plugin_storage AS s SET data = v.data, updated_at = :now "
                    "FROM unnest(CAST(:ids AS text[]), CAST(:data AS text[])) AS v(id, data) "
                    "WHERE s.plugin_id = :plugin_id AND s.collection = :collection AND s.id = v.id"
                ),
                {
                    "ids": [row["an_id"] for row in written],
                    "data": [row["a_data"] for row in written],
                    "plugin_id": self.database.plugin_id,
                    "collection": self.collection,
                    "now": self.database.row_time(),
                },
            )
            return
        connection.execute(
            plugin_storage.update()
            .where(self._ours, _storage.id == bindparam("an_id"))
            .values(data=bindparam("a_data"), updated_at=self.database.row_time()),
            written,
        )

    def _with_ids(self, ids: Sequence[str]) -> Any:
        return select(_storage.id, _storage.data).where(self._ours, among(self.database.dialect, _storage.id, ids))

    @property
    def _ours(self) -> Any:
        return and_(_storage.plugin_id == self.database.plugin_id, _storage.collection == self.collection)


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
