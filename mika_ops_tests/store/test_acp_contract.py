"""The contract of Mika's ACP session store, played with the statements of ``docs/acp-sessions.md``.

Source: ``MikaAcpSessionStore`` and its in-memory store in Mika 0.1.1.
"""

import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, text

from mika_ops.clock import Clock
from mika_ops.deadline import never_out_of_time
from mika_ops.documents.document import Document
from mika_ops.store.acp_sessions import AcpSessionStore
from mika_ops.store.database import Database
from mika_ops_testing.builders import AFTER, BEFORE, EARLIER, LATER, NOW, acp_session

PAGE = Path(__file__).parents[2] / "docs" / "acp-sessions.md"
STATEMENTS = dict(re.findall(r"```sql\n-- (\w+)\n(.*?)\n```", PAGE.read_text(), re.DOTALL))


@dataclass(frozen=True)
class Store:
    """A storefront's session store, in as little code as the page says it takes."""

    database: Database

    def get(self, id_: str) -> Document | None:
        with self.database.reading() as connection:
            data = connection.execute(text(STATEMENTS["get"]), {"id": id_}).scalar()
        return None if data is None else dict(json.loads(data))

    def put(self, record: Document) -> None:
        self._write("put", **row_of(record))

    def put_if_unchanged(self, record: Document, expected_version: int | None) -> bool:
        return self._write("putIfUnchanged", **row_of(record), expected_version=expected_version) == 1

    def claim(self, key: str, id_: str, *, now: str = NOW, expires_at: str | None = AFTER) -> tuple[str, Any]:
        token = str(uuid4())
        claim = {"key": key, "session_id": id_, "fencing_token": token, "now": now, "expires_at": expires_at}
        if self._write("claimIdempotencyKey", **claim) == 1:
            return "claimed", token
        with self.database.reading() as connection:
            row = connection.execute(text(STATEMENTS["readClaim"]), {"key": key}).one_or_none()
        if row is None:
            return self.claim(key, id_, now=now, expires_at=expires_at)
        if row.session_id != id_:
            return "conflict", row.session_id
        if row.fencing_token is None and row.data is not None:
            return "replayed", json.loads(row.data)
        return "in_progress", row.session_id

    def bind(self, key: str, id_: str, token: str) -> None:
        self._write("bindIdempotencyKey", key=key, session_id=id_, fencing_token=token)

    def release(self, key: str, id_: str, token: str) -> None:
        self._write("releaseIdempotencyKey", key=key, session_id=id_, fencing_token=token)

    def _write(self, statement: str, **values: Any) -> int:
        def work(connection: Connection) -> int:
            return connection.execute(text(STATEMENTS[statement]), values).rowcount

        return self.database.write(work)


def row_of(record: Document) -> dict[str, Any]:
    names = {"expires_at": "expiresAt", "expired_at": "expiredAt", "purge_at": "purgeAt", "updated_at": "updatedAt"}
    columns = {column: record.get(name) for column, name in names.items()}
    same = {name: record.get(name) for name in ("id", "status", "version")}
    return {**same, **columns, "data": json.dumps(record)}


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database)


def test_a_session_is_read_as_it_was_written(store: Store) -> None:
    store.put(acp_session("a", version=2**53 - 1))
    assert store.get("a") == acp_session("a", version=2**53 - 1)
    assert store.get("b") is None


@pytest.mark.parametrize(
    ("stored", "expected", "written"),
    [(1, 1, True), (2, 1, False), (1, None, False), (None, None, True), (None, 1, True)],
)
def test_a_session_is_written_only_over_the_version_that_was_read(
    stored: int | None, expected: int | None, written: bool, store: Store
) -> None:
    store.put(acp_session("a", version=stored))
    changed = acp_session("a", version=9, status="completed")

    assert store.put_if_unchanged(changed, expected) is written
    assert (store.get("a") == changed) is written


