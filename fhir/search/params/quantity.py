"""Quantity parameters. https://hl7.org/fhir/R4/search.html#quantity"""

from decimal import Decimal
from functools import partial

from fhir import hashes
from fhir.search.clause import Clause, all_of, any_of
from fhir.search.context import SearchContext
from fhir.search.errors import SearchRefused
from fhir.search.params import number
from fhir.search.request import ParameterCriterion
from fhir.search.units import UCUM, canonical_unit, canonical_value
from fhir.search.values import split_prefix, split_unescaped, unescape


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
    prefix, text = split_prefix(parts[0].strip())
    value_asked = number.parse_number(text, code)
    if len(parts) == 1 or not (parts[1] or parts[2]):
        return number.compare(prefix, value_asked, float)
    if not parts[2]:
        raise SearchRefused(f"`{value[:60]}` names a system of units and no unit.", param=code)
    if parts[1]:
        return _in_unit(prefix, value_asked, parts[1], parts[2])
    wanted = hashes.unit_code(parts[2])
    printed = Clause("(v.code = %s::bigint OR v.printed = %s::bigint)", (wanted, wanted))
    return any_of(
        [
            all_of([number.compare(prefix, value_asked, float), printed]),
            _in_unit(prefix, value_asked, UCUM, parts[2]),
        ]
    )


def _in_unit(prefix: str, asked: Decimal, system: str, code: str) -> Clause:
    """Return the condition on canonical bounds: what UCUM converts is found in any such unit."""
    name = canonical_unit(code).dimension if system == UCUM else code
    unit = Clause("v.unit = %s::bigint", (hashes.unit_exact(system, name),))
    bounds = number.compare(
        prefix,
        asked,
        partial(canonical_value, code=code) if system == UCUM else float,
        low="v.canonical_low",
        high="v.canonical_high",
    )
    return all_of([unit, bounds])
