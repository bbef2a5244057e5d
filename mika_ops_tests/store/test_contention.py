"""Several at the same documents: nobody's change is lost, nothing is done twice, and waiting has an end."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import Connection, select, text

from mika_ops.documents.document import Document
from mika_ops.documents.repository import Change
from mika_ops.rules import email as email_rules
from mika_ops.store import database as database_module
from mika_ops.store import postgres as postgres_module
from mika_ops.store import sqlite as sqlite_module
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents
from mika_ops.store.errors import DatabaseError
from mika_ops.store.opening import open_database
from mika_ops.store.schema.site import plugin_storage
from mika_ops_testing.builders import NOW, email, get, put

IDS = [f"email_{number:03}" for number in range(120)]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, lasting_url: str) -> Iterator[Database]:
    """Open the site so that it waits for a lock for an instant only."""
    monkeypatch.setattr(sqlite_module, "BUSY_TIMEOUT_SECONDS", 0.02)
    monkeypatch.setattr(postgres_module, "LOCK_TIMEOUT_MS", 20)
    with open_database(lasting_url) as opened:
        yield opened


@contextmanager
def locked(database: Database, *ids: str) -> Iterator[Callable[[], None]]:
    """Lock documents as a storefront that is writing them; yield what releases them."""
    with database.engine.connect().execution_options(mika_writes=True) as connection:
        connection.execute(select(plugin_storage.c.id).where(plugin_storage.c.id.in_(ids)).with_for_update()).all()
        yield connection.rollback


def sent_once(_id: str, document: Document) -> Change[None] | None:
    return Change({**document, "status": "sent"}, None) if document["status"] == "queued" else None


@pytest.mark.parametrize("kind", ["postgres"], indirect=True)
def test_two_workers_that_wait_for_the_same_documents_do_not_block_each_other(lasting_url: str) -> None:
    ids = IDS[:20]

    def no_sleep(_seconds: float) -> None:
        raise AssertionError("a deadlock had to be retried")

    def work(named: list[str]) -> int:
        with open_database(lasting_url) as database:
            ops = Documents(replace(database, sleep=no_sleep), "ops")
            return len(ops.change(named, lambda _id, document: Change(document, None), wait=True).changed)

    with open_database(lasting_url) as database, ThreadPoolExecutor(2) as pool:
        put(database, "ops", *map(email, ids))
        for _ in range(8):
            with locked(database, ids[10]) as release:
                workers = [pool.submit(work, ids), pool.submit(work, ids[::-1])]
                while waiting_in(database) < len(workers):
                    time.sleep(0.005)
                release()
                assert [worker.result() for worker in workers] == [len(ids), len(ids)]


def waiting_in(database: Database) -> int:
    """Return how many transactions wait for a lock."""
    blocked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with database.reading() as connection:
        return int(connection.execute(text(blocked)).scalar_one())


@pytest.mark.parametrize("kind", ["postgres"], indirect=True)
def test_a_document_that_is_locked_elsewhere_is_left_for_the_next_run(database: Database) -> None:
    put(database, "ops", email("a"), email("b"))
    with locked(database, "a"):
        changes = Documents(database, "ops").change(["a", "b"], sent_once)
    assert (list(changes.changed), list(changes.left)) == (["b"], ["a"])


def test_looking_for_candidates_waits_for_nobody(impatient: Database) -> None:
    put(impatient, "ops", email("a"))
    with locked(impatient, "a"):
        assert Documents(impatient, "ops").candidates(email_rules.DUE.at(NOW), after=None, limit=9)
        assert Documents(impatient, "ops").read(["a"])


def test_a_lock_that_is_released_in_time_is_waited_for(impatient: Database) -> None:
    put(impatient, "ops", email("a"))
    slept: list[float] = []
    with locked(impatient, "a") as release:

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == 2:
                release()

        changes = Documents(replace(impatient, sleep=sleep), "ops").change(["a"], sent_once, wait=True)
    assert list(changes.changed) == ["a"]
    assert len(slept) == 2
    assert get(impatient, "ops", "a")["status"] == "sent"


def test_a_lock_that_stays_ends_in_a_sentence_and_nothing_is_changed(impatient: Database) -> None:
    put(impatient, "ops", email("a"))
    slept: list[float] = []
    waiting = Documents(replace(impatient, sleep=slept.append), "ops")
    with locked(impatient, "a"), pytest.raises(DatabaseError, match=r"^the shop's database: .*lock") as raised:
        waiting.change(["a"], sent_once, wait=True)
    assert "\n" not in str(raised.value)
    assert len(slept) == database_module.ATTEMPTS - 1
    assert get(impatient, "ops", "a")["status"] == "queued"


def test_waits_between_tries_grow_and_are_short(impatient: Database) -> None:
    put(impatient, "ops", email("a"))
    slept: list[float] = []
    waiting = Documents(replace(impatient, sleep=slept.append), "ops")
    with locked(impatient, "a"), pytest.raises(DatabaseError):
        waiting.change(["a"], sent_once, wait=True)
    assert all(0 < seconds <= 1.5 for seconds in slept)
    assert slept[-1] > slept[0]


def test_an_error_that_no_waiting_mends_is_not_retried(impatient: Database) -> None:
    def never(_seconds: float) -> None:
        raise AssertionError("there is nothing to wait for")

    def wrong(connection: Connection) -> None:
        connection.execute(text("SELECT id FROM nowhere"))

    with pytest.raises(DatabaseError, match="nowhere"):
        replace(impatient, sleep=never).write(wrong)


def test_a_retried_transaction_starts_over(impatient: Database) -> None:
    put(impatient, "ops", email("a"))
    tries: list[str] = []
    with locked(impatient, "a") as release:

        def work(connection: Connection) -> None:
            tries.append("try")
            connection.execute(plugin_storage.update().values(created_at="now"))

        replace(impatient, sleep=lambda _seconds: release()).write(work)
    # On SQLite the second try is the first that begins at all: the lock is the whole file's.
    assert len(tries) == (1 if impatient.dialect == "sqlite" else 2)
    with impatient.reading() as connection:
        assert connection.execute(select(plugin_storage.c.created_at)).scalar_one() == "now"


def test_an_error_of_the_database_holds_no_values(database: Database) -> None:
    def insert_twice(connection: Connection) -> None:
        row = {"plugin_id": "mika", "collection": "ops", "id": "a", "data": '{"toEmail": "ada@example.test"}'}
        connection.execute(plugin_storage.insert(), [row, row])

    with pytest.raises(DatabaseError) as raised:
        database.write(insert_twice)
    assert "ada" not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("kind", ["postgres"], indirect=True)
def test_every_transaction_has_time_limits_that_end_with_it(database: Database) -> None:
    def limits(connection: Connection) -> tuple[str, str]:
        shown = [
            connection.execute(text(f"SHOW {name}")).scalar_one() for name in ("lock_timeout", "statement_timeout")
        ]
        return shown[0], shown[1]

    assert database.write(limits) == ("2s", "1min")
    with database.reading() as connection:
        assert limits(connection) == ("2s", "1min")
    bare = database.engine.raw_connection()
    try:
        assert bare.cursor().execute("SHOW lock_timeout").fetchone() == ("0",)
    finally:
        bare.close()


@pytest.mark.parametrize("kind", ["postgres"], indirect=True)
def test_plans_are_kept_by_transactions_that_ask_for_it_and_by_no_other(database: Database) -> None:
    def plans(connection: Connection) -> str:
        mode: str = connection.execute(text("SHOW plan_cache_mode")).scalar_one()
        return mode

    assert database.write(plans, generic_plan=True) == "force_generic_plan"
    assert database.write(plans) == "auto"
    with database.reading(generic_plan=True) as connection:
        assert plans(connection) == "force_generic_plan"
    with database.reading() as connection:
        assert plans(connection) == "auto"


@pytest.mark.parametrize("kind", ["postgres"], indirect=True)
def test_behind_a_pooler_that_mixes_up_prepared_statements_writes_go_on_without(database: Database) -> None:
    """Such as PgBouncer before 1.21, which gives every transaction some connection."""

    def statements(connection: Connection) -> int:
        count: int = connection.execute(text("SELECT count(*) FROM pg_prepared_statements")).scalar_one()
        return count

    def others(connection: Connection) -> None:
        for number in range(20):
            connection.exec_driver_sql(f"PREPARE _pg3_{number} AS SELECT 1")

    database.write(others)
    wrote = [database.write(statements, generic_plan=True) for _ in range(12)]
    assert wrote[0] == 20
    assert wrote[-1] == 0
