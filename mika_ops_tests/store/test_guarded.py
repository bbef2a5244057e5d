"""A site without any expression index: nothing vouches for its documents, and none that is not JSON stops a run."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from mika_ops.clock import Clock
from mika_ops.documents.document import Document
from mika_ops.documents.repository import Change
from mika_ops.documents.selection import Selection
from mika_ops.documents.sweep import Sweep
from mika_ops.store.backlog import DatabaseBacklog
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents
from mika_ops.store.opening import open_database
from mika_ops.store.schema.own import own
from mika_ops.store.schema.site import site
from mika_ops_testing.builders import NOW, email, get, put, put_raw
from mika_ops_testing.sites import DatabaseKind, Sites
from mika_ops_tests.store.arbitrary import Build
from mika_ops_tests.store.test_selections import DUE, expected, of_ada, selections_of_people

NOT_JSON = {
    "empty": "",
    "words": "not JSON",
    "cut off": '{"id":"cut off","type":"email","status":"queued","record":{"attemptCount":0',
    "javascript": "{type: 'email', status: 'queued'}",
    "not a number": '{"type":"email","status":"queued","record":{"attemptCount":NaN,"maxAttempts":5}}',
    "binary": "\x01\x02\ufffd",
    "trailing": '{"type":"email","status":"queued"} {}',
}
NO_OBJECT = {"list": "[]", "null": "null", "number": "5", "text": '"email"'}


@pytest.fixture
def bare_url(kind: DatabaseKind, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a site that has its tables, and none of EmDash's expression indexes."""
    if kind == "postgres":
        made: Sites = request.getfixturevalue("postgres_sites")
        url = made.new()
    else:
        url = f"sqlite:///{tmp_path / 'bare.db'}"
    engine = create_engine(url)
    with engine.begin() as connection:
        if kind == "postgres":
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        site.create_all(connection)
        own.create_all(connection)
    engine.dispose()
    return url


@pytest.fixture
def bare(bare_url: str) -> Iterator[Database]:
    with open_database(bare_url) as opened:
        put_raw(opened, "ops", *NOT_JSON.items(), *NO_OBJECT.items())
        yield opened


def test_a_site_with_emdashs_indexes_needs_no_guard(database: Database) -> None:
    assert not database.json_sql.guarded


def test_a_site_without_them_is_guarded(bare: Database) -> None:
    assert bare.json_sql.guarded


def test_an_index_over_some_documents_only_vouches_for_nothing(bare_url: str, kind: DatabaseKind) -> None:
    engine = create_engine(bare_url)
    expression = "json_extract(data, '$.type')" if kind == "sqlite" else "((data)::jsonb->>'type')"
    with engine.begin() as connection:
        connection.execute(text(f"CREATE INDEX of_some ON _plugin_storage ({expression}) WHERE collection = 'ops'"))
    engine.dispose()
    with open_database(bare_url) as opened:
        assert opened.json_sql.guarded


@pytest.mark.parametrize(("selection", "builds", "_fields"), DUE.values(), ids=DUE)
def test_what_is_due_is_found_among_what_is_no_json(
    selection: Selection, builds: tuple[Build, ...], _fields: object, bare: Database
) -> None:
    sound = {f"sound_{number}": build(f"sound_{number}") for number, build in enumerate(builds)}
    put(bare, "ops", *sound.values())
    candidates = Documents(bare, "ops").candidates(selection, after=None, limit=99)
    assert candidates == expected(selection, sound)
    assert candidates, "there is something to find"


def test_a_persons_documents_are_found_among_what_is_no_json(bare: Database, clock: Clock) -> None:
    put(bare, "ops", of_ada("email", "queued", "email"), of_ada("accountExport", "ready", "export"))
    found: set[str] = set()
    for selection in selections_of_people(clock):
        if selection.collection == "ops":
            found |= {candidate.id for candidate in Documents(bare, "ops").candidates(selection, after=None, limit=99)}
    assert found == {"email", "export"}


def test_a_sweep_goes_through(bare: Database) -> None:
    put(bare, "ops", email("a"), email("b"))
    sweep = Sweep(Documents(bare, "ops"), DUE["emails that are due"][0], "test")
    sweep.change(lambda document: {**document, "status": "sent"})
    assert (sweep.scanned, sweep.changed, sweep.has_more) == (2, 2, False)
    assert get(bare, "ops", "a")["status"] == "sent"


def test_what_is_no_json_is_malformed_for_whoever_names_it(bare: Database) -> None:
    put(bare, "ops", email("a"))

    def marked(_id: str, document: Document) -> Change[None]:
        return Change({**document, "mark": 1}, None)

    changes = Documents(bare, "ops").change([*NOT_JSON, *NO_OBJECT, "a"], marked)
    assert changes.malformed == {
        **dict.fromkeys(NOT_JSON, "not JSON"),
        **dict.fromkeys(NO_OBJECT, "not a JSON object"),
    }
    assert list(changes.changed) == ["a"]
    assert list(Documents(bare, "ops").read([*NOT_JSON, *NO_OBJECT, "a"])) == ["a"]


def test_the_backlog_counts_what_is_due_and_what_is_no_document(bare: Database) -> None:
    put(bare, "ops", email("a"))
    found = DatabaseBacklog(bare).read({"email_outbox": DUE["emails that are due"][0]}, now=NOW)
    assert found.due["email_outbox"].count == 1
    assert found.unreadable == len(NOT_JSON) + len(NO_OBJECT)
    assert set(found.unreadable_ids) == {*NOT_JSON, *NO_OBJECT}


@pytest.mark.parametrize("kind", ["postgres"], indirect=True)
@pytest.mark.parametrize("escape", ["\\u0000", "\\ud800"])
def test_json_that_postgres_cannot_read_stops_nothing_either(escape: str, bare: Database) -> None:
    put_raw(bare, "ops", ("odd", f'{{"type":"email","status":"queued","subject":"{escape}"}}'))
    put(bare, "ops", email("a"))
    candidates = Documents(bare, "ops").candidates(DUE["emails that are due"][0], after=None, limit=9)
    assert [candidate.id for candidate in candidates] == ["a"]
