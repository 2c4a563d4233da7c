"""Partial dates are ranges of instants."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir.instants import EARLIEST, LATEST, date_range


def at(*parts):
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("2020", at(2020, 1, 1), at(2021, 1, 1)),
        ("2020-02", at(2020, 2, 1), at(2020, 3, 1)),
        ("2020-12", at(2020, 12, 1), at(2021, 1, 1)),
        ("2020-02-29", at(2020, 2, 29), at(2020, 3, 1)),
        ("2020-02-29T10:30", at(2020, 2, 29, 10, 30), at(2020, 2, 29, 10, 31)),
        ("2020-02-29T10:30Z", at(2020, 2, 29, 10, 30), at(2020, 2, 29, 10, 31)),
        ("2020-02-29T10:30:05Z", at(2020, 2, 29, 10, 30, 5), at(2020, 2, 29, 10, 30, 6)),
        ("2020-02-29T10:30:05", at(2020, 2, 29, 10, 30, 5), at(2020, 2, 29, 10, 30, 6)),
        ("2020-02-29T23:30:05-05:00", at(2020, 3, 1, 4, 30, 5), at(2020, 3, 1, 4, 30, 6)),
        ("2016-12-31T23:59:60Z", at(2017, 1, 1), at(2017, 1, 1, 0, 0, 1)),
        ("9999", at(9999, 1, 1), LATEST),
        ("9999-12", at(9999, 12, 1), LATEST),
        ("9999-12-31", at(9999, 12, 31), LATEST),
        ("9999-12-31T23:59:59Z", at(9999, 12, 31, 23, 59, 59), LATEST),
        ("9999-12-31T23:59:60-14:00", at(9999, 12, 31, 23, 59, 59), LATEST),
        ("0001", EARLIEST, at(2, 1, 1)),
        ("0001-01-01T00:00:00+14:00", EARLIEST, EARLIEST + timedelta(seconds=1)),
    ],
)
def test_the_precision_of_a_text_is_the_length_of_its_range(text, low, high):
    assert date_range(text) == (low, high)


@pytest.mark.parametrize(
    ("fraction", "length"),
    [("1", 100_000), ("12", 10_000), ("123", 1_000), ("123456", 1), ("1234567", 1)],
)
def test_fractions_of_a_second_are_as_long_as_their_digits_say(fraction, length):
    low, high = date_range(f"2020-01-01T00:00:00.{fraction}Z")
    assert high - low == timedelta(microseconds=length)
    assert low == at(2020, 1, 1) + timedelta(microseconds=int(fraction[:6].ljust(6, "0")))


@pytest.mark.parametrize(
    "text",
    ["", "20", "2020-13", "2021-02-29", "2020-1", "yesterday", "2020-01-01 10:00", "20200101"],
)
def test_what_is_no_date_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011 -- the callers ask for nothing more exact
        date_range(text)


instants = st.datetimes(
    min_value=datetime(1, 1, 2),  # noqa: DTZ001 -- hypothesis adds the zone
    max_value=datetime(9999, 12, 30),  # noqa: DTZ001
    timezones=st.just(UTC),
)


@given(instants)
def test_every_instant_lies_within_its_day_month_and_year(instant):
    text = instant.isoformat()
    for length in (4, 7, 10):
        low, high = date_range(text[:length])
        assert low <= instant < high


@given(instants)
def test_a_finer_precision_lies_within_the_coarser_one(instant):
    text = instant.replace(microsecond=0).isoformat().replace("+00:00", "Z")
    ranges = [date_range(text[:length]) for length in (4, 7, 10)] + [date_range(text)]
    for (outer_low, outer_high), (low, high) in pairwise(ranges):
        assert outer_low <= low < high <= outer_high


@given(instants, st.integers(min_value=-13 * 60, max_value=13 * 60))
def test_the_zone_moves_a_time_but_not_its_length(instant, minutes):
    sign, size = ("-" if minutes < 0 else "+"), abs(minutes)
    text = instant.replace(tzinfo=None, microsecond=0).isoformat()
    low, high = date_range(f"{text}{sign}{size // 60:02}:{size % 60:02}")
    assert low == instant.replace(microsecond=0) - timedelta(minutes=minutes)
    assert high - low == timedelta(seconds=1)


@given(st.dates().map(str), st.dates().map(str))
def test_days_are_either_the_same_or_apart(first, second):
    (low, high), (other_low, other_high) = date_range(first), date_range(second)
    assert first == second or high <= other_low or other_high <= low
