"""`$lastn` and `$stats` of observations, against numbers worked out by hand."""

import statistics

import pytest
from rest_framework.test import APIClient

from fhir.operations.stats import kurtosis, quantile, skewness
from tests.fhir.conftest import ClientFor
from tests.fhir.operations.conftest import LOINC, get, observation, post, put, references


@pytest.mark.django_db
def test_the_latest_of_each_code(ann: APIClient) -> None:
    found = get(ann, "Observation/$lastn?patient=ann")
    assert references(found) == ["Observation/glu3", "Observation/crea"]
    two = get(ann, "Observation/$lastn?subject=Patient/ann&max=2&code=2339-0")
    assert references(two) == ["Observation/glu3", "Observation/glu2"]
    assert two["total"] == 2


@pytest.mark.django_db
def test_codings_that_stand_together_are_one_kind(ann: APIClient) -> None:
    code = {"coding": [{"system": "urn:local", "code": "GLU"}, {"system": LOINC, "code": "2339-0"}]}
    local = {"coding": [{"system": "urn:local", "code": "GLU"}]}
    put(ann, observation("glu4", "2339-0", 6.0, "2026-04-10", code=code))
    put(ann, observation("glu5", "2339-0", 6.5, "2026-05-10", code=local))
    found = get(ann, "Observation/$lastn?patient=ann")
    assert references(found) == ["Observation/glu5", "Observation/crea"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "word"),
    [("", "patient"), ("patient=ann&max=0", "max"), ("patient=ann&colour=red", "colour")],
)
def test_lastn_names_what_is_wrong(ann: APIClient, query: str, word: str) -> None:
    found = get(ann, f"Observation/$lastn?{query}", 400)
    assert word in found["issue"][0]["diagnostics"]


@pytest.mark.django_db
def test_lastn_needs_the_scopes_of_chained_types(client_for: ClientFor, ann: APIClient) -> None:
    narrow = client_for(scopes=("Observation:read",))
    get(narrow, "Observation/$lastn?patient=ann")
    get(narrow, "Observation/$lastn?patient.name=ann", 403)


def component(found: dict, code: str) -> dict:
    statistics_ = found["parameter"][0]["resource"]
    return next(c for c in statistics_["component"] if c["code"]["coding"][0]["code"] == code)


@pytest.mark.django_db
def test_statistics_of_three_values(ann: APIClient) -> None:
    names = "average,maximum,minimum,count,total-count,median,std-dev,sum,variance,4-lower,skew"
    found = get(
        ann, f"Observation/$stats?subject=Patient/ann&code=2339-0&system={LOINC}&statistic={names}"
    )
    values = {name: component(found, name)["valueQuantity"]["value"] for name in names.split(",")}
    assert values == {
        "average": 7,
        "maximum": 9,
        "minimum": 5,
        "count": 3,
        "total-count": 3,
        "median": 7,
        "std-dev": 2,
        "sum": 21,
        "variance": 4,
        "4-lower": 6,
        "skew": 0,
    }
    assert component(found, "average")["valueQuantity"]["code"] == "mmol/L"
    assert "code" not in component(found, "count")["valueQuantity"]
    answer = found["parameter"][0]["resource"]
    assert answer["effectivePeriod"]["start"] == "2026-01-10T00:00:00.000Z"


@pytest.mark.django_db
def test_regression_is_a_line_over_days(ann: APIClient) -> None:
    body = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "subject", "valueUri": "Patient/ann"},
            {"name": "coding", "valueCoding": {"system": LOINC, "code": "2339-0"}},
            {"name": "period", "valuePeriod": {"start": "2026-01-10", "end": "2026-02-10"}},
            {"name": "statistic", "valueCode": "regression"},
            {"name": "include", "valueBoolean": True},
        ],
    }
    found = post(ann, "Observation/$stats", body).json()
    slope, intercept = found["parameter"][0]["resource"]["component"]
    assert slope["valueQuantity"]["value"] == pytest.approx(2 / 31)
    assert intercept["valueQuantity"]["value"] == pytest.approx(5)
    sources = [part["resource"]["id"] for part in found["parameter"] if part["name"] == "source"]
    assert sources == ["glu2", "glu1"]


@pytest.mark.django_db
def test_units_are_never_mixed(ann: APIClient) -> None:
    milligrams = {"value": 90, "unit": "mg/dL"}
    put(ann, observation("mg", "2339-0", 0, "2026-05-01", valueQuantity=milligrams))
    found = get(ann, "Observation/$stats?subject=Patient/ann&code=2339-0&statistic=count")
    counts = [
        part["resource"]["component"][0]["valueQuantity"]["value"] for part in found["parameter"]
    ]
    assert counts == [1, 3]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("code=1&statistic=average", "subject"),
        ("subject=Patient/ann&statistic=average", "code"),
        ("subject=Patient/ann&code=1", "statistic"),
        ("subject=Patient/ann&code=1&statistic=magic", "magic"),
        ("subject=Patient/ann&code=1&statistic=sum&duration=long", "duration"),
    ],
)
def test_stats_names_what_is_wrong(ann: APIClient, query: str, word: str) -> None:
    found = get(ann, f"Observation/$stats?{query}", 400)
    assert word in found["issue"][0]["diagnostics"]


def test_the_shape_of_a_sample() -> None:
    numbers = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]
    assert statistics.fmean(numbers) == 5
    assert skewness(numbers) == pytest.approx(0.8184, abs=1e-4)
    assert kurtosis(numbers) == pytest.approx(0.9406, abs=1e-4)
    assert skewness([1.0, 2.0]) is None
    assert kurtosis([1.0, 1.0, 1.0, 1.0]) is None
    assert [quantile([1.0, 2.0, 3.0, 4.0], share) for share in (0, 0.25, 0.5, 1)] == [
        1,
        1.75,
        2.5,
        4,
    ]
