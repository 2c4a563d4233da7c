"""Value sets by composition: lists, filters, imports, exclusions, versions, limits."""

from typing import Any

import pytest

from fhir import terminology
from fhir.definitions import core_resource, core_urls
from fhir.terminology import value_sets as module
from fhir.terminology.errors import NotComputable, TooCostly, UnknownCanonical
from fhir.terminology.value_sets import Composition
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.fhir.terminology.conftest import COLORS, Keep, color_system, rule, value_set

pytestmark = pytest.mark.django_db
ALL = {"color", "red", "crimson", "old-rose", "blue"}


def codes(resource: dict[str, Any]) -> list[str]:
    return [code for _, code in Composition().members(resource)]


def of_colors(*rules: dict[str, str]) -> dict[str, Any]:
    return value_set("set", {"system": COLORS, "filter": list(rules)})


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (rule("concept", "is-a", "red"), {"red", "crimson", "old-rose"}),
        (rule("concept", "descendent-of", "red"), {"crimson", "old-rose"}),
        (rule("concept", "is-not-a", "red"), {"color", "blue"}),
        (rule("concept", "generalizes", "crimson"), {"crimson", "red", "color"}),
        (rule("concept", "child-of", "color"), {"red", "blue"}),
        (rule("concept", "descendent-leaf", "color"), {"crimson", "old-rose", "blue"}),
        (rule("concept", "=", "blue"), {"blue"}),
        (rule("concept", "in", "blue, red"), {"blue", "red"}),
        (rule("concept", "not-in", "blue,red"), ALL - {"blue", "red"}),
        (rule("concept", "regex", "c.*"), {"color", "crimson"}),
        (rule("code", "regex", "[a-c]lue"), {"blue"}),
        (rule("display", "=", "Old rose"), {"old-rose"}),
        (rule("warmth", "=", "warm"), {"red"}),
        (rule("warmth", "exists", "true"), {"red", "blue"}),
        (rule("warmth", "exists", "false"), {"color", "crimson", "old-rose"}),
        (rule("warmth", "not-in", "warm"), ALL - {"red"}),
        (rule("parent", "=", "red"), {"crimson", "old-rose"}),
        (rule("child", "=", "crimson"), {"red"}),
        (rule("inactive", "=", "true"), {"old-rose"}),
        (rule("notSelectable", "=", "false"), set()),
    ],
)
def test_each_filter_operator_selects_what_r4_says(
    colors: dict[str, Any], condition: dict[str, str], expected: set[str]
) -> None:
    assert set(codes(of_colors(condition))) == expected


def test_filters_of_one_include_all_hold_and_includes_add_up(colors: dict[str, Any]) -> None:
    both = of_colors(rule("concept", "is-a", "red"), rule("inactive", "=", "true"))
    assert codes(both) == ["old-rose"]
    either = value_set(
        "set",
        {"system": COLORS, "filter": [rule("concept", "=", "blue")]},
        {"system": COLORS, "concept": [{"code": "red", "display": "Rouge"}, {"code": "blue"}]},
    )
    assert codes(either) == ["blue", "red"]
    assert Composition().members(either)[(COLORS, "red")].concept.display == "Rouge"


def test_excluded_and_inactive_codes_are_left_out(colors: dict[str, Any]) -> None:
    narrowed = value_set(
        "set",
        {"system": COLORS},
        exclude=[{"system": COLORS, "concept": [{"code": "blue"}]}],
        inactive=False,
    )
    assert codes(narrowed) == ["color", "red", "crimson"]
    assert not terminology.is_member(narrowed, COLORS, "old-rose")
    assert not terminology.is_member(narrowed, COLORS, "blue")
    assert terminology.is_member(narrowed, COLORS, "crimson")


def test_imported_value_sets_intersect_within_one_include(keep: Keep) -> None:
    keep(color_system())
    keep(of_colors(rule("concept", "is-a", "red")) | {"url": "http://example.org/reds"})
    crossed = value_set(
        "crossed",
        {
            "system": COLORS,
            "filter": [rule("concept", "generalizes", "crimson")],
            "valueSet": ["http://example.org/reds"],
        },
    )
    assert codes(crossed) == ["red", "crimson"]
    assert terminology.is_member(crossed, COLORS, "crimson")
    assert not terminology.is_member(crossed, COLORS, "color")
    assert terminology.codes_in("http://example.org/reds") == {
        (COLORS, code) for code in ("red", "crimson", "old-rose")
    }


