"""Numbers and quantities: precision, units, comparators, ranges. search.html#number, #quantity"""

from typing import Any

import pytest

from fhir.search.errors import SearchRefused
from tests.fhir.search.conftest import Ask, Clinic

UCUM = "http://unitsofmeasure.org"


def observation(rid: str, **value: object) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": rid,
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8302-2"}]},
        **value,
    }


def quantity(value: float, code: str | None, **more: str) -> dict[str, object]:
    unit = {} if code is None else {"system": UCUM, "code": code}
    return {"value": value, **unit, **more}


RESOURCES = [
    observation("m", valueQuantity=quantity(1.702, "m")),
    observation("cm", valueQuantity=quantity(170.2, "cm", unit="centimetres")),
    observation("in", valueQuantity=quantity(67.0, "[in_i]")),
    observation("cel", valueQuantity=quantity(37.0, "Cel")),
    observation("bare", valueQuantity={"value": 170.2, "unit": "cm"}),
    observation(
        "other", valueQuantity={"value": 170.2, "system": "http://units.example", "code": "cm"}
    ),
    observation("below", valueQuantity=quantity(5, "mg/dL", comparator="<")),
    observation("atmost", valueQuantity=quantity(5, "mg/dL", comparator="<=")),
    observation("above", valueQuantity=quantity(9, "mg/dL", comparator=">")),
    observation("atleast", valueQuantity=quantity(9, "mg/dL", comparator=">=")),
    observation("score", valueQuantity=quantity(8, "{score}")),
    observation("inr", valueQuantity=quantity(8, "{INR}")),
    observation(
        "parts",
        component=[
            {"code": {"coding": [{"code": "a"}]}, "valueQuantity": quantity(120, "mm[Hg]")},
            {"code": {"coding": [{"code": "b"}]}, "valueQuantity": quantity(80, "mm[Hg]")},
        ],
    ),
]
LENGTHS = ["cm", "in", "m"]  # 67 inches are 1.7018 m


@pytest.fixture
def ask(clinic: Clinic) -> Ask:
    return clinic(RESOURCES)


FOUND = [
    # units that UCUM converts are found in each other
    (f"value-quantity=170.2|{UCUM}|cm", LENGTHS),
    (f"value-quantity=1.702|{UCUM}|m", LENGTHS),
    (f"value-quantity=1702|{UCUM}|mm", LENGTHS),
    (f"value-quantity=67|{UCUM}|[in_i]", LENGTHS),
    (f"value-quantity=67.01|{UCUM}|[in_i]", ["cm", "m"]),
    (f"value-quantity=gt1.702|{UCUM}|m", []),
    (f"value-quantity=ge1.702|{UCUM}|m", ["cm", "m"]),
    (f"value-quantity=lt170.2|{UCUM}|cm", ["in"]),
    (f"value-quantity=ap1.6|{UCUM}|m", LENGTHS),
    (f"value-quantity=ne1.7020|{UCUM}|m", ["in"]),
    (f"value-quantity=98.6|{UCUM}|[degF]", ["cel"]),
    (f"value-quantity=310.15|{UCUM}|K", ["cel"]),
    (f"value-quantity=170.2|{UCUM}|kg", []),
    # without a system: the code, the printed unit, and what UCUM converts
    ("value-quantity=170.2||cm", ["bare", "cm", "in", "m", "other"]),
    ("value-quantity=170.2||centimetres", ["cm"]),
    ("value-quantity=170.2|http://units.example|cm", ["other"]),
    # without a unit: the number as it came
    ("value-quantity=170.2", ["bare", "cm", "other"]),
    ("value-quantity=170", ["bare", "cm", "other"]),
    ("value-quantity=170.20", ["bare", "cm", "other"]),
    ("value-quantity=170.3", []),
    ("value-quantity=1.7", ["m"]),
    # a comparator is an open range: eq needs all of it inside, gt and lt some of it
    (f"value-quantity=5|{UCUM}|mg/dL", []),
    (f"value-quantity=lt5|{UCUM}|mg/dL", ["atmost", "below"]),
    (f"value-quantity=ge5|{UCUM}|mg/dL", ["above", "atleast", "atmost"]),
    (f"value-quantity=le9|{UCUM}|mg/dL", ["atleast", "atmost", "below"]),
    (f"value-quantity=sa8.9|{UCUM}|mg/dL", ["above", "atleast"]),
    (f"value-quantity=eb5|{UCUM}|mg/dL", ["below"]),
    (f"value-quantity=gt0.1|{UCUM}|g/dL", ["above", "atleast"]),
    # annotations are no units that convert
    (f"value-quantity=8|{UCUM}|{{score}}", ["score"]),
    # several values, and parts
    (f"value-quantity=8|{UCUM}|{{score}},37|{UCUM}|Cel", ["cel", "score"]),
    (f"component-value-quantity=120|{UCUM}|mm[Hg]", ["parts"]),
    (f"combo-value-quantity=ge16|{UCUM}|kPa", []),
    (f"combo-value-quantity=le11|{UCUM}|kPa", ["parts"]),
    ("combo-value-quantity=120,170.2", ["bare", "cm", "other", "parts"]),
    (f"component-code-value-quantity=a$gt100|{UCUM}|mm[Hg]", ["parts"]),
    (f"component-code-value-quantity=b$gt100|{UCUM}|mm[Hg]", []),
    (f"combo-code-value-quantity=a$15.99864|{UCUM}|kPa", ["parts"]),
    (f"combo-code-value-quantity=8302-2$170.2|{UCUM}|cm", LENGTHS),
    (f"code-value-quantity=http://loinc.org|8302-2$1.702|{UCUM}|m", LENGTHS),
    ("combo-value-quantity:missing=true", []),
    ("combo-code=a", ["parts"]),
    ("combo-code:not=8302-2", []),
]


