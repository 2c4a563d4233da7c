"""Number parameters. https://hl7.org/fhir/R4/search.html#number"""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation

from fhir import hashes
from fhir.search.clause import Clause, any_of
from fhir.search.context import SearchContext
from fhir.search.errors import SearchRefused
from fhir.search.request import ParameterCriterion
from fhir.search.values import split_prefix


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
    param = hashes.param_salt(criterion.resource_type, code)
    matches = any_of([match(value, code) for value in criterion.values])
    return context.side_rows(
        alias,
        "quantity",
        criterion.resource_type,
        param,
        Clause(f"({matches.sql})", matches.params),
    )


def match(value: str, code: str) -> Clause:
    """Return the condition on the bounds of a row of `fhir_quantity` for one number.

    `eq`, `ne` and `ap` go by the precision written (100 is 99.5 to 100.5, 5.40 is 5.395 to
    5.405); the other prefixes take the number as it stands, as R4 says.
    """
    prefix, text = split_prefix(value.strip())
    number = parse_number(text, code)
    exact = float(number)
    comparisons = {
        "gt": "v.high > %s",
        "lt": "v.low < %s",
        "ge": "v.high >= %s",
        "le": "v.low <= %s",
        "sa": "v.low > %s",
        "eb": "v.high < %s",
    }
    if prefix in comparisons:
        return Clause(comparisons[prefix].replace("%s", "%s::double precision"), (exact,))
    half = half_unit(number)
    if prefix == "ap":
        slack = max(abs(number) / 10, half)
        sql = "(v.low <= %s::double precision AND v.high >= %s::double precision)"
        return Clause(sql, (float(number + slack), float(number - slack)))
    low, high = float(number - half), float(number + half)
    if prefix == "ne":
        sql = "(v.low < %s::double precision OR v.high >= %s::double precision)"
    else:
        sql = "(v.low >= %s::double precision AND v.high < %s::double precision)"
    return Clause(sql, (low, high))


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
    """Return half a unit in the last place that was written."""
    exponent = number.as_tuple().exponent
    return Decimal(5).scaleb(int(exponent) - 1)
