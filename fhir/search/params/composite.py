"""Composite parameters: parts that match in the same place.

https://hl7.org/fhir/R4/search.html#combining. Parts that are tokens are hashed into the number of
the parameter, so that a composite is either one token or one side row.
"""

from fhir import hashes
from fhir.definitions import SearchParameter, parameter_by_url
from fhir.indexing import component_hash
from fhir.search.clause import Clause, all_of, any_of, has_any_token
from fhir.search.context import SearchContext, salts
from fhir.search.errors import SearchRefused, UnsupportedSearch
from fhir.search.params import date, number, quantity, string
from fhir.search.params.reference import targets
from fhir.search.params.token import token_form
from fhir.search.request import ParameterCriterion
from fhir.search.values import split_unescaped, unescape


def condition(criterion: ParameterCriterion, alias: str, context: SearchContext) -> Clause:
    """Return the condition for `first$second` values."""
    return any_of([_value(value, criterion, alias, context) for value in criterion.values])


def _value(value: str, criterion: ParameterCriterion, alias: str, context: SearchContext) -> Clause:
    parameter = criterion.parameter
    parts = split_unescaped(value, "$")
    components = [
        component.parameter or parameter_by_url(component.definition)
        for component in parameter.components
    ]
    if len(parts) != len(components):
        names = "$".join(component.code for component in components if component)
        raise SearchRefused(f"Write `{parameter.code}={names}`.", param=parameter.code)
    numbers = salts(criterion.resource_type, parameter.code)
    ordered: list[tuple[SearchParameter, str]] = []
    for position, (component, part) in enumerate(zip(components, parts, strict=True)):
        if component is None:
            raise UnsupportedSearch(
                f"`{parameter.code}` has a part that no definition describes.",
                param=parameter.code,
            )
        if component.type in {"token", "reference", "uri"}:
            forms = [component_hash(position, form) for form in _forms(component, part)]
            numbers = [known ^ form for known in numbers for form in forms]
        else:
            ordered.append((component, part))
    if not ordered:
        return has_any_token(alias, numbers)
    table, match = _ordered_match(ordered, parameter.code, context)
    return context.side_rows(alias, table, criterion.resource_type, numbers, match)


def _forms(component: SearchParameter, part: str) -> list[int]:
    if component.type == "token":
        return [token_form(part, component.code)]
    if component.type == "uri":
        return [hashes.uri(unescape(part))]
    return [hashes.hash64(name) for name in targets(part, component, "")]


def _ordered_match(
    ordered: list[tuple[SearchParameter, str]], code: str, context: SearchContext
) -> tuple[str, Clause]:
    """Return table and condition of the parts that are no tokens: one, or start and end."""
    if len(ordered) > 1:
        (_, start), (_, end) = ordered
        first = number.match(start, code, low="v.low", high="v.low")
        return "quantity", all_of([first, number.match(end, code, low="v.high", high="v.high")])
    component, part = ordered[0]
    if component.type == "date":
        return "date", date.match(part, code, context.now)
    if component.type == "number":
        return "quantity", number.match(part, code)
    if component.type == "quantity":
        return "quantity", quantity.match(part, code)
    return "string", string.match(part, "")
