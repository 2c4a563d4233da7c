"""What the terminology operations answer beyond yes and no, as HL7's own tests of servers ask it.

https://github.com/HL7/fhir-tx-ecosystem-ig: supplements, fragments, unknown systems, languages.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from rest_framework.test import APIClient

from fhir.terminology.canonical import require_system
from fhir.terminology.concepts import Concept, Designation
from fhir.terminology.errors import NotComputable
from fhir.terminology.filters import Filter
from fhir.terminology.importing import load, read_release
from fhir.terminology.regex import compile_safe, matches
from fhir.terminology.system import Selection
from healthcloud.actors import Actor
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.fhir.operations.conftest import get, put
from tests.fhir.terminology.conftest import COLORS, color_system, value_set

NEEDED = "http://hl7.org/fhir/StructureDefinition/valueset-supplement"
DUTCH = "http://example.org/colors-nl"
pytestmark = pytest.mark.django_db


@pytest.fixture
def colored(alice_client: APIClient) -> APIClient:
    """Alice's client, with colors, their Dutch names and a value set of all."""
    put(alice_client, {**color_system(), "id": "colors"})
    put(
        alice_client,
        {
            "resourceType": "CodeSystem",
            "id": "colors-nl",
            "url": DUTCH,
            "status": "active",
            "content": "supplement",
            "supplements": COLORS,
            "concept": [
                {
                    "code": "red",
                    "designation": [{"language": "nl", "value": "Rood"}],
                    "property": [{"code": "warmth", "valueString": "heet"}],
                }
            ],
        },
    )
    put(alice_client, {**value_set("all", {"system": COLORS}), "id": "all"})
    return alice_client


def answers(parameters: dict[str, Any]) -> dict[str, Any]:
    return {
        entry["name"]: next(value for name, value in entry.items() if name.startswith("value"))
        for entry in parameters["parameter"]
        if any(name.startswith("value") for name in entry)
    }


def validated(client: APIClient, query: str) -> dict[str, Any]:
    return answers(get(client, f"ValueSet/$validate-code?{query}"))


def displays(client: APIClient, query: str) -> dict[str, str]:
    expansion = get(client, f"ValueSet/$expand?url=http://example.org/all&{query}")["expansion"]
    return {entry["code"]: entry.get("display", "") for entry in expansion["contains"]}


def test_a_supplement_counts_where_the_call_names_it(colored: APIClient) -> None:
    query = "displayLanguage=nl"
    assert displays(colored, query)["red"] == "Red"
    assert displays(colored, f"{query}&useSupplement={DUTCH}")["red"] == "Rood"
    found = get(colored, f"CodeSystem/$lookup?system={COLORS}&code=red&useSupplement={DUTCH}")
    assert "Rood" in json.dumps(found)
    assert "heet" in json.dumps(found)
    named = f"url=http://example.org/all&system={COLORS}&code=red&display=Rood"
    assert validated(colored, named)["result"] is False
    assert validated(colored, f"{named}&useSupplement={DUTCH}")["result"] is True


def test_a_value_set_that_needs_a_supplement_brings_it_or_is_refused(colored: APIClient) -> None:
    for name, canonical in (("dutch", DUTCH), ("lost", "http://example.org/nowhere")):
        needs = [{"url": NEEDED, "valueCanonical": canonical}]
        put(colored, {**value_set(name, {"system": COLORS}), "extension": needs, "id": name})
    query = f"system={COLORS}&code=red&display=Rood"
    assert validated(colored, f"url=http://example.org/dutch&{query}")["result"] is True
    for operation in ("$expand", f"$validate-code?{query}"):
        mark = "&" if "?" in operation else "?"
        get(colored, f"ValueSet/{operation}{mark}url=http://example.org/lost", 404)
    get(colored, f"CodeSystem/$lookup?system={COLORS}&code=red&useSupplement={COLORS}", 422)


def test_what_was_asked_for_is_in_the_answer_also_where_it_is_wrong(colored: APIClient) -> None:
    wrong = validated(colored, f"url=http://example.org/all&system={COLORS}&code=rot")
    assert (wrong["result"], wrong["code"], wrong["system"]) == (False, "rot", COLORS)
    put(colored, {**value_set("one", {"system": COLORS, "concept": [{"code": "blue"}]}), "id": "1"})
    other = validated(colored, f"url=http://example.org/one&system={COLORS}&code=red")
    assert (other["result"], other["display"], other["version"]) == (False, "Red", "1.0")


