"""Date parameters: ranges against ranges. https://hl7.org/fhir/R4/search.html#date"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from fhir.index_rows import microseconds
from fhir.search.clause import MAX_KNOWN, Clause, any_of, array
from fhir.search.context import SearchContext
from fhir.search.errors import SearchRefused
from fhir.search.extractors import date_range
from fhir.search.request import ParameterCriterion
from fhir.search.values import split_prefix

_DATE: Final = re.compile(
    r"\d{4}(-\d\d(-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?)?)?", re.ASCII
)
# The value asked for is [%(low), %(high)), the resource's [low, high); the definitions of the
# prefixes are those of https://hl7.org/fhir/R4/search.html#prefix. What ends by a moment began
# before it: that says nothing new, and bounds the part of the index that is read.
_EQUAL: Final = "({low} >= %s AND {low} < %s AND {high} <= %s)"
_CONDITIONS: Final = {
    "eq": (_EQUAL, "lhh"),
    "ne": ("({low} < %s OR {high} > %s)", "lh"),
    "gt": ("{high} > %s", "h"),
    "lt": ("{low} < %s", "l"),
    "ge": (f"({{high}} > %s OR {_EQUAL})", "hlhh"),
    "le": (f"({{low}} < %s OR {_EQUAL})", "llhh"),
    "sa": ("{low} >= %s", "h"),
    "eb": ("({low} < %s AND {high} <= %s)", "ll"),
    "ap": ("({low} < %s AND {high} > %s)", "hl"),
}


def condition(criterion: ParameterCriterion, alias: str, context: SearchContext) -> Clause:
    """Return the condition for one or more dates, each with its prefix."""
    code = criterion.parameter.code
    if code == "_lastUpdated":
        return any_of([last_updated(value, alias, context.now) for value in criterion.values])
    overlaps = criterion.modifier == "overlaps"
    if len(criterion.values) > MAX_KNOWN and not overlaps:
        ranges = [parse_range(value, code, context.now) for value in criterion.values]
        if all(prefix == "eq" for prefix, _, _ in ranges):
            return _within(ranges, criterion, alias, context)
    matches = any_of(
        [match(value, code, context.now, overlaps=overlaps) for value in criterion.values]
    )
    return context.parameter_rows(alias, "date", criterion, matches)


def _within(
    ranges: Sequence[tuple[str, datetime, datetime]],
    criterion: ParameterCriterion,
    alias: str,
    context: SearchContext,
) -> Clause:
    """Return the condition for many dates without a prefix, each looked up by itself."""
    bounds = sorted({(microseconds(low), microseconds(high)) for _, low, high in ranges})
    wanted = Clause(
        "unnest(%s::bigint[], %s::bigint[]) AS w(low, high)",
        (array(low for low, _ in bounds), array(high for _, high in bounds)),
    )
    match = "v.low >= w.low AND v.low < w.high AND v.high <= w.high"
    return context.joined_rows(alias, "date", criterion, wanted, match)


def match(value: str, code: str, now: datetime, *, overlaps: bool = False) -> Clause:
    """Return the condition on a row of `fhir_date` for one value."""
    prefix, low, high = parse_range(value, code, now)
    if overlaps:
        prefix = "ap"
    template, order = _CONDITIONS[prefix]
    sql = template.format(low="v.low", high="v.high").replace("%s", "%s::bigint")
    ends = {"l": microseconds(low), "h": microseconds(high)}
    return Clause(sql, tuple(ends[end] for end in order))


def last_updated(value: str, alias: str, now: datetime) -> Clause:
    """Return the condition on `meta.lastUpdated`, an instant to the millisecond."""
    prefix, low, high = parse_range(value, "_lastUpdated", now)
    column = f"{alias}.updated"
    conditions = {
        "eq": (f"({column} >= %s AND {column} < %s)", (low, high)),
        "ap": (f"({column} >= %s AND {column} < %s)", (low, high)),
        "ne": (f"({column} < %s OR {column} >= %s)", (low, high)),
        "gt": (f"{column} >= %s", (high,)),
        "sa": (f"{column} >= %s", (high,)),
        "lt": (f"{column} < %s", (low,)),
        "eb": (f"{column} < %s", (low,)),
        "ge": (f"{column} >= %s", (low,)),
        "le": (f"{column} < %s", (high,)),
    }
    sql, params = conditions[prefix]
    return Clause(sql.replace("%s", "%s::timestamptz"), params)


def parse_range(value: str, code: str, now: datetime) -> tuple[str, datetime, datetime]:
    """Return prefix and range of a date value; `ap` widens it by a tenth of its distance to now."""
    prefix, text = split_prefix(value.strip())
    text = text.replace(" ", "+")
    try:
        if _DATE.fullmatch(text) is None:
            raise ValueError(text)
        low, high = date_range(text)
        if prefix == "ap":
            slack = max(low - now, now - high, (high - low) * 0) / 10
            low, high = low - slack, high + slack
    except (ValueError, OverflowError):
        raise SearchRefused(
            f"`{value[:40]}` is no date: write 2026, 2026-11, 2026-11-22 or"
            " 2026-11-22T10:00:00Z, after an optional prefix such as ge.",
            param=code,
        ) from None
    return prefix, low, high
