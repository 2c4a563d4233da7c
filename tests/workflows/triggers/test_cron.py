"""Cron expressions: what they mean, in every time zone and over changes of the clock."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.triggers.cron import CronError, next_after, parse_cron


def moments(text: str, start: str, zone: str, count: int) -> list[str]:
    moment = datetime.fromisoformat(start).astimezone(UTC)
    found = []
    for _ in range(count):
        moment = next_after(parse_cron(text), moment, ZoneInfo(zone))
        found.append(moment.astimezone(ZoneInfo(zone)).isoformat(timespec="minutes"))
    return found


@pytest.mark.parametrize(
    ("text", "start", "zone", "expected"),
    [
        ("0 7 * * *", "2026-11-25T12:00:00+00:00", "UTC", ["2026-11-26T07:00+00:00"]),
        (
            "*/20 8 * * mon",
            "2026-11-25T12:00:00+00:00",
            "UTC",
            ["2026-11-30T08:00+00:00", "2026-11-30T08:20+00:00"],
        ),
        (
            "0 0 1,15 * *",
            "2026-11-25T12:00:00+00:00",
            "UTC",
            ["2026-12-01T00:00+00:00", "2026-12-15T00:00+00:00"],
        ),
        (
            "0 0 13 * fri",
            "2026-11-25T12:00:00+00:00",
            "UTC",
            ["2026-11-27T00:00+00:00", "2026-12-04T00:00+00:00"],
        ),
        ("0 0 29 2 *", "2026-11-25T12:00:00+00:00", "UTC", ["2028-02-29T00:00+00:00"]),
        ("@hourly", "2026-11-25T12:30:00+00:00", "UTC", ["2026-11-25T13:00+00:00"]),
        # 8 March 2026, New York: 2:00 is followed by 3:00; 2:30 does not exist.
        (
            "30 2 * * *",
            "2026-03-07T12:00:00-05:00",
            "America/New_York",
            ["2026-03-08T03:00-04:00", "2026-03-09T02:30-04:00"],
        ),
        # 1 November 2026, New York: 1:00 to 2:00 comes twice; the job runs once.
        (
            "30 1 * * *",
            "2026-10-31T12:00:00-04:00",
            "America/New_York",
            ["2026-11-01T01:30-04:00", "2026-11-02T01:30-05:00"],
        ),
        # Every hour means every hour that passes.
        (
            "0 * * * *",
            "2026-11-01T00:30:00-04:00",
            "America/New_York",
            ["2026-11-01T01:00-04:00", "2026-11-01T01:00-05:00", "2026-11-01T02:00-05:00"],
        ),
    ],
)
def test_the_next_moments(text: str, start: str, zone: str, expected: list[str]) -> None:
    assert moments(text, start, zone, len(expected)) == expected


@pytest.mark.parametrize(
    "text",
    ["", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "a * * * *",
     "5-1 * * * *", "*/0 * * * *", "0 0 31 2 *", "1,, * * * *", "-1 * * * *", "* * * * * *",
     f"{9:05000} * * * *"],
)  # fmt: skip
def test_what_is_no_schedule_is_refused_by_field(text: str) -> None:
    with pytest.raises(CronError):
        parse_cron(text)


@given(
    st.integers(0, 59),
    st.integers(0, 23),
    st.integers(946_684_800, 2_208_988_800),
    st.sampled_from(
        ["UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kolkata"]
    ),
)
def test_a_daily_moment_comes_within_a_day_and_is_later(
    minute: int, hour: int, start: int, zone: str
) -> None:
    moment = datetime.fromtimestamp(start, UTC)
    following = next_after(parse_cron(f"{minute} {hour} * * *"), moment, ZoneInfo(zone))
    assert 0 < (following - moment).total_seconds() <= 25 * 3600
