"""How many emails one record holds: a part of those under way where records are quick, else all that have ended."""

import pytest

from mika_ops.email.outbox.record_size import RecordSize


def size_after(concurrency: int, *, send: float, record: float, count: int = 1) -> RecordSize:
    """The record size of a drain that has measured how many seconds an email and a record of so many take."""
    record_size = RecordSize(concurrency)
    record_size.sent(send)
    record_size.recorded(count, record)
    return record_size


def test_before_anything_is_known_a_record_holds_whatever_has_ended() -> None:
    record_size = RecordSize(16)
    assert record_size.size == 16
    record_size.sent(60.0)
    assert record_size.size == 16


@pytest.mark.parametrize(("concurrency", "part"), [(1, 1), (2, 1), (3, 1), (5, 1), (8, 2), (16, 5), (64, 21)])
def test_where_records_are_quick_one_holds_a_third_of_the_workers_emails(concurrency: int, part: int) -> None:
    assert size_after(concurrency, send=0.020, record=0.005).size == part


@pytest.mark.parametrize(("send", "record", "size"), [(0.020, 0.009, 5), (0.020, 0.011, 16), (0.0, 0.001, 16)])
def test_parts_are_recorded_where_the_others_records_fit_into_sending(send: float, record: float, size: int) -> None:
    assert size_after(16, send=send, record=record).size == size


def test_a_large_record_shows_how_long_one_of_a_part_would_take() -> None:
    assert size_after(16, send=0.020, record=0.024, count=16).size == 5
    assert size_after(16, send=0.020, record=0.048, count=16).size == 16


def test_a_single_slow_record_changes_nothing_and_many_do() -> None:
    record_size = size_after(16, send=0.020, record=0.005)
    record_size.recorded(5, 0.020)
    assert record_size.size == 5
    for _ in range(10):
        record_size.recorded(5, 0.020)
    assert record_size.size == 16


def test_a_record_of_nothing_changes_nothing() -> None:
    assert size_after(3, send=1.0, record=0.1, count=0).size == 1
