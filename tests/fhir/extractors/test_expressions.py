"""The expressions of search parameters are parsed into steps, or refused."""

import pytest

from fhir.definitions import resource_types, search_parameters
from fhir.search.extractors import UnsupportedExpressionError
from fhir.search.extractors.expressions import Step, parse_expression


def test_a_union_has_branches():
    assert parse_expression("Observation.code | Observation.component.code") == (
        (Step("child", "Observation"), Step("child", "code")),
        (Step("child", "Observation"), Step("child", "component"), Step("child", "code")),
    )


@pytest.mark.parametrize(
    "expression",
    [
        "(A.value as Quantity)",
        "A.value as Quantity",
        "A.value.as(Quantity)",
        "A.value.ofType(Quantity)",
    ],
)
def test_the_three_ways_to_choose_a_type_are_one(expression):
    assert parse_expression(expression) == (
        (Step("child", "A"), Step("child", "value"), Step("as", "Quantity")),
    )


@pytest.mark.parametrize(
    ("expression", "step"),
    [
        ("a.where(resolve() is Patient)", Step("resolves", "Patient")),
        ("a.where(system='email')", Step("equals", "system", "email")),
        ("a.where(preferred = true)", Step("equals", "preferred", True)),
        ("a.extension('http://x')", Step("extension", "http://x")),
        ("a.where(hasExtension('http://x'))", Step("has_extension", "http://x")),
        ("a[0]", Step("index", "0")),
    ],
)
def test_the_functions_of_search_paths_are_known(expression, step):
    assert parse_expression(expression) == ((Step("child", "a"), step),)


@pytest.mark.parametrize(
    "expression", ["", "a +", "a.select(b)", "a.where(b > 3)", "(a", "a b", "1"]
)
def test_anything_else_is_refused(expression):
    with pytest.raises(UnsupportedExpressionError):
        parse_expression(expression)


def test_every_official_expression_is_understood():
    refused = []
    for resource_type in resource_types():
        for parameter in search_parameters(resource_type).values():
            try:
                parse_expression(parameter.expression or "$this")
            except UnsupportedExpressionError:
                refused.append((resource_type, parameter.code))
    assert refused == [("Patient", "deceased")]  # has a converter of its own
