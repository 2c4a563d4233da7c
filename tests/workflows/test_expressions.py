"""Expressions and templates: by table, and by properties."""

import contextlib
import copy
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflows.expressions import (
    ExpressionError,
    Reference,
    parse_expression,
    parse_template,
    resolve,
)

ROOTS: dict[str, Any] = {
    "input": {"patient_id": "pat_1", "n": 3, "one": ["a"], "none": None, "text": "a" * 10},
    "steps": {
        "labs": {
            "output": {"resources": [{"code": {"text": "x"}}, {"code": {"text": "y"}}], "n": 1.5},
            "error": None,
            "status": "succeeded",
        }
    },
    "run": {"id": "run_1"},
    "trigger": {"kind": "api"},
    "env": {"environment": "sandbox"},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{ input.patient_id }}", "pat_1"),
        ("{{ input.n }}", 3),
        ("{{ input.one }}", ["a"]),
        ("{{ input.none }}", None),
        ("{{ input.missing.deeper }}", None),
        ("{{ steps.labs.output.n }}", 1.5),
        ("{{ steps.labs.output.resources[1].code.text }}", "y"),
        ("{{ steps.labs.output.resources[7] }}", None),
        ("{{ steps.labs.output.resources.code.text }}", ["x", "y"]),
        ("{{ steps.labs.output.resources.count() }}", 2),
        ("{{ steps.labs.output.resources.where(code.text = 'y').code.text }}", "y"),
        ("{{ steps.labs.output.resources.where(code.text = %input.missing).exists() }}", False),
        ("{{ coalesce(input.missing, 'none') }}", "none"),
        ("{{ iif(input.n > 2, 'many', 'few') }}", "many"),
        ("{{ %run.id }}", "run_1"),
        ("{{ '}}' }}", "}}"),
        ("Patient/{{ input.patient_id }}", "Patient/pat_1"),
        ("{{ input.n }}{{ input.one }}", "3a"),
        ("[{{ input.missing }}]", "[]"),
        ("{{ input.n > 2 }} it is", "true it is"),
        ("no expression }} here", "no expression }} here"),
        ("", ""),
    ],
)
def test_a_template_gives_its_value(template: str, value: object) -> None:
    assert resolve(template, ROOTS) == value


@pytest.mark.parametrize(
    ("template", "code"),
    [
        ("{{ 1 + }}", "syntax"),
        ("{{ foo bar }}", "syntax"),
        ("{{ input..x }}", "syntax"),
        ("{{", "syntax"),
        ("{{ }}", "syntax"),
        ("{{ " + "a" * 5000 + " }}", "too_long"),
        ("{{ " + "(" * 1000 + "1" + ")" * 1000 + " }}", "too_long"),
        ("{{ open('x') }}", "unknown_name"),
        ("{{ input.text.matches('(a+)+$') }}", None),
        ("{{ input.text.replaceMatches('(a+)+$', '') }}", "evaluation_failed"),
        ("{{ input.text.startsWith() }}", "syntax"),
        ("{{ 'a'.toInteger() + (1 | 2) }}", None),
        ("{{ (1 | 2) + 1 }}", "evaluation_failed"),
        ("text {{ steps.labs }}", "not_text"),
    ],
)
def test_what_cannot_be_evaluated_is_a_typed_error(template: str, code: str | None) -> None:
    if code is None:
        resolve(template, ROOTS)
        return
    with pytest.raises(ExpressionError) as caught:
        resolve(template, ROOTS)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "expression",
    [
        "(1).repeat($this + 1)",
        "('a').repeat($this & $this)",
        "'aaaa'" + ".select($this & $this)" * 100,
        "'ab'" + ".encode('hex')" * 100,
        "(9999)" + ".select($this * $this)" * 100,
        "input.text" + ".replace('a', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')" * 40,
    ],
)
def test_no_expression_takes_long_or_much(expression: str) -> None:
    parsed = parse_expression(expression)
    began = time.process_time()
    with pytest.raises(ExpressionError) as caught:
        parsed.evaluate(ROOTS)
    assert caught.value.code == "too_much_work"
    assert time.process_time() - began < 3


@pytest.mark.parametrize(
    "expression", ["__class__", "input.__class__.__mro__", "input.patient_id.__init__", "%env.x"]
)
def test_nothing_of_python_can_be_reached(expression: str) -> None:
    try:
        assert parse_expression(expression).evaluate(ROOTS) is None
    except ExpressionError as error:
        assert error.code == "evaluation_failed"  # noqa: PT017


def test_interpolated_values_are_quoted_and_a_lone_one_is_not() -> None:
    roots = {"input": {"id": "a&b=c"}}
    assert resolve("Patient?_id={{ input.id }}", roots, lambda t: t.upper()) == "Patient?_id=A&B=C"
    assert resolve("{{ input.id }}", roots, lambda t: t.upper()) == "a&b=c"


@pytest.mark.parametrize(
    ("expression", "references"),
    [
        ("steps.a.output.x", [(("steps", "a", "output", "x"), False)]),
        ("steps.a.output[0].code", [(("steps", "a", "output"), False)]),
        (
            "coalesce(steps.a.output.x, input.y)",
            [(("steps", "a", "output", "x"), True), (("input", "y"), True)],
        ),
        ("steps.a.output.exists()", [(("steps", "a", "output"), True)]),
        ("steps.a.output.where(code = other.thing)", [(("steps", "a", "output"), False)]),
        ("'steps.a' = input.b", [(("input", "b"), False)]),
    ],
)
def test_an_expression_tells_what_it_reads(expression: str, references: list[Any]) -> None:
    found = parse_expression(expression).references
    assert list(found) == [Reference(path, guarded) for path, guarded in references]


def test_a_condition_is_true_or_false() -> None:
    assert parse_expression("input.n = 3").holds(ROOTS) is True
    assert parse_expression("input.missing = 3").holds(ROOTS) is False
    with pytest.raises(ExpressionError) as caught:
        parse_expression("input.patient_id").holds(ROOTS)
    assert caught.value.code == "not_boolean"


@given(JSON)
@settings(max_examples=200, deadline=None)
def test_a_lone_plain_path_keeps_any_value(value: object) -> None:
    roots = {"input": {"value": value}}
    assert resolve("{{ input.value }}", roots) == value


@given(JSON)
@settings(max_examples=100, deadline=None)
def test_evaluating_does_not_change_the_data(value: object) -> None:
    roots = {"input": {"value": value}}
    before = copy.deepcopy(roots)
    with contextlib.suppress(ExpressionError):
        parse_expression("input.descendants().count() > 3").evaluate(roots)
    parse_expression("input.value.where($this.exists()).count()").evaluate(roots)
    assert roots == before


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_parses_or_is_a_typed_error(text: str) -> None:
    for template in (text, "{{" + text + "}}"):
        try:
            parse_template(template).resolve(ROOTS)
        except ExpressionError as error:
            assert error.code  # noqa: PT017
