"""From resources to findings: times, ages, denials, sources, what is stale or unusable."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.rules import Interval, open_rules
from assets.rules.findings import Finding, collect
from assets.rules.times import age_on, clinical_moment, is_current, moment
from assets.sdk import StoredResource
from tests.assets.catalog.chart import (
    DIAGNOSTIC,
    DYSURIA,
    NITRITE,
    NOW,
    SNOMED,
    condition,
    observation,
    patient,
)

INPUTS = open_rules(DIAGNOSTIC / "rules").inputs


def findings(*resources: dict[str, Any], **parameters: object) -> dict[str, Finding]:
    stored = [StoredResource(r["resourceType"], r["id"], 3, r) for r in resources]
    return collect(INPUTS, stored, now=NOW, parameters=parameters)


def answer(code: str) -> dict[str, Any]:
    return {"valueCodeableConcept": {"coding": [{"system": SNOMED, "code": code}]}}


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2026", "2026-01-01T00:00:00", "2026-12-31T23:59:59"),
        ("2024-02", "2024-02-01T00:00:00", "2024-02-29T23:59:59"),
        ("2026-11-22", "2026-11-22T00:00:00", "2026-11-22T23:59:59"),
        ("2026-11-22T10:00:00+02:00", "2026-11-22T08:00:00", "2026-11-22T08:00:00"),
        ("2026-11-22T10:00:00.123456789Z", "2026-11-22T10:00:00.123456", None),
    ],
)
def test_partial_dates_mean_their_whole_extent(text: str, first: str, last: str | None) -> None:
    found = moment(text)

    assert found is not None
    assert found.first == datetime.fromisoformat(first).replace(tzinfo=UTC)
    assert found.last == datetime.fromisoformat(last or first).replace(tzinfo=UTC)


@pytest.mark.parametrize("text", [None, 7, "", "yesterday", "2026-13", "2026-02-30", "20266"])
def test_what_is_no_date_has_no_moment(text: object) -> None:
    assert moment(text) is None


def test_a_condition_counts_from_its_latest_statement() -> None:
    found = clinical_moment(
        condition(DYSURIA, onsetDateTime="2026-01-01", recordedDate="2026-11-20")
    )

    assert found is not None
    assert found.first.date().isoformat() == "2026-11-20"


@pytest.mark.parametrize(
    ("text", "days", "current"),
    [
        ("2026-11-08", 14, True),
        ("2026-11-07", 14, False),
        ("2026-11-23T09:00:00Z", 14, True),
        ("2026-11-24", 14, False),
        ("1999", None, True),
    ],
)
def test_the_look_back_includes_its_first_day(text: str, days: int | None, current: bool) -> None:
    at = moment(text)
    assert at is not None
    assert is_current(at, NOW, days) is current


@pytest.mark.parametrize(
    ("born", "low", "high"),
    [
        ("1992-11-22", 34, 34),
        ("1992-11-23", 33, 33),
        ("1992-11", 33, 34),
        ("1992", 33, 34),
        ("2026-11-22", 0, 0),
    ],
)
def test_ages_are_as_exact_as_the_birth_date(born: str, low: int, high: int) -> None:
    assert age_on(born, NOW) == Interval(Interval.exactly(low).low, Interval.exactly(high).high)


def test_an_impossible_birth_date_gives_no_age() -> None:
    assert age_on("2030-01-01", NOW) is None
    assert age_on(None, NOW) is None


@given(st.dates(min_value=datetime(1900, 1, 1).date(), max_value=NOW.date()))  # noqa: DTZ001
def test_an_exact_birth_date_gives_an_exact_age(born: Any) -> None:
    age = age_on(born.isoformat(), NOW)

    assert age is not None
    assert age.low == age.high >= 0


def test_a_finding_names_the_resource_version_it_rests_on() -> None:
    found = findings(observation(NITRITE, "Positive"))["nitrite"]

    assert found.value is True
    assert [(s.reference, s.version) for s in found.sources] == [(f"Observation/obs-{NITRITE}", 3)]


@pytest.mark.parametrize(
    ("resource", "note"),
    [
        (observation(NITRITE, "TNP"), "unusable"),
        (observation(NITRITE, "Positive", effectiveDateTime="2025-01-01"), "stale"),
        (observation("1-1", "Positive"), ""),
    ],
)
def test_nothing_known_says_why(resource: dict[str, Any], note: str) -> None:
    found = findings(resource)["nitrite"]

    assert (found.value, found.note) == (None, note)


def test_a_newer_denial_outweighs_an_older_symptom_and_the_other_way_round() -> None:
    def denial(at: str) -> dict[str, Any]:
        code = {"coding": [{"system": SNOMED, "code": "249274008"}]}
        return observation("x", {"valueBoolean": False}, code=code, effectiveDateTime=at)

    older, newer = condition(DYSURIA, onsetDateTime="2026-11-19"), condition(DYSURIA)
    assert findings(older, denial("2026-11-20T10:00:00Z"))["dysuria"].value is False
    assert findings(newer, denial("2026-11-20T10:00:00Z"))["dysuria"].value is True
    assert findings(denial("2026-11-20T10:00:00Z"))["flank_pain"].value is False
    assert findings(denial("2026-10-01"))["dysuria"].value is None


def test_a_refuted_condition_is_a_denial() -> None:
    refuted = condition(DYSURIA, verificationStatus={"coding": [{"code": "refuted"}]})

    assert findings(refuted)["dysuria"].value is False


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        (condition("77386006"), True),
        (observation("82810-3", answer("77386006")), True),
        (observation("82810-3", answer("60001007")), False),
        (observation("2106-3", "Negative"), False),
        (observation("2106-3", "Positive"), True),
        (condition("Z34.01", "http://hl7.org/fhir/sid/icd-10-cm"), True),
        (patient(), None),
    ],
)  # fmt: skip
def test_pregnancy_is_read_from_status_test_and_diagnosis(
    resource: dict[str, Any], expected: bool | None
) -> None:
    assert findings(resource)["pregnant"].value is expected


def test_asymptomatic_of_something_else_denies_nothing() -> None:
    other = observation("75193-3", answer("84387000"))

    assert findings(other)["dysuria"].value is None
    assert findings(condition("84387000"))["dysuria"].value is False


def test_a_preliminary_no_growth_is_not_a_result_yet() -> None:
    early = observation("630-4", "No growth to date", status="preliminary")
    final = observation("630-4", "No growth", status="final")

    assert findings(early)["culture_cfu"].value is None
    assert findings(final)["culture_cfu"].value == Interval.exactly(0)


def test_a_catheter_is_read_from_a_device() -> None:
    device = {
        "resourceType": "Device",
        "id": "d",
        "meta": {"lastUpdated": "2026-11-20T00:00:00Z"},
        "type": {"coding": [{"system": SNOMED, "code": "23973005"}]},
        "patient": {"reference": "Patient/pat_123"},
    }

    assert findings(device)["catheter"].value is True
    assert findings({**device, "status": "entered-in-error"})["catheter"].value is None


def test_a_specimen_tells_how_it_was_collected() -> None:
    specimen = {
        "resourceType": "Specimen",
        "id": "s",
        "subject": {"reference": "Patient/pat_123"},
        "receivedTime": "2026-11-22",
        "collection": {"method": {"text": "In-and-out catheter"}},
    }

    assert findings(specimen)["straight_catheter_specimen"].value is True


def test_parameters_override_the_record() -> None:
    found = findings(observation(NITRITE, "Positive"), nitrite=False, age=40)

    assert found["nitrite"].value is False
    assert found["age"].value == Interval.exactly(40)
