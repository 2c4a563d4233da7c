"""The generator: valid, consistent, deterministic, and each fixed patient at its level."""

import json
from collections import Counter
from datetime import date
from typing import Any

import pytest

from assets.catalog.datasets.synthetic_patients.dataset import batches
from assets.catalog.datasets.synthetic_patients.showcase import SHOWCASE, Showcase
from assets.manifest import load
from assets.registry import package
from fhir.validation import validate
from tests.assets.catalog.chart import CATALOG, NOW, Call

FOLDER = CATALOG / "datasets" / "synthetic_patients"
TODAY = date(2026, 11, 22)


@pytest.fixture(scope="module")
def resources() -> list[dict[str, Any]]:
    generated = batches(seed=2026, count=120, as_of=TODAY)
    return [resource for batch in generated for chart in batch for resource in chart]


def of_type(resources: list[dict[str, Any]], resource_type: str) -> list[dict[str, Any]]:
    return [item for item in resources if item["resourceType"] == resource_type]


def test_every_resource_is_valid_r4(resources: list[dict[str, Any]]) -> None:
    faults = {
        f"{item['resourceType']}/{item['id']}": issues
        for item in resources
        if (issues := validate(item))
    }

    assert faults == {}


def test_there_are_120_patients_with_full_charts(resources: list[dict[str, Any]]) -> None:
    counts = Counter(item["resourceType"] for item in resources)

    assert counts["Patient"] == 120
    assert counts["Coverage"] == 120
    assert counts["Encounter"] >= 120
    assert counts["Observation"] > 1000
    assert counts["Condition"] > 100
    assert counts["MedicationRequest"] > 50
    assert len({(r["resourceType"], r["id"]) for r in resources}) == len(resources)


def test_every_reference_leads_to_a_resource(resources: list[dict[str, Any]]) -> None:
    known = {f"{item['resourceType']}/{item['id']}" for item in resources}

    def references(value: object) -> set[str]:
        if isinstance(value, dict):
            own = {value["reference"]} if isinstance(value.get("reference"), str) else set()
            return own.union(*(references(item) for item in value.values()))
        if isinstance(value, list):
            return set().union(*(references(item) for item in value))
        return set()

    assert set().union(*(references(item) for item in resources)) <= known


def test_nothing_lies_in_the_future_or_before_birth(resources: list[dict[str, Any]]) -> None:
    born = {f"Patient/{p['id']}": p["birthDate"] for p in of_type(resources, "Patient")}
    dated = [
        (item, item.get("effectiveDateTime") or item.get("onsetDateTime"))
        for item in resources
        if item["resourceType"] in {"Observation", "Condition"}
    ]

    for item, at in dated:
        assert born[item["subject"]["reference"]] <= at[:10] <= "2026-11-22"


def test_diagnoses_labs_and_medication_agree(resources: list[dict[str, Any]]) -> None:
    def patients(resource_type: str, code: str) -> set[str]:
        return {
            item["subject"]["reference"]
            for item in of_type(resources, resource_type)
            for coding in (item.get("code") or item["medicationCodeableConcept"])["coding"]
            if coding["code"] == code
        }

    diabetic = patients("Condition", "44054006")
    assert diabetic == patients("MedicationRequest", "861007") == patients("Observation", "4548-4")
    assert 3 <= len(diabetic) <= 30
    assert patients("Condition", "38341003") == patients("MedicationRequest", "314076")


def test_the_same_seed_and_day_give_the_same_bytes() -> None:
    def text(seed: int, count: int = 30) -> str:
        return json.dumps(list(batches(seed=seed, count=count, as_of=TODAY)))

    assert text(1) == text(1)
    assert text(1) != text(2)
    assert json.loads(text(1, 30))[1] == json.loads(text(1, 40))[1]


@pytest.mark.parametrize("person", SHOWCASE, ids=lambda person: person.id)
def test_each_fixed_patient_is_screened_at_its_level(
    person: Showcase, resources: list[dict[str, Any]]
) -> None:
    result = (
        package("agent_diagnostic_v1")
        .instantiate()
        .run(  # type: ignore[attr-defined]
            Call(resources), {"patient_id": person.id}
        )
    )

    assert result.output["level"] == person.level
    issues = [w for w in result.resources if w.resource["resourceType"] == "DetectedIssue"]
    assert bool(issues) == (person.id == "pat_ruth")
    assert bool(result.output["red_flags"]) == (person.id == "pat_grace")


def test_the_panel_holds_every_level_in_plausible_shares(
    resources: list[dict[str, Any]],
) -> None:
    agent: Any = package("agent_diagnostic_v1").instantiate()
    call = Call(resources)
    levels = Counter(
        agent.run(call, {"patient_id": person["id"]}).output["level"]
        for person in of_type(resources, "Patient")
    )

    assert set(levels) == {
        "likely",
        "possible",
        "unlikely",
        "asymptomatic_bacteriuria",
        "contaminated",
        "insufficient_data",
    }
    assert 6 <= levels["likely"] <= 30
    assert levels["insufficient_data"] > levels["likely"]


def test_it_loads_in_batches_of_upserts() -> None:
    call = Call(config={"patients": 25, "seed": 7}, folder=FOLDER, now=NOW)
    dataset: Any = package("dataset_synthetic_patients_v1").instantiate()
    results = list(dataset.load(call, {}))

    assert [result.output["patients"] for result in results] == [0, 10, 20, 25]
    assert all(write.method == "upsert" for result in results for write in result.resources)
    declared = set(load(FOLDER / "asset.yaml").provides.fhir.creates)
    used = {w.resource["resourceType"] for result in results for w in result.resources}
    assert used == declared
    smaller = list(dataset.load(call, {"patients": 8}))
    assert smaller[-1].output["patients"] == 8
