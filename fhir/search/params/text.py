"""`:text`: what people read beside a code, a reference or in a string.

https://hl7.org/fhir/R4/search.html#token
"""

from fhir.indexing import TEXT
from fhir.search.clause import Clause, any_of
from fhir.search.context import SearchContext, salts
from fhir.search.extractors import fold
from fhir.search.request import ParameterCriterion
from fhir.search.values import unescape


def condition(criterion: ParameterCriterion, alias: str, context: SearchContext) -> Clause:
    """Return the condition that a display or text has a word that starts with the value."""
    suffix = "" if criterion.parameter.type == "string" else TEXT
    params = salts(criterion.resource_type, criterion.parameter.code, suffix)
    matches = any_of([_match(fold(unescape(value))) for value in criterion.values])
    return context.side_rows(alias, "string", criterion.resource_type, params, matches)


def _match(text: str) -> Clause:
    return Clause(
        "(starts_with(v.folded, %s::text) OR strpos(v.folded, %s::text) > 0)", (text, " " + text)
    )