def test_a_code_of_an_unknown_system_is_not_right_and_the_answer_says_why(
    colored: APIClient,
) -> None:
    put(colored, {**value_set("lost", {"system": "http://example.org/lost"}), "id": "lost"})
    found = validated(colored, "url=http://example.org/lost&system=http://example.org/lost&code=a")
    assert found["result"] is False
    assert "`http://example.org/lost` is not known here" in found["message"]
    system = get(colored, "CodeSystem/$validate-code?url=http://example.org/lost&code=a")
    assert answers(system)["result"] is False


def test_a_code_that_a_fragment_lacks_may_be_right(colored: APIClient) -> None:
    part = {**color_system(content="fragment"), "url": "http://example.org/part", "id": "part"}
    put(colored, part)
    put(colored, {**value_set("part-all", {"system": part["url"]}), "id": "part-all"})
    found = validated(colored, f"url=http://example.org/part-all&system={part['url']}&code=teal")
    assert found["result"] is True
    assert "teal" in found["message"]


def test_inactive_codes_are_wrong_where_only_active_ones_are_wanted(colored: APIClient) -> None:
    query = f"url=http://example.org/all&system={COLORS}&code=old-rose"
    assert validated(colored, query)["result"] is True
    assert validated(colored, f"{query}&activeOnly=true")["result"] is False


def test_a_listed_code_that_its_system_lacks_is_no_member(colored: APIClient) -> None:
    listed = {"system": COLORS, "concept": [{"code": "red"}, {"code": "teal"}]}
    put(colored, {**value_set("listed", listed), "id": "listed"})
    expansion = get(colored, "ValueSet/$expand?url=http://example.org/listed")["expansion"]
    assert [entry["code"] for entry in expansion["contains"]] == ["red"]
    query = f"url=http://example.org/listed&system={COLORS}&code="
    assert validated(colored, f"{query}red")["result"] is True
    assert validated(colored, f"{query}teal")["result"] is False


def test_contained_value_sets_are_imported_by_their_id(colored: APIClient) -> None:
    inner = {**value_set("inner", {"system": COLORS, "concept": [{"code": "red"}]}), "id": "in"}
    outer = value_set("outer", {"valueSet": ["#in"]})
    put(colored, {**outer, "contained": [inner], "id": "outer"})
    expansion = get(colored, "ValueSet/$expand?url=http://example.org/outer")["expansion"]
    assert [entry["code"] for entry in expansion["contains"]] == ["red"]


@pytest.mark.parametrize(
    ("language", "name"),
    [
        ("", "Red"),
        ("de", "Rot"),
        ("de-AT", "Rot"),
        ("fr", "Rouge"),
        ("fr-CA", "Red"),
        ("en", "Red"),
        ("it", "Red"),
        ("it,de", "Rot"),
        ("de;q=0.5, fr", "Rouge"),
        ("it,*;q=0", ""),
        ("de,*;q=0", "Rot"),
    ],
)
def test_names_are_chosen_as_accept_language_says(language: str, name: str) -> None:
    names = (Designation("Rot", "de"), Designation("Rouge", "fr-FR"), Designation("Ruby", "en"))
    found = Concept("red", "Red", designations=names, language="en").name_in(language)
    assert found == name


@pytest.mark.parametrize(
    ("wanted", "found"), [("", "1.10.0"), ("1.x", "1.10.0"), ("1.2.x", "1.2.0"), ("1.2.0", "1.2.0")]
)
def test_a_version_may_have_wild_numbers(
    alice_client: APIClient, riverside_scope: Scope, wanted: str, found: str
) -> None:
    for version in ("1.2.0", "1.10.0"):
        put(alice_client, {**color_system(version=version), "id": f"c{version}"})
    with tenant_scope(riverside_scope):
        assert require_system(COLORS, wanted).version == found


def test_a_part_of_a_version_is_no_version(versioned: APIClient) -> None:
    part = {**value_set("part", {"system": COLORS, "version": "1"}), "id": "part"}
    put(versioned, part)
    found = validated(versioned, f"url=http://example.org/part&code=red&system={COLORS}")
    assert found["result"] is False
    assert f"{COLORS}|1" in found["message"]