def test_a_value_set_that_imports_itself_is_refused(keep: Keep) -> None:
    looped = keep(value_set("loop", {"valueSet": ["http://example.org/loop"]}))
    with pytest.raises(NotComputable, match="imports itself"):
        codes(looped)


@pytest.mark.parametrize(
    "pattern", ["(a+)+", "(a|b)*c*d*e*f*", "(?=a)b", r"(a)\1", "(", "a" * 201, "(x{0,99}){0,99}"]
)
def test_a_regex_that_may_run_away_is_refused(colors: dict[str, Any], pattern: str) -> None:
    with pytest.raises(NotComputable):
        codes(of_colors(rule("code", "regex", pattern)))


@pytest.mark.parametrize(
    "condition",
    [
        rule("concept", "like", "red"),
        rule("warmth", "is-a", "red"),
        rule("warmth", "exists", "maybe"),
    ],
)
def test_a_filter_that_means_nothing_is_refused(
    colors: dict[str, Any], condition: dict[str, str]
) -> None:
    with pytest.raises(NotComputable):
        codes(of_colors(condition))


def test_the_version_asked_for_is_used_and_else_the_latest(keep: Keep) -> None:
    keep(color_system())
    keep(color_system(version="1.10", concept=[{"code": "mauve"}]))
    keep(color_system(version="1.9", concept=[{"code": "teal"}]))
    assert codes(value_set("set", {"system": COLORS})) == ["mauve"]
    assert codes(value_set("set", {"system": COLORS, "version": "1.9"})) == ["teal"]
    with pytest.raises(UnknownCanonical, match=r"colors\|2\.0"):
        codes(value_set("set", {"system": COLORS, "version": "2.0"}))


def test_too_many_codes_are_too_costly(
    colors: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CODES", 4)
    with pytest.raises(TooCostly):
        codes(value_set("set", {"system": COLORS}))
    assert len(codes(of_colors(rule("concept", "is-a", "red")))) == 3


def test_a_listed_code_needs_no_known_system(in_riverside: Scope) -> None:
    listed = value_set("set", {"system": "urn:x", "concept": [{"code": "1", "display": "One"}]})
    assert codes(listed) == ["1"]
    with pytest.raises(UnknownCanonical, match="import its release"):
        codes(value_set("set", {"system": "urn:x"}))


def test_a_value_set_without_definition_is_its_expansion(in_riverside: Scope) -> None:
    contains = [{"system": "urn:x", "code": "1", "contains": [{"system": "urn:x", "code": "2"}]}]
    given = {"resourceType": "ValueSet", "expansion": {"contains": contains}}
    assert codes(given) == ["1", "2"]


def test_above_and_below_walk_the_hierarchy(colors: dict[str, Any]) -> None:
    assert terminology.descendants(COLORS, "red") == {"red", "crimson", "old-rose"}
    assert terminology.ancestors(COLORS, "crimson") == {"crimson", "red", "color"}
    with pytest.raises(UnknownCanonical):
        terminology.descendants("urn:x", "red")


def test_the_code_systems_of_another_organization_are_unknown(
    colors: dict[str, Any], lakeside_scope: Scope, riverside_referrals_scope: Scope
) -> None:
    for scope in (lakeside_scope, riverside_referrals_scope):
        with tenant_scope(scope):
            assert terminology.find_system(COLORS) is None


def test_the_core_package_is_known_without_its_prose(in_riverside: Scope) -> None:
    genders = "http://hl7.org/fhir/ValueSet/administrative-gender"
    assert {code for _, code in terminology.codes_in(genders)} == {
        "male",
        "female",
        "other",
        "unknown",
    }
    core = core_resource("CodeSystem", "http://hl7.org/fhir/administrative-gender")
    assert core is not None
    assert core["concept"][0] == {"code": "male", "display": "Male"}
    urls = {kind: len(core_urls(kind)) for kind in ("CodeSystem", "ValueSet", "ConceptMap")}
    assert urls == {"CodeSystem": 1062, "ValueSet": 1316, "ConceptMap": 80}


def test_nearly_every_value_set_of_the_core_package_expands(in_riverside: Scope) -> None:
    """What does not expand needs a code system that the package does not bring."""
    unknown: dict[str, str] = {}
    for url in core_urls("ValueSet"):
        try:
            terminology.codes_in(url)
        except UnknownCanonical as error:
            unknown[url] = error.url
    assert {"http://snomed.info/sct", "http://loinc.org"} < set(unknown.values())
    assert len(unknown) == 96
