"""$translate and $closure over HTTP."""

import json
from typing import Any

import pytest
from rest_framework.test import APIClient

from tests.fhir.terminology.conftest import COLORS, color_system

pytestmark = pytest.mark.django_db
FHIR = "application/fhir+json"
MAP = "http://example.org/to-paint"
PAINT = "http://example.org/paint"


def post(client: APIClient, address: str, body: object) -> Any:
    return client.post(f"/v1/fhir/{address}", json.dumps(body), content_type=FHIR)


def concept_map(**group: Any) -> dict[str, Any]:
    return {
        "resourceType": "ConceptMap",
        "url": MAP,
        "status": "active",
        "sourceUri": "http://example.org/reds",
        "targetUri": "http://example.org/paints",
        "group": [
            {
                "source": COLORS,
                "target": PAINT,
                "element": [
                    {
                        "code": "red",
                        "target": [
                            {"code": "P1", "display": "Red paint", "equivalence": "equivalent"},
                            {"code": "P2", "equivalence": "wider"},
                        ],
                    },
                    {"code": "blue", "target": [{"equivalence": "unmatched"}]},
                ],
                **group,
            }
        ],
    }


def matches(answer: Any) -> tuple[bool, list[tuple[str, str]]]:
    assert answer.status_code == 200, answer.content
    entries = answer.json()["parameter"]
    found = []
    for entry in entries[1:]:
        parts = {part["name"]: part for part in entry.get("part", ())}
        if parts:
            coding = parts.get("concept", {}).get("valueCoding", {})
            found.append((parts["equivalence"]["valueCode"], coding.get("code", "")))
    return entries[0]["valueBoolean"], found


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (f"url={MAP}&system={COLORS}&code=red", (True, [("equivalent", "P1"), ("wider", "P2")])),
        (f"url={MAP}&system={COLORS}&code=blue", (False, [("unmatched", "")])),
        (f"url={MAP}&system={COLORS}&code=mauve", (False, [])),
        (f"url={MAP}&system={PAINT}&code=P2&reverse=true", (True, [("narrower", "red")])),
        (
            f"source=http://example.org/reds&target=http://example.org/paints"
            f"&system={COLORS}&code=red&targetsystem={PAINT}",
            (True, [("equivalent", "P1"), ("wider", "P2")]),
        ),
        (
            "url=http://hl7.org/fhir/ConceptMap/101&code=home"
            "&system=http://hl7.org/fhir/address-use",
            (True, [("equivalent", "H")]),
        ),
    ],
)
def test_translate(
    alice_client: APIClient, query: str, expected: tuple[bool, list[tuple[str, str]]]
) -> None:
    assert post(alice_client, "ConceptMap", concept_map()).status_code == 201
    assert matches(alice_client.get(f"/v1/fhir/ConceptMap/$translate?{query}")) == expected


@pytest.mark.parametrize(
    ("unmapped", "expected"),
    [
        ({"mode": "provided"}, [("equal", "mauve")]),
        ({"mode": "fixed", "code": "P0"}, [("inexact", "P0")]),
        ({"mode": "other-map", "url": MAP}, []),
    ],
)
def test_codes_that_a_map_does_not_list(
    alice_client: APIClient, unmapped: dict[str, str], expected: list[tuple[str, str]]
) -> None:
    body = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "conceptMap", "resource": concept_map(unmapped=unmapped)},
            {"name": "coding", "valueCoding": {"system": COLORS, "code": "mauve"}},
        ],
    }
    assert matches(post(alice_client, "ConceptMap/$translate", body))[1] == expected


@pytest.mark.parametrize(
    ("query", "status"),
    [
        (f"url={MAP}&system={COLORS}&code=red", 404),
        (f"system={COLORS}&code=red", 400),
        (f"url={MAP}&code=red", 400),
    ],
)
def test_translate_refuses_with_the_reason(
    alice_client: APIClient, charlie_client: APIClient, query: str, status: int
) -> None:
    assert post(alice_client, "ConceptMap", concept_map()).status_code == 201
    answer = charlie_client.get(f"/v1/fhir/ConceptMap/$translate?{query}")
    assert answer.status_code == status


def closure(client: APIClient, *codes: str, name: str = "mine", version: str = "") -> Any:
    parameters: list[dict[str, Any]] = [{"name": "name", "valueString": name}]
    for code in codes:
        parameters.append({"name": "concept", "valueCoding": {"system": COLORS, "code": code}})
    if version:
        parameters.append({"name": "version", "valueString": version})
    return post(client, "$closure", {"resourceType": "Parameters", "parameter": parameters})


def pairs(answer: Any) -> list[tuple[str, str]]:
    assert answer.status_code == 200, answer.content
    return [
        (element["code"], target["code"])
        for group in answer.json().get("group", ())
        for element in group["element"]
        for target in element["target"]
    ]


def test_a_closure_table_grows_by_versions_and_is_told_again(alice_client: APIClient) -> None:
    post(alice_client, "CodeSystem", color_system())
    assert closure(alice_client).json()["version"] == "0"
    first = closure(alice_client, "crimson", "blue")
    assert (first.json()["version"], pairs(first)) == ("1", [])
    second = closure(alice_client, "color")
    assert second.json()["version"] == "2"
    assert pairs(second) == [("blue", "color"), ("crimson", "color")]
    third = closure(alice_client, "red", "crimson")
    assert pairs(third) == [("crimson", "red"), ("red", "color")]
    assert pairs(closure(alice_client, version="2")) == pairs(third)
    assert len(pairs(closure(alice_client, version="0"))) == 4
    assert closure(alice_client).json()["version"] == "0"
    assert pairs(closure(alice_client, version="0")) == []


def test_a_closure_table_is_of_its_project_and_needs_the_scope(
    alice_client: APIClient, charlie_client: APIClient, client_for: Any
) -> None:
    post(alice_client, "CodeSystem", color_system())
    closure(alice_client)
    assert closure(charlie_client, version="0").status_code == 404
    assert closure(alice_client, "red", name="other").status_code == 404
    assert closure(alice_client, "mauve").status_code == 404
    assert closure(client_for(scopes=("ConceptMap:read",))).status_code == 403
    assert closure(alice_client, version="0").json()["version"] == "0"
