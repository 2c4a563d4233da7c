"""The terminology dataset: valid, and at one with what agent and generator use."""

from typing import Any

import yaml

from assets.catalog.agents.diagnostic.reporting import LEVELS as LEVEL_SYSTEM
from assets.catalog.agents.diagnostic.reporting import TITLES
from assets.catalog.datasets.urinalysis_codes.dataset import terminology
from assets.registry import package
from fhir.validation import validate
from tests.assets.catalog.chart import CATALOG, DIAGNOSTIC, Call


def by_id() -> dict[str, dict[str, Any]]:
    return {resource["id"]: resource for resource in terminology()}


def concepts(value_set: str) -> dict[str, str]:
    include = by_id()[value_set]["compose"]["include"][0]
    return {term["code"]: term["display"] for term in include["concept"]}


def test_every_resource_is_valid_and_has_its_own_url() -> None:
    found = terminology()

    assert [validate(resource) for resource in found] == [[]] * len(found)
    assert len({resource["url"] for resource in found}) == len(found) == 8


def test_the_levels_are_those_of_the_agent() -> None:
    system = by_id()["screening-level"]

    assert system["url"] == LEVEL_SYSTEM
    assert {c["code"]: c["display"] for c in system["concept"]} == TITLES
    assert concepts("screening-levels") == TITLES


def test_the_rules_read_every_listed_symptom_and_dipstick_code() -> None:
    text = (DIAGNOSTIC / "rules" / "inputs.yaml").read_text()
    inputs = yaml.safe_load(text)["inputs"].values()
    read = {code.partition("|")[2] for item in inputs for code in item.get("codes", ())}

    assert set(concepts("urinary-symptoms")) <= read
    assert {"5799-2", "60026-2", "5802-4", "50558-6", "5794-3", "57751-0"} <= read
    assert set(concepts("urine-culture")) <= read


def test_it_loads_in_one_batch_of_upserts() -> None:
    dataset: Any = package("dataset_urinalysis_codes_v1").instantiate()
    (result,) = dataset.load(Call(folder=CATALOG / "datasets" / "urinalysis_codes"), {})

    assert result.output == {"resources": 8}
    assert {write.method for write in result.resources} == {"upsert"}
