"""Profiles: slices by every discriminator, narrowed types, extensions and their places."""

from typing import Any

import pytest

from fhir.definitions import core_resource
from fhir.fhirpath import Budget
from fhir.validation import validate
from fhir.validation.profiles import Shape, compile_profile, extension_issues, profile_issues

BASE = "http://hl7.org/fhir/StructureDefinition/"
OWN = "http://example.org/fhir/StructureDefinition/"
LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
Resource = dict[str, Any]


class Shelf:
    """A library of the definitions at hand, and those of the core package."""

    def __init__(self, *definitions: Resource) -> None:
        self.own = {definition["url"]: definition for definition in definitions}
        self.budget = Budget()

    def definition(self, canonical: str) -> Resource | None:
        url = canonical.partition("|")[0]
        return self.own.get(url) or core_resource("StructureDefinition", url)

    def shape(self, canonical: str) -> Shape | None:
        found = self.definition(canonical)
        return None if found is None else compile_profile(found, self.definition)

    def is_member(self, value_set: str, system: str, code: str) -> bool | None:
        return code in {"a", "b"} if value_set == "http://x/ab" else None

    def systems(self, value_set: str) -> frozenset[str]:
        return frozenset({"http://x"})


def profile(name: str, of: str, *elements: Resource, **more: Any) -> Resource:
    return {
        "resourceType": "StructureDefinition",
        "id": name,
        "url": OWN + name,
        "type": of,
        "kind": "resource",
        "baseDefinition": BASE + of,
        "derivation": "constraint",
        "differential": {"element": [{"id": e["path"], **e} for e in elements]},
        **more,
    }


def sliced(path: str, kind: str, by: str, *slices: Resource, **more: Any) -> list[Resource]:
    """Answer the elements of a slicing: each slice is {name, min, max, below: {path: facts}}."""
    discriminator = [{"type": kind, "path": by}] if kind else []
    found = [{"path": path, "slicing": {"discriminator": discriminator, "rules": "open", **more}}]
    for one in slices:
        name = one.pop("name")
        below = one.pop("below", {})
        found.append({"id": f"{path}:{name}", "path": path, "sliceName": name, **one})
        found += [
            {"id": f"{path}:{name}.{step}", "path": f"{path}.{step}", **facts}
            for step, facts in below.items()
        ]
    return found


def wrong(resource: Resource, *definitions: Resource) -> list[str]:
    """Answer the places of the errors against the first of the definitions."""
    assert validate(resource) == []
    shelf = Shelf(*definitions)
    shape = shelf.shape(definitions[0]["url"])
    assert shape is not None
    found = profile_issues(resource, shape, definitions[0]["url"], shelf)
    return [issue.expression for issue in found if issue.severity == "error"]


def observation(**more: Any) -> Resource:
    return {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, **more}


def coded(*codes: str) -> Resource:
    return {"coding": [{"system": LOINC, "code": code} for code in codes]}


def parts(*codes: str, **more: Any) -> list[Resource]:
    return [{"code": coded(code), "valueString": "x", **more} for code in codes]


ONE_OF_EACH = {"min": 1, "max": "1"}


@pytest.mark.parametrize(
    ("kind", "by", "below"),
    [
        ("value", "code.coding.code", {"code.coding.code": {"fixedCode": "1"}}),
        ("value", "code", {"code": {"patternCodeableConcept": coded("1")}}),
        ("pattern", "code", {"code": {"patternCodeableConcept": coded("1")}}),
        ("pattern", "$this", {"code": {"patternCodeableConcept": coded("1")}}),
        (
            "value",
            "code.coding.code",
            {"code.coding": {"patternCoding": {"system": LOINC, "code": "1"}}},
        ),
    ],
)
def test_slices_by_value_and_pattern(kind: str, by: str, below: Resource) -> None:
    made = profile(
        "p",
        "Observation",
        *sliced("Observation.component", kind, by, {"name": "one", **ONE_OF_EACH, "below": below}),
    )
    assert wrong(observation(component=parts("1", "2")), made) == []
    assert wrong(observation(component=parts("2", "3")), made) == ["Observation.component"]
    assert wrong(observation(component=parts("1", "2", "1")), made) == ["Observation.component"]
    assert wrong(observation(), made) == ["Observation.component"]