def test_standard_properties_are_known_by_their_uri(alice_client: APIClient) -> None:
    abstract = "http://hl7.org/fhir/concept-properties#notSelectable"
    renamed = {
        **color_system(property=[{"code": "group", "uri": abstract, "type": "boolean"}]),
        "id": "colors",
        "concept": [{"code": "any", "property": [{"code": "group", "valueBoolean": True}]}],
    }
    put(alice_client, renamed)
    put(alice_client, {**value_set("all", {"system": COLORS}), "id": "all"})
    [entry] = get(alice_client, "ValueSet/$expand?url=http://example.org/all")["expansion"][
        "contains"
    ]
    assert entry["abstract"] is True


def test_a_text_too_long_for_its_expression_is_refused_instead_of_tried() -> None:
    assert matches(compile_safe("a*b*c*"), "aabbc")
    with pytest.raises(NotComputable, match="fewer open repeats"):
        matches(compile_safe("a*a*a*"), "a" * 61)


@pytest.mark.parametrize("pattern", ["(?P<x>a)", "a{300}", "(?i:a)b"])
def test_what_the_database_has_no_expression_for_is_refused(
    riverside_scope: Scope, alice_actor: Actor, now: datetime, tmp_path: Path, pattern: str
) -> None:
    path = tmp_path / "colors.json"
    path.write_text(json.dumps(color_system()))
    release = read_release("codesystem", path, "")
    load(scope=riverside_scope, release=release, source="x", actor=alice_actor, now=now)
    wanted = Selection(filters=(Filter("code", "regex", pattern),))
    with pytest.raises(NotComputable, match="regex filter"), tenant_scope(riverside_scope):
        require_system(COLORS).count(wanted)


@pytest.fixture
def versioned(alice_client: APIClient) -> APIClient:
    """Alice's client, with two versions of the colors and value sets of all, any 1.x and 1.2."""
    for version, name in (("1.0.0", "Red (1.0)"), ("1.2.0", "Red (1.2)")):
        concepts = [{"code": "red", "display": name}]
        system = color_system(version=version, concept=concepts)
        put(alice_client, {**system, "id": f"colors-{version}"})
    for name, more in (("all", {}), ("wild", {"version": "1.x.x"}), ("new", {"version": "1.2.0"})):
        put(alice_client, {**value_set(name, {"system": COLORS, **more}), "id": name})
    return alice_client


@pytest.mark.parametrize(
    ("query", "result", "version"),
    [
        ("url=http://example.org/all", True, "1.2.0"),
        (f"url=http://example.org/all&check-system-version={COLORS}|1.0.x", True, "1.0.0"),
        (f"url=http://example.org/new&check-system-version={COLORS}|1.0.x", False, "1.2.0"),
        (f"url=http://example.org/new&check-system-version={COLORS}|1.x", True, "1.2.0"),
        ("url=http://example.org/wild", True, "1.2.0"),
        ("url=http://example.org/wild&systemVersion=1.0.0", True, "1.0.0"),
        ("url=http://example.org/new&systemVersion=1.0.0", False, "1.2.0"),
    ],
)
def test_a_code_is_validated_in_the_version_that_all_agree_on(
    versioned: APIClient, query: str, result: bool, version: str
) -> None:
    found = validated(versioned, f"{query}&code=red&system={COLORS}")
    assert (found["result"], found["version"]) == (result, version)
    assert found["display"] == f"Red ({version[:3]})"
    assert ("message" in found) == (not result)


def test_an_expansion_keeps_to_the_version_that_is_checked(versioned: APIClient) -> None:
    checked = f"check-system-version={COLORS}|1.0.x"
    assert displays(versioned, checked) == {"red": "Red (1.0)"}
    get(versioned, f"ValueSet/$expand?url=http://example.org/new&{checked}", 422)


def test_codes_that_a_value_set_lists_stay_in_its_order(colored: APIClient) -> None:
    listed = [{"code": "crimson"}, {"code": "red"}, {"code": "blue"}]
    put(colored, {**value_set("listed", {"system": COLORS, "concept": listed}), "id": "listed"})
    query = "url=http://example.org/listed&excludeNested=false"
    expansion = get(colored, f"ValueSet/$expand?{query}")["expansion"]
    assert [entry["code"] for entry in expansion["contains"]] == ["crimson", "red", "blue"]
    assert not any("contains" in entry for entry in expansion["contains"])


def test_lookup_names_the_code_system(alice_client: APIClient) -> None:
    put(alice_client, {**color_system(title="All the colors"), "id": "colors"})
    found = answers(get(alice_client, f"CodeSystem/$lookup?system={COLORS}&code=red"))
    assert found["name"] == "Colors"
