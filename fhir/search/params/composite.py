"""Composite parameters: parts that match in the same place.

https://hl7.org/fhir/R4/search.html#combining. Parts that are tokens are hashed into the number of
the parameter, so that a composite is either one token or one side row.
"""

from fhir import hashes
from fhir.definitions import SearchParameter, parameter_by_url
from fhir.indexing import component_hash
from fhir.search.clause import Clause, any_of, has_any_token
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
    components = [parameter_by_url(component.definition) for component in parameter.components]
    if len(parts) != len(components):
        names = "$".join(component.code for component in components if component)
        raise SearchRefused(f"Write `{parameter.code}={names}`.", param=parameter.code)
    numbers = salts(criterion.resource_type, parameter.code)
    ordered: list[tuple[SearchParameter, str]] = []
    for position, (component, part) in enumerate(zip(components, parts, strict=True)):
        if component is None or component.type == "special":
            raise UnsupportedSearch(
                f"`{parameter.code}` is not searched yet.", param=parameter.code
            )
        if component.type in {"token", "reference", "uri"}:
            forms = [component_hash(position, form) for form in _forms(component, part)]
            numbers = [known ^ form for known in numbers for form in forms]
        else:
            ordered.append((component, part))
    if not ordered:
        return has_any_token(alias, numbers)
    if len(ordered) > 1:
        raise UnsupportedSearch(f"`{parameter.code}` is not searched yet.", param=parameter.code)
    table, match = _ordered_match(*ordered[0], context)
    return context.side_rows(alias, table, criterion.resource_type, numbers, match)


def _forms(component: SearchParameter, part: str) -> list[int]:
    if component.type == "token":
        return [token_form(part)]
    if component.type == "uri":
        return [hashes.uri(unescape(part))]
    return [hashes.hash64(name) for name in targets(part, component, "")]


def _ordered_match(
    component: SearchParameter, part: str, context: SearchContext
) -> tuple[str, Clause]:
    if component.type == "date":
        return "date", date.match(part, component.code, context.now)
    if component.type == "number":
        return "quantity", number.match(part, component.code)
    if component.type == "quantity":
        return "quantity", quantity.match(part, component.code)
    return "string", string.match(part, "")