def test_slices_by_type() -> None:
    made = profile(
        "p",
        "Observation",
        *sliced(
            "Observation.component.value[x]",
            "type",
            "$this",
            {
                "name": "valueQuantity",
                "type": [{"code": "Quantity"}],
                "below": {"code": {"min": 1}, "unit": {"min": 1}},
            },
        ),
    )
    quantity = {"code": coded("1"), "valueQuantity": {"value": 1, "unit": "g"}}
    place = "Observation.component[0].value"
    assert wrong(observation(component=parts("1")), made) == []
    assert wrong(observation(component=[quantity]), made) == [f"{place}.code"]


def test_slices_by_existence() -> None:
    made = profile(
        "p",
        "Patient",
        *sliced(
            "Patient.name",
            "exists",
            "period",
            {"name": "past", "max": "1", "below": {"period": {"min": 1}}},
            {"name": "now", "min": 1, "below": {"period": {"max": "0"}, "family": {"min": 1}}},
        ),
    )
    past, now = {"text": "x", "period": {"end": "2020"}}, {"family": "F"}
    assert wrong({"resourceType": "Patient", "name": [past, now]}, made) == []
    assert wrong({"resourceType": "Patient", "name": [past, past, now]}, made) == ["Patient.name"]
    assert wrong({"resourceType": "Patient", "name": [past]}, made) == ["Patient.name"]
    found = wrong({"resourceType": "Patient", "name": [now, {"text": "x"}]}, made)
    assert found == ["Patient.name[1].family"]


def test_slices_by_profile_of_what_is_referred_to() -> None:
    person = profile("person", "Patient", {"path": "Patient.active", "min": 1})
    made = profile(
        "p",
        "Observation",
        *sliced(
            "Observation.focus",
            "profile",
            "resolve()",
            {
                "name": "person",
                "max": "1",
                "type": [{"code": "Reference", "targetProfile": [OWN + "person"]}],
            },
        ),
    )
    inside = [
        {"resourceType": "Patient", "id": "a", "active": True},
        {"resourceType": "Patient", "id": "b"},
    ]
    both = [{"reference": "#a"}, {"reference": "#b"}]
    assert wrong(observation(contained=inside, focus=both), made, person) == []
    twice = [{"reference": "#a"}, {"reference": "#a"}, {"reference": "#b"}]
    found = wrong(observation(contained=inside, focus=twice), made, person)
    assert found == ["Observation.focus"]


def test_slices_by_type_of_what_is_referred_to() -> None:
    slices = [
        {
            "name": kind.lower(),
            "max": "1",
            "type": [{"code": "Reference", "targetProfile": [BASE + kind]}],
        }
        for kind in ("Patient", "Device")
    ]
    made = profile("p", "Observation", *sliced("Observation.focus", "type", "resolve()", *slices))
    focus = [{"reference": f"{kind}/1"} for kind in ("Patient", "Device", "Group")]
    assert wrong(observation(focus=focus), made) == []
    assert wrong(observation(focus=[*focus, focus[1]]), made) == ["Observation.focus"]


def test_closed_ordered_and_ended_slicings() -> None:
    def slices() -> list[Resource]:
        return [
            {"name": f"s{code}", "below": {"code": {"patternCodeableConcept": coded(code)}}}
            for code in ("1", "2")
        ]

    def made(**rules: Any) -> Resource:
        where = sliced("Observation.component", "pattern", "code", *slices(), **rules)
        return profile("p", "Observation", *where)

    first, second = "Observation.component[0]", "Observation.component[1]"
    assert wrong(observation(component=parts("3", "1")), made(rules="closed")) == [first]
    assert wrong(observation(component=parts("3", "1")), made(rules="openAtEnd")) == [second]
    assert wrong(observation(component=parts("1", "3")), made(rules="openAtEnd")) == []
    assert wrong(observation(component=parts("2", "1")), made(ordered=True)) == [second]
    assert wrong(observation(component=parts("1", "2")), made(ordered=True)) == []


