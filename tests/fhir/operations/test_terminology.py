"""$lookup, $subsumes, $expand and $validate-code over HTTP."""

import json
from typing import Any

import pytest
from rest_framework.test import APIClient

from tests.fhir.terminology.conftest import COLORS, color_system, rule, value_set

pytestmark = pytest.mark.django_db
FHIR = "application/fhir+json"
REDS = "http://example.org/reds"


def post(client: APIClient, address: str, body: object) -> Any:
    return client.post(f"/v1/fhir/{address}", json.dumps(body), content_type=FHIR)


@pytest.fixture(autouse=True)
def stored(alice_client: APIClient) -> dict[str, str]:
    """Colors and a value set of them, stored; their ids."""
    include = {"system": COLORS, "filter": [rule("concept", "is-a", "red")]}
    system = post(alice_client, "CodeSystem", color_system())
    reds = post(alice_client, "ValueSet", value_set("reds", include))
    assert (system.status_code, reds.status_code) == (201, 201), system.content + reds.content
    return {"CodeSystem": system.json()["id"], "ValueSet": reds.json()["id"]}


def given(answer: Any) -> dict[str, Any]:
    """Return the simple parameters of an answer by name."""
    assert answer.status_code == 200, answer.content
    return {
        entry["name"]: next(value for name, value in entry.items() if name != "name")
        for entry in answer.json()["parameter"]
        if "part" not in entry
    }


def codes(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [entry["code"] for entry in answer.json()["expansion"].get("contains", ())]


def test_lookup_tells_names_properties_and_neighbors(alice_client: APIClient) -> None:
    answer = alice_client.get(f"/v1/fhir/CodeSystem/$lookup?system={COLORS}&code=red")
    assert given(answer) == {"name": "Colors", "version": "1.0", "display": "Red"}
    parts = [
        {part["name"]: part.get("valueCode", part.get("valueString")) for part in entry["part"]}
        for entry in answer.json()["parameter"]
        if entry["name"] == "property" and "valueBoolean" not in entry["part"][1]
    ]
    assert {"code": "definition", "value": "As blood."} in parts
    assert {"code": "warmth", "value": "warm"} in parts
    assert {"code": "parent", "value": "color"} in parts
    assert {"code": "child", "value": "crimson"} in parts


def test_lookup_of_one_property_in_a_language(alice_client: APIClient) -> None:
    address = f"/v1/fhir/CodeSystem/$lookup?system={COLORS}&code=red"
    answer = alice_client.get(f"{address}&property=warmth&displayLanguage=de-CH")
    assert given(answer)["display"] == "Rot"
    assert [e["name"] for e in answer.json()["parameter"]] == [
        "name",
        "version",
        "display",
        "property",
    ]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        (f"system={COLORS}&code=mauve", 404),
        ("system=urn:nowhere&code=red", 404),
        ("code=red", 400),
        (f"system={COLORS}", 400),
        (f"system={COLORS}&version=9&code=red", 404),
    ],
)
def test_lookup_refuses_what_it_does_not_know(
    alice_client: APIClient, query: str, status: int
) -> None:
    answer = alice_client.get(f"/v1/fhir/CodeSystem/$lookup?{query}")
    assert answer.status_code == status
    assert answer.json()["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        ("red", "red", "equivalent"),
        ("color", "crimson", "subsumes"),
        ("crimson", "color", "subsumed-by"),
        ("red", "blue", "not-subsumed"),
    ],
)
def test_subsumes(
    alice_client: APIClient, stored: dict[str, str], first: str, second: str, outcome: str
) -> None:
    query = f"$subsumes?codeA={first}&codeB={second}"
    of_type = alice_client.get(f"/v1/fhir/CodeSystem/{query}&system={COLORS}")
    of_one = alice_client.get(f"/v1/fhir/CodeSystem/{stored['CodeSystem']}/{query}")
    assert given(of_type) == given(of_one) == {"outcome": outcome}