def test_a_session_that_is_new_is_written(store: Store) -> None:
    assert store.put_if_unchanged(acp_session("a"), None)
    assert store.get("a") == acp_session("a")


def test_a_key_is_claimed_once_until_it_is_released(store: Store) -> None:
    status, token = store.claim("key", "a")
    assert status == "claimed"
    assert store.claim("key", "a") == ("in_progress", "a")
    assert store.claim("key", "b") == ("conflict", "a")

    store.release("key", "a", token)

    assert store.claim("key", "b")[0] == "claimed"


def test_a_bound_key_replays_the_session_after_any_time(store: Store) -> None:
    store.put(acp_session("a"))
    _, token = store.claim("key", "a", expires_at=NOW)
    store.bind("key", "a", token)

    assert store.claim("key", "a", now=LATER) == ("replayed", acp_session("a"))
    assert store.claim("key", "b", now=LATER) == ("conflict", "a")
    store.release("key", "a", token)
    assert store.claim("key", "a", now=LATER)[0] == "replayed"


@pytest.mark.parametrize(("expires_at", "claimed"), [(BEFORE, True), (NOW, True), (AFTER, False), (None, False)])
def test_a_pending_claim_is_taken_over_once_it_has_expired(expires_at: str | None, claimed: bool, store: Store) -> None:
    store.claim("key", "a", now=EARLIER, expires_at=expires_at)
    assert (store.claim("key", "b", now=NOW)[0] == "claimed") is claimed


def test_the_handler_whose_claim_was_taken_over_changes_nothing(store: Store) -> None:
    store.put(acp_session("a"))
    _, slow = store.claim("key", "a", now=EARLIER, expires_at=BEFORE)
    _, current = store.claim("key", "a")

    store.bind("key", "a", slow)
    store.release("key", "a", slow)
    assert store.claim("key", "a") == ("in_progress", "a")

    store.bind("key", "a", current)
    assert store.claim("key", "a")[0] == "replayed"


def test_the_token_of_a_released_claim_is_worth_nothing_for_the_next(store: Store) -> None:
    _, first = store.claim("key", "a")
    store.release("key", "a", first)
    store.claim("key", "a")

    store.bind("key", "a", first)

    assert store.claim("key", "a") == ("in_progress", "a")


def test_of_many_requests_at_once_one_claims_the_key(store: Store) -> None:
    at_once = threading.Barrier(8)

    def claim(_number: int) -> str:
        at_once.wait()
        return store.claim("key", "a")[0]

    with ThreadPoolExecutor(8) as pool:
        found = sorted(pool.map(claim, range(8)))

    assert found == ["claimed", *["in_progress"] * 7]


def test_the_keys_of_a_purged_session_can_be_claimed_again(store: Store, clock: Clock) -> None:
    store.put(acp_session("a", purgeAt=NOW))
    _, token = store.claim("key", "a")
    store.bind("key", "a", token)

    AcpSessionStore(store.database).clean_up(clock, limit=None, purge_after_hours=24, out_of_time=never_out_of_time)

    assert store.get("a") is None
    assert store.claim("key", "b")[0] == "claimed"


def test_a_session_that_maintenance_expired_is_not_overwritten_by_a_slow_handler(store: Store, clock: Clock) -> None:
    store.put(acp_session("a", version=1))
    AcpSessionStore(store.database).clean_up(clock, limit=None, purge_after_hours=24, out_of_time=never_out_of_time)

    assert not store.put_if_unchanged(acp_session("a", version=2, status="completed"), 1)
    assert store.get("a") == {**acp_session("a"), **(store.get("a") or {}), "status": "not_ready_for_payment"}


def test_the_page_has_a_statement_for_each_method() -> None:
    assert list(STATEMENTS) == [
        *("get", "put", "putIfUnchanged", "claimIdempotencyKey", "readClaim"),
        *("bindIdempotencyKey", "releaseIdempotencyKey"),
    ]
