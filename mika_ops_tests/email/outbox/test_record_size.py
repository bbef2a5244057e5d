"""How many emails one record holds: a part of those under way where records are quick, else all that have ended."""

import pytest

from mika_ops.email.outbox.record_size import RecordSize


def parts_of(concurrency: int, *, send: float, record: float, count: int = 1) -> RecordSize:
    """Parts of a drain that has learnt how many seconds an email and a record of so many take."""
    parts = RecordSize(concurrency)
    parts.sent(send)
    parts.recorded(count, record)
    return parts


def test_before_anything_is_known_a_record_holds_whatever_has_ended() -> None:
    parts = RecordSize(16)
    assert parts.size == 16
    parts.sent(60.0)
    assert parts.size == 16


@pytest.mark.parametrize(("concurrency", "part"), [(1, 1), (2, 1), (3, 1), (5, 1), (8, 2), (16, 5), (64, 21)])
def test_where_records_are_quick_one_holds_a_third_of_the_workers_emails(concurrency: int, part: int) -> None:
    assert parts_of(concurrency, send=0.020, record=0.005).size == part


@pytest.mark.parametrize(("send", "record", "size"), [(0.020, 0.009, 5), (0.020, 0.011, 16), (0.0, 0.001, 16)])
def test_parts_are_recorded_where_the_others_records_fit_into_sending(send: float, record: float, size: int) -> None:
    assert parts_of(16, send=send, record=record).size == size


def test_a_large_record_tells_how_long_one_of_a_part_would_take() -> None:
    assert parts_of(16, send=0.020, record=0.024, count=16).size == 5
    assert parts_of(16, send=0.020, record=0.048, count=16).size == 16


def test_a_single_slow_record_changes_nothing_and_many_do() -> None:
    parts = parts_of(16, send=0.020, record=0.005)
    parts.recorded(5, 0.020)
    assert parts.size == 5
    for _ in range(10):
        parts.recorded(5, 0.020)
    assert parts.size == 16


def test_a_record_of_nothing_is_no_trouble() -> None:
    assert parts_of(3, send=1.0, record=0.1, count=0).size == 1
