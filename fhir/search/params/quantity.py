"""Quantity parameters. https://hl7.org/fhir/R4/search.html#quantity"""

from fhir import hashes
from fhir.search.clause import Clause, all_of
from fhir.search.context import SearchContext
from fhir.search.errors import SearchRefused
from fhir.search.params import number
from fhir.search.request import ParameterCriterion
from fhir.search.values import split_unescaped, unescape


def condition(criterion: ParameterCriterion, alias: str, context: SearchContext) -> Clause:
    """Return the condition for `number`, `number|system|code` and `number||code`."""
    return number.rows_that_match(criterion, alias, context, match)


def match(value: str, code: str) -> Clause:
    """Return the condition on a row of `fhir_quantity` for one value."""
    parts = [unescape(part) for part in split_unescaped(value, "|")]
    if len(parts) not in {1, 3}:
        raise SearchRefused(
            f"`{value[:60]}` is no quantity: write number, number|system|code or number||code.",
            param=code,
        )
    bounds = number.match(parts[0], code)
    if len(parts) == 1 or not (parts[1] or parts[2]):
        return bounds
    if parts[1]:
        unit = Clause("v.unit = %s::bigint", (hashes.unit_exact(parts[1], parts[2]),))
    else:
        wanted = hashes.unit_code(parts[2])
        unit = Clause("(v.code = %s::bigint OR v.printed = %s::bigint)", (wanted, wanted))
    return all_of([bounds, unit])
