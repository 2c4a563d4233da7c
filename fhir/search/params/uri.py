"""URI parameters. https://hl7.org/fhir/R4/search.html#uri"""

from fhir import hashes
from fhir.search.clause import Clause, any_of, has_any_token
from fhir.search.context import SearchContext
from fhir.search.params.string import starts_with
from fhir.search.request import ParameterCriterion
from fhir.search.values import unescape


def condition(criterion: ParameterCriterion, alias: str, context: SearchContext) -> Clause:
    """Return the condition for the whole URI, `:below` and `:above`."""
    salt = hashes.param_salt(criterion.resource_type, criterion.parameter.code)
    values = [unescape(value).replace("\0", "") for value in criterion.values]
    if criterion.modifier == "below":
        matches = any_of([starts_with("v.folded", value) for value in values])
    elif criterion.modifier == "above":
        matches = any_of([Clause("starts_with(%s::text, v.exact)", (value,)) for value in values])
    else:
        return has_any_token(alias, [hashes.uri(value) ^ salt for value in values])
    return context.parameter_rows(alias, "string", criterion, matches)
