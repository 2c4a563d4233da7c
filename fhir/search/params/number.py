"""Number parameters. https://hl7.org/fhir/R4/search.html#number"""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Final

from fhir.search.clause import Clause, any_of
from fhir.search.context import SearchContext
from fhir.search.errors import SearchRefused
from fhir.search.request import ParameterCriterion
from fhir.search.values import split_prefix

_COMPARISONS: Final = {
    "gt": ("high", ">"),
    "lt": ("low", "<"),
    "ge": ("high", ">="),
    "le": ("low", "<="),
    "sa": ("low", ">"),
    "eb": ("high", "<"),
}


def condition(criterion: ParameterCriterion, alias: str, context: SearchContext) -> Clause:
    """Return the condition for one or more numbers, each with its prefix."""
    return rows_that_match(criterion, alias, context, match)


def rows_that_match(
    criterion: ParameterCriterion,
    alias: str,
    context: SearchContext,
    match: Callable[[str, str], Clause],
) -> Clause:
    """Return the condition that a row of `fhir_quantity` matches one of the criterion's values."""
    code = criterion.parameter.code
    matches = any_of([match(value, code) for value in criterion.values])
    return context.parameter_rows(alias, "quantity", criterion, matches)


def match(value: str, code: str, low: str = "v.low", high: str = "v.high") -> Clause:
    """Return the condition on the bounds of a row of `fhir_quantity` for one number."""
    prefix, text = split_prefix(value.strip())
    return compare(prefix, parse_number(text, code), float, low=low, high=high)


def compare(
    prefix: str,
    number: Decimal,
    convert: Callable[[Decimal], float],
    *,
    low: str = "v.low",
    high: str = "v.high",
) -> Clause:
    """Return the condition on two columns; `convert` makes the number what they hold.

    `eq`, `ne` and `ap` go by the precision written (100 is 99.5 to 100.5, 5.40 is 5.395 to
    5.405); the other prefixes take the number as it stands, as R4 says.
    """
    if prefix in _COMPARISONS:
        column, operator = _COMPARISONS[prefix]
        bound = low if column == "low" else high
        return Clause(f"{bound} {operator} %s::double precision", (convert(number),))
    half = half_unit(number)
    if prefix == "ap":
        slack = max(abs(number) / 10, half)
        sql = f"({low} <= %s::double precision AND {high} >= %s::double precision)"
        return Clause(sql, (convert(number + slack), convert(number - slack)))
    if prefix == "ne":
        sql = f"({low} < %s::double precision OR {high} >= %s::double precision)"
    else:
        sql = f"({low} >= %s::double precision AND {high} < %s::double precision)"
    return Clause(sql, (convert(number - half), convert(number + half)))


def parse_number(text: str, code: str) -> Decimal:
    """Return the decimal a value writes, with its precision."""
    try:
        number = Decimal(text.strip()) if "_" not in text else Decimal("NaN")
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or abs(number.adjusted()) > 300:
        raise SearchRefused(f"`{text[:40]}` is no number.", param=code)
    return number


def half_unit(number: Decimal) -> Decimal:
    """Return half a unit in the last place that was written.

    R4 reads 1e2 as 95 to 105: where an exponent hides digits, a tenth of half a unit.
    """
    exponent = int(number.as_tuple().exponent)
    return Decimal(5).scaleb(exponent - 1 if exponent <= 0 else exponent - 2)
