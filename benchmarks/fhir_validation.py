"""What validation and extraction of search values cost, against parsing the same JSON.

Run `python benchmarks/fhir_validation.py`. All figures come from one run on one machine, so the
ratios to the parse floor are what to compare; microseconds depend on the machine and its load.
"""

import gc
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fhir.search.extractors import extract  # noqa: E402
from fhir.validation import validate  # noqa: E402

ROUNDS, CALLS = 41, 200

CODING = {"system": "http://loinc.org", "code": "8310-5", "display": "Body temperature"}
UCUM = "http://unitsofmeasure.org"

OBSERVATION = {
    "resourceType": "Observation",
    "id": "0190b0a5-6b8e-7c3d-9a4f-8e5d2c1b0a99",
    "meta": {"profile": ["http://hl7.org/fhir/StructureDefinition/vitalsigns"]},
    "status": "final",
    "category": [
        {
            "coding": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                    "code": "vital-signs",
                    "display": "vital-signs",
                }
            ]
        }
    ],
    "code": {"coding": [CODING], "text": "Body temperature"},
    "subject": {"reference": "Patient/0190b0a5-6b8e-7c3d-9a4f-8e5d2c1b0a01"},
    "encounter": {"reference": "Encounter/0190b0a5-6b8e-7c3d-9a4f-8e5d2c1b0a02"},
    "effectiveDateTime": "2026-11-22T10:00:00+01:00",
    "issued": "2026-11-22T10:00:00.123+01:00",
    "valueQuantity": {"value": 37.2, "unit": "Cel", "system": UCUM, "code": "Cel"},
}
PATIENT = {
    "resourceType": "Patient",
    "id": "pat_123",
    "text": {
        "status": "generated",
        "div": '<div xmlns="http://www.w3.org/1999/xhtml"><p>Anna <b>Smith</b></p></div>',
    },
    "identifier": [{"system": "urn:oid:1.2.36.146", "value": "12345", "use": "usual"}],
    "active": True,
    "name": [{"use": "official", "family": "Smith", "given": ["Anna", "Maria"]}],
    "telecom": [{"system": "phone", "value": "555-1234", "use": "home"}],
    "gender": "female",
    "birthDate": "1980-02-29",
    "address": [{"line": ["1 Main St"], "city": "Boston", "state": "MA", "postalCode": "02101"}],
    "managingOrganization": {"reference": "Organization/org_1"},
}
CONDITION = {
    "resourceType": "Condition",
    "clinicalStatus": {
        "coding": [
            {
                "system": "http://terminology.hl7.org/CodeSystem/condition-clinical",
                "code": "active",
            }
        ]
    },
    "code": {"coding": [{"system": "http://snomed.info/sct", "code": "38341003"}]},
    "subject": {"reference": "Patient/pat_123"},
    "onsetDateTime": "2020-05",
}


def measure(calls: list[Callable[[], object]]) -> list[list[float]]:
    """Answer, for each call, its times in microseconds; the calls take turns in every round."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(ROUNDS):
        for call, found in zip(calls, times, strict=True):
            start = time.perf_counter()
            for _ in range(CALLS):
                call()
            found.append((time.perf_counter() - start) / CALLS * 1e6)
    return times


def ratio(times: list[float], floor: list[float]) -> float:
    """Answer the median of the ratios within each round."""
    return statistics.median(t / f for t, f in zip(times, floor, strict=True))


def report(resource: dict[str, Any]) -> None:
    """Print the row of one resource."""
    text = orjson.dumps(resource)
    assert validate(resource) == []
    parse, standard, valid, values = measure(
        [
            lambda: orjson.loads(text),
            lambda: json.loads(text),
            lambda: validate(resource),
            lambda: extract(resource),
        ]
    )
    median = statistics.median
    print(
        f"{resource['resourceType']:<12} {len(text):>6} {median(parse):>8.2f}"
        f" {median(standard):>8.2f} {median(valid):>9.2f} {ratio(valid, parse):>6.1f}x"
        f" {median(values):>8.2f} {ratio(values, parse):>6.1f}x"
    )


def first_use() -> None:
    """Print what the first resource of a type costs, which compiles its schema and extractor."""
    for resource in (OBSERVATION, PATIENT, CONDITION):
        start = time.perf_counter()
        validate(resource)
        middle = time.perf_counter()
        extract(resource)
        end = time.perf_counter()
        print(
            f"{resource['resourceType']:<12} first validation {(middle - start) * 1e3:6.1f} ms,"
            f" first extraction {(end - middle) * 1e3:6.1f} ms"
        )


def main() -> None:
    """Print first-use costs, then medians and ratios."""
    first_use()
    gc.disable()
    print(f"\nmedians of {ROUNDS} rounds of {CALLS} calls, in microseconds")
    print("resource      bytes   orjson     json  validate          extract")
    for resource in (OBSERVATION, PATIENT, CONDITION):
        report(resource)


if __name__ == "__main__":
    main()
