"""Mika's timestamps: one form, whose text order is time order."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mika_ops.timestamps import EARLIEST, LATEST, shifted, to_datetime, to_timestamp

moments = st.datetimes(
    min_value=datetime(1, 1, 2),  # noqa: DTZ001 - hypothesis wants naive bounds
    max_value=datetime(9999, 12, 30),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=14)), timezone(timedelta(hours=-11, minutes=-30))]),
)


def test_a_timestamp_has_milliseconds_and_a_z() -> None:
    assert to_timestamp(datetime(2026, 3, 1, 12, tzinfo=UTC)) == "2026-03-01T12:00:00.000Z"


def test_a_moment_of_another_zone_is_written_in_utc() -> None:
    vienna = timezone(timedelta(hours=1))
    assert to_timestamp(datetime(2026, 3, 1, 0, 30, tzinfo=vienna)) == "2026-02-28T23:30:00.000Z"


def test_what_is_finer_than_a_millisecond_is_cut_off() -> None:
    assert to_timestamp(datetime(2026, 3, 1, 12, 0, 0, 999_999, tzinfo=UTC)) == "2026-03-01T12:00:00.999Z"


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        to_timestamp(datetime(2026, 3, 1, 12))  # noqa: DTZ001 - that is the point


@given(moments)
def test_a_timestamp_is_read_back_to_the_millisecond(moment: datetime) -> None:
    cut_off = moment.astimezone(UTC).replace(microsecond=moment.microsecond // 1000 * 1000)
    assert to_datetime(to_timestamp(moment)) == cut_off


@given(moments, moments)
def test_text_order_is_time_order(one: datetime, other: datetime) -> None:
    if to_timestamp(one) < to_timestamp(other):
        assert one < other
    elif to_timestamp(one) == to_timestamp(other):
        assert abs(one - other) < timedelta(milliseconds=1)
    else:
        assert one > other


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01T12:00:00.000Z",
        "2026-03-01T12:00:00Z",
        "2026-03-01T13:00:00+01:00",
        "2026-03-01 12:00:00",
        "2026-03-01T12:00",
    ],
)
def test_any_iso_8601_text_is_read_and_one_without_a_zone_is_utc(text: str) -> None:
    assert to_datetime(text) == datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01T00:00:00.000Z", "2026-03-01T25:00:00Z", "1772366400"])
def test_a_text_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"isoformat|month|hour"):
        to_datetime(text)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00"])
def test_a_time_that_utc_has_no_date_for_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="calendar"):
        to_datetime(text)


@pytest.mark.parametrize(
    ("by", "moved"),
    [
        (timedelta(minutes=5), "2026-03-01T12:05:00.000Z"),
        (timedelta(days=-14), "2026-02-15T12:00:00.000Z"),
        (timedelta(milliseconds=1), "2026-03-01T12:00:00.001Z"),
        (timedelta(0), "2026-03-01T12:00:00.000Z"),
    ],
)
def test_a_timestamp_is_shifted(by: timedelta, moved: str) -> None:
    assert shifted("2026-03-01T12:00:00.000Z", by) == moved


@given(moments, st.timedeltas())
def test_a_shift_past_the_calendar_stays_at_its_end(moment: datetime, by: timedelta) -> None:
    moved = shifted(to_timestamp(moment), by)
    assert EARLIEST <= moved <= LATEST
    if by >= timedelta(0):
        assert moved >= to_timestamp(moment)
    else:
        assert moved <= to_timestamp(moment)


def test_the_ends_of_the_calendar_are_timestamps() -> None:
    for end in (EARLIEST, LATEST):
        assert to_timestamp(to_datetime(end)) == end
    assert shifted(EARLIEST, timedelta.min) == EARLIEST
    assert shifted(LATEST, timedelta.max) == LATEST
