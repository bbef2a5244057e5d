"""Changing documents in bulk: what is written, what is left alone, and that what we do not know survives."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from sqlalchemy import event, select, update

from mika_ops.documents.document import Document, MalformedDocument
from mika_ops.documents.repository import Change
from mika_ops.rules import email as email_rules
from mika_ops.store.database import Database
from mika_ops.store.documents import MANY, Documents
from mika_ops.store.schema.site import plugin_storage
from mika_ops_testing.builders import EARLIER, NOW, email, get, put, put_raw
from mika_ops_tests.documents.arbitrary import json_objects
from mika_ops_tests.store.arbitrary import on_a_database

WRITTEN_AT = datetime(2026, 3, 1, 12, 34, 56, 789_000, tzinfo=UTC)


@pytest.fixture
def ops(database: Database) -> Documents:
    return Documents(replace(database, now=lambda: WRITTEN_AT), "ops")


def rows(database: Database) -> dict[tuple[str, str, str], Any]:
    """Return every row of the document table by its key."""
    with database.reading() as connection:
        return {(row.plugin_id, row.collection, row.id): row for row in connection.execute(select(plugin_storage))}


def marked(_id: str, document: Document) -> Change[None]:
    return Change({**document, "mark": True}, None)


def test_what_is_not_there_or_no_object_is_left_out_when_read(ops: Documents) -> None:
    put(ops.database, "ops", email("a"))
    put_raw(ops.database, "ops", ("list", "[1]"), ("text", '"a"'), ("null", "null"))
    assert list(ops.read(["a", "list", "text", "null", "nowhere"])) == ["a"]


def test_reading_or_changing_nothing_asks_the_database_nothing(ops: Documents) -> None:
    ops.database.close()
    assert ops.read([]) == {}
    assert ops.change([], marked).changed == {}


def test_a_document_that_is_as_it_was_seen_is_changed(ops: Documents) -> None:
    seen = _seen(ops, email("a"), email("b"))
    changes = ops.change(["b", "a"], lambda id_, document: Change({**document, "mark": id_}, id_.upper()), seen=seen)
    assert [(id_, change.note) for id_, change in changes.changed.items()] == [("b", "B"), ("a", "A")]
    assert [get(ops.database, "ops", id_)["mark"] for id_ in ("a", "b")] == ["a", "b"]
    assert {row.updated_at for row in rows(ops.database).values()} == {"2026-03-01T12:34:56.789Z"}


def test_a_document_that_was_changed_since_it_was_seen_loses_no_update(ops: Documents) -> None:
    seen = _seen(ops, email("a"), email("b"))
    ops.change(["b"], lambda _id, document: Change({**document, "theirs": True}, None))
    changes = ops.change(["a", "b"], marked, wait=True, seen=seen)
    assert list(changes.changed) == ["a", "b"]
    assert get(ops.database, "ops", "b") == {**email("b"), "theirs": True, "mark": True}
    assert get(ops.database, "ops", "a") == {**email("a"), "mark": True}


def test_the_rule_decides_on_the_document_as_it_is_not_as_it_was_seen(ops: Documents) -> None:
    seen = _seen(ops, email("a"), email("b"))
    ops.change(["a"], lambda _id, document: Change({**document, "done": True}, None))
    changes = ops.change(["a", "b"], lambda id_, now: None if "done" in now else marked(id_, now), seen=seen)
    assert (list(changes.changed), list(changes.left)) == (["b"], ["a"])


def test_a_document_that_is_gone_since_it_was_seen_is_left_and_the_others_are_changed(ops: Documents) -> None:
    seen = {**_seen(ops, email("a")), "gone": email("gone")}
    changes = ops.change(["gone", "a"], marked, seen=seen)
    assert (list(changes.changed), list(changes.left)) == (["a"], ["gone"])


def test_what_the_rule_says_of_documents_as_they_were_seen_is_reported_as_ever(ops: Documents) -> None:
    seen = _seen(ops, email("a"), email("b"), email("c"))

    def rule(id_: str, document: Document) -> Change[str] | None:
        if id_ == "a":
            raise MalformedDocument("record is a list, not an object")
        return Change(None, "a note") if id_ == "b" else None

    changes = ops.change(["a", "b", "c"], rule, seen=seen)
    assert (list(changes.malformed), list(changes.changed), list(changes.left)) == (["a"], ["b"], ["c"])
    assert changes.changed["b"].note == "a note"


def test_many_documents_are_written_as_few_are_whatever_is_in_them(ops: Documents) -> None:
    odd = ["it's", 'a "b" \\c\\', "ünï \U0001f600", "[1]", "null"]
    many = [email(f"{number:02}", subject=odd[number % len(odd)]) for number in range(2 * MANY)]
    seen = _seen(ops, *many)
    changes = ops.change(list(seen), marked, seen=seen)
    assert list(changes.changed) == list(seen)
    assert ops.read(list(seen)) == {document["id"]: {**document, "mark": True} for document in many}


def test_of_many_documents_one_that_was_changed_since_it_was_seen_loses_no_update(ops: Documents) -> None:
    seen = _seen(ops, *(email(f"{number:02}") for number in range(2 * MANY)))
    ops.change(["07"], lambda _id, document: Change({**document, "theirs": True}, None))
    ops.change(list(seen), marked, wait=True, seen=seen)
    changed = ops.read(list(seen))
    assert all(document["mark"] for document in changed.values())
    assert [id_ for id_, document in changed.items() if document.get("theirs")] == ["07"]


def test_nothing_is_read_again_where_nothing_moved(ops: Documents) -> None:
    seen = _seen(ops, email("a"), email("b"))
    statements: list[str] = []
    event.listen(ops.database.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    ops.change(["a", "b"], marked, seen=seen)
    assert [statement for statement in statements if "_plugin_storage" in statement] == [
        statement for statement in statements if statement.startswith("UPDATE _plugin_storage")
    ]


@pytest.mark.parametrize("many", [1, 2 * MANY])
def test_the_storefront_writes_while_a_rule_is_at_work(many: int, ops: Documents) -> None:
    ids = [f"{number:02}" for number in range(many)]
    put(ops.database, "ops", *map(email, ids), email("theirs"))

    def rule(id_: str, document: Document) -> Change[None]:
        _storefront_writes(ops, email("theirs", subject=id_))
        return marked(id_, document)

    assert list(ops.change(ids, rule).changed) == ids
    assert get(ops.database, "ops", "theirs")["record"]["subject"] == ids[-1]
    assert all(get(ops.database, "ops", id_)["mark"] for id_ in ids)


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("many", [2, 2 * MANY])
def test_what_the_storefront_writes_into_a_document_while_a_rule_is_at_work_is_kept(many: int, ops: Documents) -> None:
    ids = [f"{number:02}" for number in range(many)]
    put(ops.database, "ops", *map(email, ids))
    theirs = [{**email("01"), "theirs": True}]

    def rule(id_: str, document: Document) -> Change[None]:
        while theirs:
            _storefront_writes(ops, theirs.pop())
        return marked(id_, document)

    assert list(ops.change(ids, rule).changed) == ids
    assert get(ops.database, "ops", "01") == {**email("01"), "theirs": True, "mark": True}
    assert all(get(ops.database, "ops", id_)["mark"] for id_ in ids)


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("many", [2, 2 * MANY])
def test_a_document_that_was_written_as_bytes_is_changed_like_the_others(many: int, ops: Documents) -> None:
    ids = [f"{number:02}" for number in range(many)]
    put(ops.database, "ops", *map(email, ids))
    with ops.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE _plugin_storage SET data = CAST(data AS BLOB) WHERE id = '01'")
    assert list(ops.change(ids, marked).changed) == ids
    assert all(get(ops.database, "ops", id_)["mark"] for id_ in ids)


def _storefront_writes(ops: Documents, document: Document) -> None:
    with ops.database.engine.begin() as connection:
        storage = plugin_storage.c
        written = update(plugin_storage).where(storage.collection == "ops", storage.id == document["id"])
        connection.execute(written.values(data=json.dumps(document)))


def _seen(ops: Documents, *documents: Document) -> dict[str, Document]:
    """Store documents as this package writes them, and return them by id."""
    put(ops.database, "ops", *documents)
    ops.change([document["id"] for document in documents], lambda _id, document: Change(document, None))
    return {document["id"]: document for document in documents}


def test_what_the_rule_leaves_alone_is_not_written(ops: Documents) -> None:
    put(ops.database, "ops", email("a"), email("b"))
    before = rows(ops.database)
    changes = ops.change(["a", "b"], lambda id_, document: marked(id_, document) if id_ == "a" else None)
    after = rows(ops.database)
    assert (list(changes.changed), list(changes.left)) == (["a"], ["b"])
    assert after["mika", "ops", "b"] == before["mika", "ops", "b"]


def test_a_note_without_a_document_is_reported_and_nothing_is_written(ops: Documents) -> None:
    put(ops.database, "ops", email("a"))
    before = rows(ops.database)
    changes = ops.change(["a"], lambda _id, _document: Change(None, "a note"))
    assert changes.changed["a"].note == "a note"
    assert rows(ops.database) == before


def test_a_document_that_the_rule_calls_malformed_is_reported_and_left_alone(ops: Documents) -> None:
    put(ops.database, "ops", email("a"), email("b"), email("c"))
    before = rows(ops.database)

    def rule(id_: str, document: Document) -> Change[None]:
        if id_ == "b":
            raise MalformedDocument("record is a list, not an object")
        return marked(id_, document)

    changes = ops.change(["a", "b", "c"], rule)
    assert changes.malformed == {"b": "record is a list, not an object"}
    assert (list(changes.changed), list(changes.left)) == (["a", "c"], [])
    assert rows(ops.database)["mika", "ops", "b"] == before["mika", "ops", "b"]


@pytest.mark.parametrize("stored", ["[]", '"text"', "5", "null", "true"])
def test_a_stored_value_that_is_no_object_is_malformed_without_asking_the_rule(stored: str, ops: Documents) -> None:
    put_raw(ops.database, "ops", ("a", stored))

    def never(_id: str, _document: Document) -> Change[None]:
        raise AssertionError("no rule can read this")

    assert ops.change(["a"], never).malformed == {"a": "not a JSON object"}


def test_a_number_that_cannot_be_written_again_makes_its_document_malformed(ops: Documents) -> None:
    put_raw(ops.database, "ops", ("huge", '{"type":"email","huge":1e999}'), ("sound", '{"type":"email"}'))
    changes = ops.change(["huge", "sound"], marked)
    assert list(changes.malformed) == ["huge"]
    assert list(changes.changed) == ["sound"]
    assert rows(ops.database)["mika", "ops", "huge"].data == '{"type":"email","huge":1e999}'


def test_a_rule_that_raises_undoes_the_whole_batch(ops: Documents) -> None:
    put(ops.database, "ops", email("a"), email("b"))
    before = rows(ops.database)

    def rule(id_: str, document: Document) -> Change[None]:
        if id_ == "b":
            raise RuntimeError("a defect")
        return marked(id_, document)

    with pytest.raises(RuntimeError, match="a defect"):
        ops.change(["a", "b"], rule)
    assert rows(ops.database) == before


def test_the_row_says_when_it_was_written(ops: Documents) -> None:
    put(ops.database, "ops", email("a"))
    ops.change(["a"], marked)
    row = rows(ops.database)["mika", "ops", "a"]
    assert (row.created_at, row.updated_at) == (EARLIER, "2026-03-01T12:34:56.789Z")


def test_other_collections_and_other_plugins_documents_of_the_same_id_are_untouched(ops: Documents) -> None:
    for plugin, collection in (("mika", "ops"), ("mika", "ledger"), ("other", "ops")):
        put(replace(ops.database, plugin_id=plugin), collection, email("a"))
    before = rows(ops.database)
    ops.change(["a"], marked)
    after = rows(ops.database)
    assert {key for key in after if after[key] != before[key]} == {("mika", "ops", "a")}


def test_another_plugins_documents_are_no_candidates(ops: Documents) -> None:
    put(replace(ops.database, plugin_id="other"), "ops", email("a"))
    put(ops.database, "ops", email("b"))
    put(ops.database, "ledger", email("c"))
    candidates = ops.candidates(email_rules.DUE.at(NOW), after=None, limit=9)
    assert [candidate.id for candidate in candidates] == ["b"]


def test_another_plugins_documents_are_not_read(ops: Documents) -> None:
    put(replace(ops.database, plugin_id="other"), "ops", email("a"))
    assert ops.read(["a"]) == {}


def test_a_thousand_documents_are_changed_at_once(ops: Documents) -> None:
    ids = [f"email_{number:04}" for number in range(1_000)]
    put(ops.database, "ops", *map(email, ids))
    assert len(ops.change(ids, marked).changed) == 1_000
    assert all(document["mark"] for document in ops.read(ids).values())


def test_keys_keep_their_order(ops: Documents) -> None:
    put_raw(ops.database, "ops", ("a", '{"z":1,"a":{"y":1,"b":2},"m":3}'))
    ops.change(["a"], marked)
    assert rows(ops.database)["mika", "ops", "a"].data == '{"z":1,"a":{"y":1,"b":2},"m":3,"mark":true}'


def test_any_document_survives_a_change(ops: Documents) -> None:
    @on_a_database
    @given(json_objects, json_objects)
    def holds(unknown: Document, record: Document) -> None:
        # Postgres has no words for NUL in the JSON that it indexes, so no site on it has such a document.
        kept = json.loads(json.dumps({"unknown": unknown, "record": record}).replace("\\u0000", "?"))
        ops.change(["a"], lambda _id, _document: Change({"id": "a", **kept}, None))
        ops.change(["a"], marked)
        assert get(ops.database, "ops", "a") == {"id": "a", **kept, "mark": True}

    put(ops.database, "ops", email("a"))
    holds()


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_half_of_a_surrogate_pair_survives_a_change(ops: Documents) -> None:
    put(ops.database, "ops", email("a", subject="\ud83d half"))
    ops.change(["a"], marked)
    assert get(ops.database, "ops", "a")["record"]["subject"] == "\ud83d half"


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_half_of_a_surrogate_pair_in_what_is_sorted_by_stops_nothing(ops: Documents) -> None:
    put(ops.database, "ops", email("a", top={"nextAttemptAt": "\ud83d"}), email("b"))
    candidates = ops.candidates(email_rules.DUE.at(NOW), after=None, limit=9)
    assert {candidate.id for candidate in candidates} == {"a", "b"}
