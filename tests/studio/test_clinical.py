"""FHIR for people: names, ages, values, series."""

from datetime import date

import pytest

from studio import clinical


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([{"use": "usual", "text": "May"}, {"use": "official", "family": "Okafor"}], "Okafor"),
        ([{"family": "Okafor", "given": ["Maya", "Ruth"]}], "Maya Ruth Okafor"),
        ([{"text": "Maya O."}], "Maya O."),
        ([{}], "Unnamed"),
    ],
)
def test_the_official_name_comes_first(names: list[dict[str, object]], expected: str) -> None:
    assert clinical.name_of({"resourceType": "Patient", "name": names}) == expected


@pytest.mark.parametrize(
    ("born", "expected"),
    [("1992-04-17", 34), ("1992-11-23", 33), ("1992-11-22", 34), ("1992", None), (None, None)],
)
def test_age_turns_on_the_birthday(born: str | None, expected: int | None) -> None:
    patient = {"birthDate": born} if born else {}
    assert clinical.age_of(patient, date(2026, 11, 22)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"valueQuantity": {"value": 101.2, "unit": "F"}}, "101.2 F"),
        ({"valueQuantity": {"value": 5, "comparator": "<", "unit": "mg/dL"}}, "<5 mg/dL"),
        ({"valueCodeableConcept": {"coding": [{"code": "x", "display": "Positive"}]}}, "Positive"),
        ({"valueBoolean": False}, "No"),
        ({"component": [{"valueQuantity": {"value": 120}}, {"valueQuantity": {"value": 80}}]},
         "120 / 80"),
        ({}, ""),
    ],
)  # fmt: skip
def test_values_are_told_with_their_unit(value: dict[str, object], expected: str) -> None:
    assert clinical.value_of(value) == expected


def test_a_series_is_ordered_by_time_and_charted_with_its_range() -> None:
    reference = [{"low": {"value": 3.5}, "high": {"value": 5.1}}]
    observations = [
        {
            "code": {"text": "Potassium"},
            "effectiveDateTime": f"2026-0{month}-01",
            "valueQuantity": {"value": value},
            "referenceRange": reference,
        }
        for month, value in ((3, 5.3), (1, 4.1), (2, 4.4))
    ]
    (series,) = clinical.lab_series(observations)
    assert (series.value, series.range_text, series.count) == ("5.3", "3.5–5.1", 3)
    assert series.chart is not None
    assert series.chart.points.split(" ")[0].startswith("3.0,")
    assert series.chart.range_y is not None


def test_one_value_has_no_chart() -> None:
    (series,) = clinical.lab_series([{"code": {"text": "Nitrite"}, "valueString": "negative"}])
    assert series.chart is None


def test_the_patient_of_a_resource() -> None:
    assert clinical.patient_id_of({"subject": {"reference": "Patient/pat_1"}}) == "pat_1"
    assert clinical.patient_id_of({"patient": {"reference": "Group/g"}}) == ""
    assert clinical.patient_id_of({"resourceType": "Patient", "id": "pat_1"}) == "pat_1"