def test_expand_by_url_by_id_and_as_it_is_sent(
    alice_client: APIClient, stored: dict[str, str]
) -> None:
    by_url = alice_client.get(f"/v1/fhir/ValueSet/$expand?url={REDS}")
    by_id = alice_client.get(f"/v1/fhir/ValueSet/{stored['ValueSet']}/$expand")
    sent = value_set("sent", {"valueSet": [REDS]}, exclude=[{"valueSet": [REDS]}])
    assert codes(by_url) == codes(by_id) == ["red", "crimson", "old-rose"]
    assert codes(post(alice_client, "ValueSet/$expand", sent)) == []
    expansion = by_url.json()["expansion"]
    assert expansion["total"] == 3
    assert {"name": "version", "valueUri": f"{COLORS}|1.0"} in expansion["parameter"]
    assert expansion["contains"][2]["inactive"] is True


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("filter=ros", ["old-rose"]),
        ("filter=RED+crim", ["crimson"]),
        ("activeOnly=true", ["red", "crimson"]),
        ("count=1&offset=1", ["crimson"]),
        ("count=0", []),
        (f"exclude-system={COLORS}", []),
    ],
)
def test_expand_is_narrowed_and_paged(
    alice_client: APIClient, query: str, expected: list[str]
) -> None:
    answer = alice_client.get(f"/v1/fhir/ValueSet/$expand?url={REDS}&{query}")
    assert codes(answer) == expected
    if "count" in query:
        assert answer.json()["expansion"]["total"] == 3


def test_expand_with_designations_nested_and_in_a_language(alice_client: APIClient) -> None:
    query = "includeDesignations=true&excludeNested=false&displayLanguage=de"
    answer = alice_client.get(f"/v1/fhir/ValueSet/$expand?url={REDS}&{query}")
    [top] = answer.json()["expansion"]["contains"]
    assert (top["code"], top["display"]) == ("red", "Rot")
    assert top["designation"] == [{"language": "de", "value": "Rot"}]
    assert [entry["code"] for entry in top["contains"]] == ["crimson", "old-rose"]


def test_a_page_of_a_large_core_system(alice_client: APIClient) -> None:
    url = "http://terminology.hl7.org/ValueSet/v3-ActCode"
    answer = alice_client.get(f"/v1/fhir/ValueSet/$expand?url={url}&filter=visa&count=5")
    assert "V" in codes(answer)


@pytest.mark.parametrize(
    ("query", "status"),
    [("url=urn:none", 404), ("", 400), (f"url={REDS}&count=-1", 400), (f"url={REDS}&x=1", 400)],
)
def test_expand_refuses_with_the_reason(alice_client: APIClient, query: str, status: int) -> None:
    answer = alice_client.get(f"/v1/fhir/ValueSet/$expand?{query}")
    assert answer.status_code == status
    assert answer.json()["issue"][0]["diagnostics"]


@pytest.mark.parametrize(
    ("query", "result"),
    [
        (f"system={COLORS}&code=red", True),
        (f"system={COLORS}&code=red&display=red", True),
        (f"system={COLORS}&code=red&display=Rot", True),
        (f"system={COLORS}&code=red&display=Green", False),
        (f"system={COLORS}&code=blue", False),
        ("code=crimson&inferSystem=true", True),
        ("system=urn:x&code=crimson", False),
    ],
)
def test_validate_code_of_a_value_set(alice_client: APIClient, query: str, result: bool) -> None:
    answer = alice_client.get(f"/v1/fhir/ValueSet/$validate-code?url={REDS}&{query}")
    found = given(answer)
    assert found["result"] is result
    assert ("message" in found) is not result


def test_validate_code_of_a_concept_with_several_codings(alice_client: APIClient) -> None:
    codings = [{"system": COLORS, "code": "blue"}, {"system": COLORS, "code": "crimson"}]
    body = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "url", "valueUri": REDS},
            {"name": "codeableConcept", "valueCodeableConcept": {"coding": codings}},
        ],
    }
    found = given(post(alice_client, "ValueSet/$validate-code", body))
    assert (found["result"], found["code"], found["display"]) == (True, "crimson", "Crimson red")


def test_validate_code_of_a_code_system(alice_client: APIClient, stored: dict[str, str]) -> None:
    right = alice_client.get(f"/v1/fhir/CodeSystem/$validate-code?url={COLORS}&code=blue")
    wrong = alice_client.get(
        f"/v1/fhir/CodeSystem/{stored['CodeSystem']}/$validate-code?code=mauve"
    )
    assert given(right)["result"] is True
    assert given(wrong)["message"] == f"The code `mauve` is not in `{COLORS}`."


def test_charlie_knows_nothing_of_the_terminology_of_alice(
    charlie_client: APIClient, stored: dict[str, str]
) -> None:
    for address in (
        f"CodeSystem/$lookup?system={COLORS}&code=red",
        f"ValueSet/$expand?url={REDS}",
        f"ValueSet/{stored['ValueSet']}/$expand",
        f"ValueSet/$validate-code?url={REDS}&system={COLORS}&code=red",
        f"CodeSystem/{stored['CodeSystem']}/$subsumes?codeA=red&codeB=red",
    ):
        assert charlie_client.get(f"/v1/fhir/{address}").status_code == 404, address
