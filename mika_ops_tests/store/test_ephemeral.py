"""Ephemeral rows (behaviour, sections 7 and 8): the expired are purged, and a person's tokens deleted."""

import pytest

from mika_ops.deadline import never_out_of_time
from mika_ops.store import ephemeral as store
from mika_ops.store.database import Database
from mika_ops.store.ephemeral import EphemeralRows
from mika_ops.store.schema.site import ephemeral_records
from mika_ops_testing.builders import BEFORE, EARLIER, LATER, NOW, ephemeral, put_rows, rows_of

KINDS = ("token", "rate_limit", "lock", "nonce", "cache_marker")


@pytest.fixture
def rows(database: Database) -> EphemeralRows:
    return EphemeralRows(database)


def left(rows: EphemeralRows) -> set[str]:
    return set(rows_of(rows.database, ephemeral_records))


def purge(rows: EphemeralRows) -> int:
    return rows.purge_expired(due=NOW, out_of_time=never_out_of_time)


def test_rows_are_purged_whatever_their_kind_or_status(rows: EphemeralRows) -> None:
    every = [
        ephemeral(f"{kind}:{status}", kind=kind, status=status) for kind in KINDS for status in ("pending", "used")
    ]
    put_rows(rows.database, ephemeral_records, *every)
    assert purge(rows) == len(every)
    assert left(rows) == set()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_every_expired_row_is_purged_however_the_batches_fall(
    count: int, rows: EphemeralRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "BATCH", 2)
    put_rows(rows.database, ephemeral_records, *(ephemeral(f"token:{number}") for number in range(count)))
    put_rows(rows.database, ephemeral_records, ephemeral("live", expires_at=LATER))
    assert purge(rows) == count
    assert left(rows) == {"live"}


def test_the_oldest_are_purged_first_until_time_is_spent(rows: EphemeralRows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "BATCH", 1)
    times = {"newest": NOW, "oldest": EARLIER, "middle": BEFORE}
    put_rows(rows.database, ephemeral_records, *(ephemeral(key, expires_at=time) for key, time in times.items()))
    asked = iter([False, False, True])
    assert rows.purge_expired(due=NOW, out_of_time=lambda: next(asked)) == 2
    assert left(rows) == {"newest"}


def test_tokens_are_deleted_whenever_they_end_and_whatever_their_status(rows: EphemeralRows) -> None:
    put_rows(
        rows.database,
        ephemeral_records,
        ephemeral("a", subject_hash="ada", expires_at=LATER),
        ephemeral("b", subject_hash="ada", status="used", expires_at=EARLIER),
    )
    assert rows.delete_tokens(["ada"]) == {"ada": 2}


def test_all_tokens_of_a_person_are_deleted_however_many(rows: EphemeralRows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "BATCH", 2)
    put_rows(rows.database, ephemeral_records, *(ephemeral(f"t:{n}", subject_hash="ada") for n in range(7)))
    assert rows.delete_tokens(["ada"]) == {"ada": 7}
