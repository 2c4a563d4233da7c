"""Dates: implicit ranges, open periods, zones, prefixes. search.html#date, #prefix"""

from typing import Any

import pytest

from fhir.search.errors import SearchRefused
from tests.fhir.search.conftest import Ask, Clinic


def observation(rid: str, **when: object) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": rid,
        "status": "final",
        "code": {"coding": [{"code": "x"}]},
        **when,
    }


def at(start: str | None, end: str | None) -> dict[str, str]:
    return {k: v for k, v in (("start", start), ("end", end)) if v}


RESOURCES = [
    observation("year", effectiveDateTime="2020"),
    observation("month", effectiveDateTime="2020-02"),
    observation("day", effectiveDateTime="2020-02-29"),
    observation("instant", effectiveInstant="2020-02-29T12:00:00.5Z"),
    observation("zone", effectiveDateTime="2020-03-01T01:00:00+02:00"),
    observation("closed", effectivePeriod=at("2020-02-28", "2020-03-02")),
    observation("begun", effectivePeriod=at("2020-03-01", None)),
    observation("ended", effectivePeriod=at(None, "2020-01-31")),
    observation(
        "timing", effectiveTiming={"event": ["2020-02-01T08:00:00Z", "2020-02-05T08:00:00Z"]}
    ),
    observation("none"),
]


@pytest.fixture
def ask(clinic: Clinic) -> Ask:
    return clinic(RESOURCES)


FOUND = [
    # eq: the value asked for holds all of what is stored; zone is 2020-02-29T23:00Z
    ("date=2020", ["closed", "day", "instant", "month", "timing", "year", "zone"]),
    ("date=2020-02", ["day", "instant", "month", "timing", "zone"]),
    ("date=eq2020-02-29", ["day", "instant", "zone"]),
    ("date=2020-02-29T12:00", ["instant"]),
    ("date=2020-02-29T12:00:00.5Z", ["instant"]),
    ("date=2020-02-29T12:00:00.5", ["instant"]),
    ("date=2020-02-29T12:00:01Z", []),
    ("date=2020-02-29T13:00:00.5+01:00", ["instant"]),
    ("date=2020-03-01T00:00:00+01:00", ["zone"]),
    ("date=2020-02-29T23:00:00Z", ["zone"]),
    # ne is the opposite for each value
    ("date=ne2020-02-29", ["begun", "closed", "ended", "month", "timing", "year"]),
    # gt, lt: some of it lies beyond
    ("date=gt2020-02-29", ["begun", "closed", "year"]),
    ("date=lt2020-02-01", ["ended", "year"]),
    ("date=gt2020", ["begun"]),
    ("date=lt2020", ["ended"]),
    # ge, le: or the value holds all of it
    ("date=ge2020-02-29", ["begun", "closed", "day", "instant", "year", "zone"]),
    ("date=le2020-02-05", ["ended", "month", "timing", "year"]),
    ("date=ge2020-03", ["begun", "year"]),
    # sa, eb: all of it lies beyond
    ("date=sa2020-02-28", ["begun", "day", "instant", "zone"]),
    ("date=eb2020-02-28", ["ended", "timing"]),
    ("date=sa2020-02-29T23:00:00Z", ["begun"]),
    ("date=eb2020-02-01", ["ended"]),
    # together
    ("date=ge2020-02-29&date=le2020-02-29", ["day", "instant", "year", "zone", "closed"]),
    ("date=2019,2020-02-29T12:00", ["instant"]),
    ("date:missing=true", ["none"]),
    ("date=ge2019&date:missing=true", []),
    # approximately: a tenth of six years and nine months on either side
    ("date=ap2020-02-29T12:00:00Z", [str(entry["id"]) for entry in RESOURCES[:-1]]),
]


def test_dates_are_ranges(ask: Ask) -> None:
    wrong = {
        query: found for query, ids in FOUND if (found := ask("Observation", query)) != sorted(ids)
    }
    assert wrong == {}


NO_DATES = (
    *("2020-13", "2020-02-30", "20200101", "2020-W01-1", "2020-01-01T10", "yesterday"),
    *("2020-01-01T25:00", "xx2020", "ge", "202", "2020-1-1", "2020-01-01T10:00:00+1", "٢٠٢٠"),
    *("2020-01-01T10:00:00Z[UTC]", "0000", "10000", "gt-2020"),
)


def test_what_is_no_date_is_refused_by_name(ask: Ask) -> None:
    assert ask("Observation", "date=2020-01-01 ") == []
    for code in ("date", "_lastUpdated"):
        for value in NO_DATES:
            with pytest.raises(SearchRefused) as refusal:
                ask("Observation", f"{code}={value}")
            assert refusal.value.param == code, value


def test_the_time_of_the_last_update(ask: Ask) -> None:
    everything = sorted(str(entry["id"]) for entry in RESOURCES)
    for query in ("2026", "ge2026-11-22", "le2026-11-22", "sa2026-11-21", "ap2026-11-22", "ne2025"):
        assert ask("Observation", f"_lastUpdated={query}") == everything, query
    for query in ("2025", "gt2026-11-22", "lt2026-11-22", "eb2026-11-22T10:00:00Z", "ne2026"):
        assert ask("Observation", f"_lastUpdated={query}") == [], query
    assert ask("Observation", "_lastUpdated=2025,2026-11-22T10:00:00Z") == everything
    assert ask("Observation", "_lastUpdated:missing=true") == []