def test_slices_of_slices() -> None:
    outer = sliced(
        "Observation.category.coding",
        "value",
        "system",
        {"name": "own", "min": 1, "below": {"system": {"fixedUri": "http://x"}}},
    )
    outer[1]["slicing"] = {"discriminator": [{"type": "value", "path": "code"}], "rules": "open"}
    inner = [
        {
            "id": f"Observation.category.coding:own/{code}",
            "path": "Observation.category.coding",
            "sliceName": f"own/{code}",
            "max": "1",
        }
        for code in ("a", "b")
    ]
    codes = [
        {
            "id": f"Observation.category.coding:own/{code}.code",
            "path": "Observation.category.coding.code",
            "fixedCode": code,
        }
        for code in ("a", "b")
    ]
    made = profile(
        "p", "Observation", *outer, inner[0], codes[0], inner[1], codes[1],
    )  # fmt: skip

    def category(*codes: str) -> list[Resource]:
        return [{"coding": [{"system": "http://x", "code": code} for code in codes]}]

    assert wrong(observation(category=category("a", "b", "c", "c")), made) == []
    place = "Observation.category[0].coding"
    assert wrong(observation(category=category("a", "a")), made) == [place]
    other = [{"coding": [{"system": "http://y", "code": "a"}]}]
    assert wrong(observation(category=other), made) == [place]


def test_types_targets_values_and_bindings_are_narrowed() -> None:
    made = profile(
        "p",
        "Observation",
        {"path": "Observation.value[x]", "type": [{"code": "Quantity"}, {"code": "string"}]},
        {"path": "Observation.valueString", "maxLength": 3},
        {
            "path": "Observation.subject",
            "min": 1,
            "type": [{"code": "Reference", "targetProfile": [BASE + "Patient"]}],
        },
        {"path": "Observation.status", "fixedCode": "final"},
        {
            "path": "Observation.method",
            "binding": {"strength": "required", "valueSet": "http://x/ab"},
        },
        {"path": "Observation.note", "max": "0"},
        {"path": "Observation.component.referenceRange.text", "min": 1},
    )
    good = observation(subject={"reference": "Patient/1"}, valueString="abc")
    assert wrong(good, made) == []
    assert wrong({**good, "valueString": "abcd"}, made) == ["Observation.value"]
    assert wrong(observation(subject=good["subject"], valueBoolean=True), made) == [
        "Observation.value"
    ]
    assert wrong({**good, "subject": {"reference": "Group/1"}}, made) == ["Observation.subject"]
    assert wrong({**good, "status": "amended"}, made) == ["Observation.status"]
    assert wrong({**good, "note": [{"text": "x"}]}, made) == ["Observation.note"]
    method = {"coding": [{"system": "http://x", "code": "c"}]}
    assert wrong({**good, "method": method}, made) == ["Observation.method"]
    assert wrong({**good, "method": {"coding": [{"system": "http://x", "code": "b"}]}}, made) == []
    part = [{"code": {"text": "x"}, "referenceRange": [{"low": {"value": 1}}]}]
    assert wrong({**good, "component": part}, made) == [
        "Observation.component[0].referenceRange[0].text"
    ]


@pytest.mark.parametrize(
    ("key", "bounds", "inside", "outside"),
    [
        ("valueInteger", {"minValueInteger": 1, "maxValueInteger": 9}, [1, 9], [0, 10]),
        (
            "valueDateTime",
            {"minValueDateTime": "2020", "maxValueDateTime": "2021-06"},
            ["2020", "2020-05-01", "2021-06-30"],
            ["2019-12-31", "2021-07-01"],
        ),
        (
            "valueQuantity",
            {"maxValueQuantity": {"value": 1, "system": UCUM, "code": "kg"}},
            [
                {"value": 1000, "system": UCUM, "code": "g"},
                {"value": 5, "system": UCUM, "code": "m"},
            ],
            [{"value": 1001, "system": UCUM, "code": "g"}],
        ),
    ],
)
def test_values_are_within_their_bounds(
    key: str, bounds: Resource, inside: list[Any], outside: list[Any]
) -> None:
    made = profile("p", "Observation", {"path": f"Observation.{key}", **bounds})
    for value in inside:
        assert wrong(observation(**{key: value}), made) == []
    for value in outside:
        assert wrong(observation(**{key: value}), made) == ["Observation.value"]


def test_no_code_is_beyond_the_maximum_value_set() -> None:
    widest = {"url": f"{BASE}elementdefinition-maxValueSet", "valueCanonical": "http://x/ab"}
    binding = {"strength": "extensible", "valueSet": "http://x/none", "extension": [widest]}
    made = profile("p", "Observation", {"path": "Observation.method", "binding": binding})
    for code, places in (("a", []), ("c", ["Observation.method"])):
        method = {"coding": [{"system": "http://x", "code": code}]}
        assert wrong(observation(method=method), made) == places


