"""`:in`, `:not-in`, `:above`, `:below` of tokens. search.html#token"""

from typing import Any

import pytest

from fhir.search.errors import SearchRefused
from tests.fhir.search.conftest import Ask, Clinic

ANIMALS = "http://animals.example"


def observation(rid: str, system: str | None, code: str) -> dict[str, Any]:
    coding = {"code": code} | ({"system": system} if system else {})
    return {
        "resourceType": "Observation",
        "id": rid,
        "status": "final",
        "code": {"coding": [coding]},
    }


RESOURCES = [
    {
        "resourceType": "CodeSystem",
        "id": "animals",
        "status": "active",
        "url": ANIMALS,
        "content": "complete",
        "concept": [
            {"code": "mammal", "concept": [{"code": "cat", "concept": [{"code": "siamese"}]}]},
            {"code": "bird"},
        ],
    },
    {
        "resourceType": "ValueSet",
        "id": "pets",
        "status": "active",
        "url": "http://animals.example/pets",
        "compose": {
            "include": [{"system": ANIMALS, "concept": [{"code": "cat"}, {"code": "bird"}]}]
        },
    },
    observation("cat", ANIMALS, "cat"),
    observation("siamese", ANIMALS, "siamese"),
    observation("bird", ANIMALS, "bird"),
    observation("other", "http://other", "cat"),
    {"resourceType": "Observation", "id": "text", "status": "final", "code": {"text": "cat"}},
    {"resourceType": "Patient", "id": "he", "gender": "male"},
    {"resourceType": "Patient", "id": "x", "gender": "other"},
]


@pytest.fixture
def ask(clinic: Clinic) -> Ask:
    return clinic(RESOURCES)


def test_value_sets_and_hierarchies_find_codes(ask: Ask) -> None:
    def find(query: str) -> list[str]:
        return ask("Observation", query)

    assert find("code:in=http://animals.example/pets") == ["bird", "cat"]
    assert find("code:in=ValueSet/pets") == ["bird", "cat"]
    assert find("code:in=pets") == ["bird", "cat"]
    assert find("code:not-in=pets") == ["other", "siamese", "text"]
    assert find(f"code:below={ANIMALS}|mammal") == ["cat", "siamese"]
    assert find(f"code:below={ANIMALS}|siamese,{ANIMALS}|bird") == ["bird", "siamese"]
    assert find(f"code:above={ANIMALS}|siamese") == ["cat", "siamese"]
    assert find(f"_filter=code ss {ANIMALS}|cat") == ["cat", "siamese"]
    assert find(f"_filter=code sb {ANIMALS}|siamese") == ["cat", "siamese"]
    assert find("_filter=code in pets and not(code in ValueSet/pets)") == []
    assert find("_filter=code ni pets") == ["other", "siamese", "text"]


def test_core_value_sets_are_known(ask: Ask) -> None:
    genders = "http://hl7.org/fhir/ValueSet/administrative-gender"
    assert ask("Patient", f"gender:in={genders}") == ["he", "x"]
    assert ask("Observation", f"patient.gender:in={genders}") == []


@pytest.mark.parametrize(
    "query",
    [
        *("code:in=http://nowhere.example/vs", "code:in=ValueSet/nothing", "code:below=cat"),
        *("code:below=http://nowhere.example|x", f"code:above={ANIMALS}|", "code:in=a/b/c"),
    ],
)
def test_what_is_not_here_is_refused(ask: Ask, query: str) -> None:
    with pytest.raises(SearchRefused) as refusal:
        ask("Observation", query)
    assert str(refusal.value.param).startswith("code")
