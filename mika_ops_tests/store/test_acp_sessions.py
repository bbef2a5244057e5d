"""The ACP session store (behaviour, section 6; deviations, number 1): purging and expiring in bounded batches."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import update

from mika_ops.clock import Clock
from mika_ops.deadline import never_out_of_time
from mika_ops.documents.document import ABSENT, Document
from mika_ops.ports.acp_sessions import CleanedSessions
from mika_ops.store import acp_sessions as acp_sessions_module
from mika_ops.store.acp_sessions import AcpSessionStore
from mika_ops.store.database import Database
from mika_ops.store.schema.own import acp_idempotency_keys, acp_sessions
from mika_ops_testing.builders import AFTER, BEFORE, EARLIER, LATER, NOW, acp_session, put_rows, rows_of


@pytest.fixture
def store(database: Database) -> AcpSessionStore:
    return AcpSessionStore(database)


@pytest.fixture
def clean(store: AcpSessionStore, clock: Clock) -> Callable[..., CleanedSessions]:
    def clean(limit: int | None = None, **options: Any) -> CleanedSessions:
        return store.clean_up(
            clock, limit=limit, **{"purge_after_hours": 24, "out_of_time": never_out_of_time, **options}
        )

    return clean


Clean = Callable[..., CleanedSessions]


def sessions(store: AcpSessionStore) -> dict[str, Document]:
    return {id_: json.loads(row["data"]) for id_, row in rows_of(store.database, acp_sessions).items()}


def key(name: str, session_id: str) -> Document:
    return {"key": name, "session_id": session_id, "created_at": EARLIER}


def test_putting_nothing_is_allowed(store: AcpSessionStore) -> None:
    store.put([])
    assert sessions(store) == {}


def test_an_abandoned_session_is_expired(store: AcpSessionStore, clean: Clean) -> None:
    store.put([acp_session(cart={"lines": [1]})])
    assert clean() == CleanedSessions(scanned=1, expired=1)
    assert sessions(store)["acp_1"] == {
        **acp_session(cart={"lines": [1]}),
        "status": "not_ready_for_payment",
        "expiredAt": NOW,
        "purgeAt": LATER,
        "updatedAt": NOW,
        "version": 2,
    }


def test_an_expired_sessions_columns_say_what_its_record_says(store: AcpSessionStore, clean: Clean) -> None:
    store.put([acp_session()])
    clean()
    row = rows_of(store.database, acp_sessions)["acp_1"]
    assert {name: row[name] for name in row if name != "data"} == {
        "id": "acp_1",
        "status": "not_ready_for_payment",
        "expires_at": BEFORE,
        "expired_at": NOW,
        "purge_at": LATER,
        "updated_at": NOW,
        "version": 2,
    }


def test_how_long_an_expired_session_is_kept_is_the_hosts(store: AcpSessionStore, clean: Clean) -> None:
    store.put([acp_session()])
    clean(purge_after_hours=0.5)
    assert sessions(store)["acp_1"]["purgeAt"] == "2026-03-01T12:30:00.000Z"


def test_a_session_is_purged_with_its_idempotency_keys(store: AcpSessionStore, clean: Clean) -> None:
    store.put([acp_session("gone", purgeAt=NOW), acp_session("stays", expiresAt=LATER)])
    put_rows(
        store.database, acp_idempotency_keys, key("k1", "gone"), key("k2", "gone"), key("k3", "stays"), key("k4", "x")
    )
    assert clean() == CleanedSessions(scanned=1, purged=1)
    assert set(sessions(store)) == {"stays"}
    assert set(rows_of(store.database, acp_idempotency_keys)) == {"k3", "k4"}


@pytest.mark.parametrize(
    "session",
    [
        acp_session(expiresAt=AFTER),
        acp_session(expiresAt=ABSENT),
        acp_session(status="completed"),
        acp_session(status="canceled"),
        acp_session(expiredAt=EARLIER, purgeAt=AFTER),
    ],
)
def test_a_session_that_needs_no_work_is_not_even_scanned(
    session: Document, store: AcpSessionStore, clean: Clean
) -> None:
    store.put([session])
    assert clean() == CleanedSessions()
    assert sessions(store) == {"acp_1": session}


def test_without_work_a_limit_of_zero_leaves_no_more(clean: Clean) -> None:
    assert not clean(limit=0).has_more


def test_the_least_recently_updated_are_taken_first_then_ids_decide(store: AcpSessionStore, clean: Clean) -> None:
    store.put([acp_session("c", updatedAt=BEFORE), acp_session("b"), acp_session("a", updatedAt=BEFORE)])
    clean(limit=2)
    assert {id_ for id_, session in sessions(store).items() if "expiredAt" in session} == {"a", "b"}


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_all_are_cleaned_up_however_the_batches_fall(
    count: int, store: AcpSessionStore, clean: Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acp_sessions_module, "BATCH", 2)
    store.put([acp_session(f"s{number}", purgeAt=NOW if number % 2 else ABSENT) for number in range(count)])
    assert clean() == CleanedSessions(scanned=count, expired=(count + 1) // 2, purged=count // 2)


def test_time_that_is_spent_half_way_leaves_the_rest_for_the_next_run(
    store: AcpSessionStore, clean: Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acp_sessions_module, "BATCH", 2)
    store.put([acp_session(f"s{number}") for number in range(5)])
    asked = iter([False, True])
    assert clean(out_of_time=lambda: next(asked)) == CleanedSessions(scanned=2, expired=2, has_more=True)
    assert clean() == CleanedSessions(scanned=3, expired=3)


def test_a_session_that_moved_on_in_the_meantime_is_left_alone(store: AcpSessionStore, clean: Clean) -> None:
    store.put([acp_session()])
    completed = acp_session(status="completed", version=2)

    def paid() -> bool:
        with store.database.engine.begin() as connection:
            connection.execute(update(acp_sessions).values(status="completed", version=2, data=json.dumps(completed)))
        return False

    assert clean(out_of_time=paid).expired == 0
    assert sessions(store)["acp_1"] == completed


@pytest.mark.parametrize("data", ["not JSON", "[]", "null", '{"expiresAt":"2026-03-01T11:00:00.000Z","huge":1e999}'])
def test_a_session_that_cannot_be_read_or_written_is_named_and_keeps_nobody_waiting(
    data: str, store: AcpSessionStore, clean: Clean
) -> None:
    store.put([acp_session("broken"), acp_session("sound")])
    with store.database.engine.begin() as connection:
        connection.execute(update(acp_sessions).where(acp_sessions.c.id == "broken").values(data=data))
    assert clean(limit=1) == CleanedSessions(scanned=1, expired=1, malformed_ids=("broken",))
    assert rows_of(store.database, acp_sessions)["broken"]["data"] == data


def test_what_is_due_is_judged_at_the_planned_time_and_stamped_with_the_real_one(store: AcpSessionStore) -> None:
    store.put([acp_session("due"), acp_session("later", expiresAt=AFTER)])
    late = Clock(NOW, now=lambda: datetime(2026, 3, 1, 12, 5, tzinfo=UTC))
    assert store.clean_up(late, limit=None, purge_after_hours=24, out_of_time=never_out_of_time).expired == 1
    assert sessions(store)["due"]["expiredAt"] == "2026-03-01T12:05:00.000Z"


def test_the_real_time_of_rows_plays_no_part(store: AcpSessionStore, clock: Clock) -> None:
    elsewhere = AcpSessionStore(replace(store.database, now=lambda: datetime(2000, 1, 1, tzinfo=UTC)))
    elsewhere.put([acp_session()])
    elsewhere.clean_up(clock, limit=None, purge_after_hours=24, out_of_time=never_out_of_time)
    assert sessions(store)["acp_1"]["updatedAt"] == NOW