def test_an_invariant_without_an_expression_is_told() -> None:
    constraint = {"key": "p-1", "severity": "error", "human": "Be kind", "xpath": "true()"}
    made = profile("p", "Observation", {"path": "Observation", "constraint": [constraint]})
    shelf = Shelf(made)
    shape = shelf.shape(made["url"])
    assert shape is not None
    [issue] = profile_issues(observation(), shape, made["url"], shelf)
    assert (issue.severity, issue.code) == ("information", "not-supported")
    assert "p-1 was not evaluated: it has no FHIRPath expression (Be kind)" in issue.diagnostics


COLOR = profile(
    "color",
    "Extension",
    {"path": "Extension.url", "fixedUri": OWN + "color"},
    {"path": "Extension.value[x]", "min": 1, "type": [{"code": "code"}]},
    {
        "path": "Extension.valueCode",
        "binding": {"strength": "required", "valueSet": "http://x/ab"},
    },
    kind="complex-type",
    context=[
        {"type": "element", "expression": "HumanName.family"},
        {"type": "element", "expression": "Patient.contact"},
    ],
)
NOT_TRUE = profile(
    "not-true",
    "Extension",
    {"path": "Extension", "isModifier": True},
    {"path": "Extension.value[x]", "type": [{"code": "boolean"}]},
    kind="complex-type",
    context=[{"type": "element", "expression": "DomainResource"}],
)


def told(resource: Resource) -> list[tuple[str, str]]:
    found = extension_issues(resource, Shelf(COLOR, NOT_TRUE))
    return [(issue.severity, issue.expression) for issue in found]


def named(value: Resource) -> Resource:
    family = {"extension": [{"url": OWN + "color", **value}]}
    return {"resourceType": "Patient", "name": [{"family": "F", "_family": family}]}


def test_an_extension_is_held_to_its_definition_wherever_it_is() -> None:
    place = "Patient.name[0].family.extension[0]"
    assert told(named({"valueCode": "a"})) == []
    assert told(named({"valueString": "a"})) == [("error", f"{place}.value")]
    assert told(named({"valueCode": "c"})) == [("error", f"{place}.value")]
    inside = {"resourceType": "Bundle", "type": "collection"}
    bundle = {**inside, "entry": [{"resource": named({"valueString": "a"})}]}
    assert told(bundle) == [("error", f"Bundle.entry[0].resource{place[7:]}.value")]


def test_an_extension_in_another_place_is_an_error() -> None:
    color = {"url": OWN + "color", "valueCode": "a"}
    contact = [{"gender": "male", "extension": [color]}]
    assert told({"resourceType": "Patient", "contact": contact}) == []
    assert told({"resourceType": "Patient", "extension": [color]}) == [
        ("error", "Patient.extension[0]")
    ]


def test_hl7s_validator_finds_an_extension_misplaced_and_so_do_we(
    validator_cases: dict[str, Resource],
) -> None:
    found = extension_issues(validator_cases["maiden-name.json"], Shelf())
    errors = [issue for issue in found if issue.severity == "error"]
    assert [issue.expression for issue in errors] == ["Patient.name[0].extension[0]"]
    assert "is for HumanName.family" in errors[0].diagnostics


def test_modifiers_stand_where_modifiers_stand() -> None:
    no = {"url": OWN + "not-true", "valueBoolean": True}
    assert told({"resourceType": "Patient", "modifierExtension": [no]}) == []
    assert told({"resourceType": "Patient", "extension": [no]}) == [
        ("error", "Patient.extension[0]")
    ]
    unknown = {"url": "http://x/unknown", "valueBoolean": True}
    assert told({"resourceType": "Patient", "modifierExtension": [unknown]}) == [
        ("warning", "Patient.modifierExtension[0]")
    ]
    assert told({"resourceType": "Patient", "extension": [unknown, unknown]}) == [
        ("information", "Patient.extension[0]")
    ]


def test_the_official_examples_have_no_error_in_their_extensions_and_claims(
    official_examples: dict[str, Resource],
) -> None:
    shelf = Shelf()
    for name, resource in official_examples.items():
        shelf.budget = Budget()
        found = extension_issues(resource, shelf)
        for url in resource.get("meta", {}).get("profile", ()):
            shape = shelf.shape(url)
            if shape is not None:
                found += profile_issues(resource, shape, url, shelf)
        assert [i for i in found if i.severity == "error"] == [], name
        assert [i for i in found if "was not evaluated" in i.diagnostics] == [], name
