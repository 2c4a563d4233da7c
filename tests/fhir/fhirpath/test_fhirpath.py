"""The FHIRPath engine: what the official tests do not ask."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir.fhirpath import (
    Budget,
    EvaluationFailed,
    FhirPathError,
    OverBudget,
    Scope,
    SyntaxRefused,
    Unsupported,
    compile_path,
    node_of,
    to_json,
)

NOW = datetime(2026, 11, 25, 18, 30, tzinfo=UTC)
OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "status": "final",
    "subject": {"reference": "#p"},
    "contained": [{"resourceType": "Patient", "id": "p", "active": True}],
    "code": {"coding": [{"system": "http://loinc.org", "code": "8310-5"}]},
    "effectiveDateTime": "2026-11-25T10:00:00Z",
    "valueQuantity": {
        "value": 0.4,
        "unit": "g",
        "system": "http://unitsofmeasure.org",
        "code": "g",
    },
    "component": [
        {"code": {"text": "a"}, "valueString": "x"},
        {"code": {"text": "b"}, "valueInteger": 7},
    ],
    "_issued": {"extension": [{"url": "urn:why", "valueCode": "unknown"}]},
}


def run(expression: str, resource: dict[str, Any] = OBSERVATION, **more: Any) -> Any:
    focus = [node_of(resource)]
    scope = Scope({"resource": focus}, now=NOW, **more)
    return [to_json(item) for item in compile_path(expression).evaluate(focus, scope)]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("value.exists() and value is Quantity", [True]),
        ("value.value", [0.4]),
        ("value < 1 'kg'", [True]),
        ("value = 400 'mg'", [True]),
        ("valueQuantity.code", ["g"]),
        ("component.value", ["x", 7]),
        ("component.where(value is integer).code.text", ["b"]),
        ("component.value.ofType(string)", ["x"]),
        ("subject.resolve().active", [True]),
        ("subject.resolve() is Patient", [True]),
        ("issued.exists()", [True]),
        ("issued.hasValue()", [False]),
        ("issued.extension('urn:why').value", ["unknown"]),
        ("effective.toString().length() >= 8", [True]),
        ("effective > @2026-11-24", [True]),
        ("effective = '2026-11-25T10:00:00Z'", [True]),
        ("today() - 1 year", ["2025-11-25"]),
        ("now().toString()", ["2026-11-25T18:30:00.000Z"]),
        ("code.coding.where(system = %loinc).code.matches('^[0-9]+-[0-9]$')", [True]),
        ("status.memberOf('x')", EvaluationFailed),
        ("component.single()", EvaluationFailed),
        ("%nothing", EvaluationFailed),
        ("Observation.status", ["final"]),
        ("DomainResource.status", ["final"]),
        ("Patient.status", []),
        ("repeat(component).count()", [2]),
        ("descendants().count() > 20", [True]),
        ("iif(status = 'final', 1, 2)", [1]),
        ("component.aggregate($total + iif(value is integer, value, 0), 0)", [7]),
        ("'abc'.replaceMatches('(b)', '[$1]')", ["a[b]c"]),
        ("1 year = 12 months", [True]),
        ("{}.not()", []),
        ("status.type().name", ["code"]),
    ],
)
def test_an_expression_has_its_value(expression: str, expected: Any) -> None:
    if isinstance(expected, list):
        assert run(expression) == expected
    else:
        with pytest.raises(expected):
            run(expression)


@pytest.mark.parametrize(
    "expression",
    ["", "1 +", "a b", "a..b", "(", "a[", "'x", "/* x", "@2020-13", "@2021-02-30", "$that", "a,b"],
)
def test_what_is_no_fhirpath_is_refused_with_its_place(expression: str) -> None:
    with pytest.raises(SyntaxRefused) as caught:
        compile_path(expression)
    assert 1 <= caught.value.column <= len(expression) + 1


@pytest.mark.parametrize("expression", ["nothing()", "elementDefinition().exists()"])
def test_what_is_not_there_is_named(expression: str) -> None:
    with pytest.raises(Unsupported, match=expression.partition("(")[0]):
        compile_path(expression)


def test_the_number_of_arguments_is_checked() -> None:
    with pytest.raises(EvaluationFailed, match="does not take 0 arguments"):
        compile_path("a.take()")


@pytest.mark.parametrize(
    "expression",
    [
        "(1).repeat($this + 1)",
        "('a').repeat($this & $this)",
        "'a'.replaceMatches('a', '" + "b" * 500 + "')" * 3 + ".length()" + ".power(99999999)",
        "10.power(10.power(9))",
        "(" * 70 + "1" + ")" * 70,
        "1 + " * 9_000 + "1",
        "descendants().select(%resource.descendants()).count()" * 1,
    ],
)
def test_an_evaluation_ends_with_its_budget(expression: str) -> None:
    began = time.process_time()
    with pytest.raises((OverBudget, SyntaxRefused)):
        run(expression, budget=Budget(2_000, 0.5))
    assert time.process_time() - began < 2


def test_patterns_take_linear_time() -> None:
    began = time.process_time()
    assert run(f"'{'a' * 5000}!'.matches('^(a+)+$')") == [False]
    assert time.process_time() - began < 1
    with pytest.raises(EvaluationFailed, match="too long"):
        run(f"'{'a' * 5000}!'.replaceMatches('^(a+)+$', '')")
    with pytest.raises(EvaluationFailed, match="look-around"):
        run("'a'.matches('(?=a)')")


def test_strictly_an_unknown_name_is_an_error() -> None:
    assert run("stati.exists()") == [False]
    with pytest.raises(EvaluationFailed, match="`stati`"):
        run("stati.exists()", names="known")


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["value", "component", ".", "[0]", "(", ")", "where", "'a'", "=", "first()", "|", "is",
             "as", "String", "extension('x')", "exists()", "not()", "1", "and", "$this", "~", "+",
             "%resource", "ofType(string)", " ", "<", "@2020", "{}", "count()", "-", "&", "1 day",
             "toQuantity()", "lowBoundary()", "round(1)", "power(2)", "0.4", "*", "/", "in"]
        ),
        max_size=9,
    ).map("".join)
)  # fmt: skip
def test_any_text_has_a_value_or_a_typed_error(expression: str) -> None:
    try:
        run(expression)
    except (FhirPathError, OverBudget):
        return