def test_quantities_are_found(ask: Ask) -> None:
    wrong = {
        query: found
        for query, ids in FOUND
        if (found := ask("Observation", query.replace("%", "%25"))) != ids
    }
    assert wrong == {}


NO_QUANTITIES = (
    *("abc", "5|cm", "1|2|3|4", f"5|{UCUM}|", " ", "NaN", "inf", "1e999", "gt", "5_0"),
    *("ge5|a|b|c", "--5", "0x10", "ab5"),
)


def test_what_is_no_quantity_is_refused_by_name(ask: Ask) -> None:
    assert len(ask("Observation", "value-quantity=")) == len(RESOURCES)
    for value in NO_QUANTITIES:
        with pytest.raises(SearchRefused) as refusal:
            ask("Observation", f"value-quantity={value}")
        assert refusal.value.param == "value-quantity", value


def test_money_ranges_and_samples_are_quantities(clinic: Clinic) -> None:
    charge = {
        "resourceType": "Claim",
        "id": "claim",
        "status": "active",
        "use": "claim",
        "type": {"coding": [{"code": "oral"}]},
        "patient": {"reference": "Patient/1"},
        "created": "2026-01-01",
        "provider": {"reference": "Organization/1"},
        "priority": {"coding": [{"code": "normal"}]},
        "insurance": [{"sequence": 1, "focal": True, "coverage": {"reference": "Coverage/1"}}],
    }
    sampled = {"origin": quantity(0, "mV"), "period": 10, "dimensions": 1, "data": "E"}
    ask = clinic(
        [
            {
                "resourceType": "Invoice",
                "id": "bill",
                "status": "issued",
                "totalNet": {"value": 12.5, "currency": "EUR"},
            },
            charge,
            {
                "resourceType": "Condition",
                "id": "range",
                "subject": {"reference": "Patient/1"},
                "onsetRange": {"low": quantity(30, "a"), "high": quantity(40, "a")},
            },
            observation("wave", valueSampledData={**sampled, "lowerLimit": -3, "upperLimit": 3}),
        ]
    )
    assert ask("Invoice", "totalnet=12.5|urn:iso:std:iso:4217|EUR") == ["bill"]
    assert ask("Invoice", "totalnet=12.5||EUR") == ["bill"]
    assert ask("Invoice", "totalnet=12.5||USD") == []
    assert ask("Condition", f"onset-age=gt35|{UCUM}|a") == ["range"]
    assert ask("Condition", f"onset-age=gt480|{UCUM}|mo") == []
    assert ask("Condition", f"onset-age=lt480|{UCUM}|mo") == ["range"]
    assert ask("Observation", f"value-quantity=ap0|{UCUM}|mV") == ["wave"]
    assert ask("Observation", f"value-quantity=gt2|{UCUM}|mV") == ["wave"]
    assert ask("Observation", f"value-quantity=gt0.002|{UCUM}|V") == ["wave"]
    assert ask("Observation", f"value-quantity=gt3|{UCUM}|mV") == []


def test_numbers_are_found_by_their_precision(clinic: Clinic) -> None:
    def risk(rid: str, probability: float) -> dict[str, object]:
        return {
            "resourceType": "RiskAssessment",
            "id": rid,
            "status": "final",
            "subject": {"reference": "Patient/1"},
            "prediction": [{"probabilityDecimal": probability}],
        }

    ask = clinic([risk("r94", 94), risk("r95", 95), risk("r100", 100), risk("r99-6", 99.6)])
    assert ask("RiskAssessment", "probability=100") == ["r100", "r99-6"]
    assert ask("RiskAssessment", "probability=100.00") == ["r100"]
    assert ask("RiskAssessment", "probability=1e2") == ["r100", "r95", "r99-6"]
    assert ask("RiskAssessment", "probability=ne100") == ["r94", "r95"]
    assert ask("RiskAssessment", "probability=gt99.6") == ["r100"]
    assert ask("RiskAssessment", "probability=ge99.6") == ["r100", "r99-6"]
    assert ask("RiskAssessment", "probability=le9.5e1") == ["r94", "r95"]
    assert ask("RiskAssessment", "probability=ap105") == ["r100", "r95", "r99-6"]
    assert ask("RiskAssessment", "probability=sa95,eb95") == ["r100", "r94", "r99-6"]
    assert ask("RiskAssessment", "probability:missing=true") == []
