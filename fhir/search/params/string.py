"""String parameters. https://hl7.org/fhir/R4/search.html#string"""

from collections.abc import Callable
from typing import Final
from unicodedata import normalize

from fhir.index_rows import FOLDED_LENGTH
from fhir.search.clause import MAX_KNOWN, Clause, all_of, any_of
from fhir.search.context import SearchContext
from fhir.search.extractors import fold
from fhir.search.request import ParameterCriterion
from fhir.search.values import unescape

_LAST_CHARACTER: Final = "\U0010ffff"


def condition(criterion: ParameterCriterion, alias: str, context: SearchContext) -> Clause:
    """Return the condition for a beginning (without case and accents), `:exact`, `:contains`.

    `equals`, `differs` and `ends` are operators of `_filter`, which never minds case.
    """
    if len(criterion.values) > MAX_KNOWN and not criterion.modifier:
        starts = {fold(unescape(value)) for value in criterion.values}
        if all(len(start) <= FOLDED_LENGTH for start in starts):
            return _beginnings(sorted(starts), criterion, alias, context)
    matches = any_of([match(value, criterion.modifier) for value in criterion.values])
    return context.parameter_rows(alias, "string", criterion, matches)


def _beginnings(
    starts: list[str], criterion: ParameterCriterion, alias: str, context: SearchContext
) -> Clause:
    """Return the condition for many beginnings, each of which is looked up by itself."""
    ends = [start + _LAST_CHARACTER for start in starts]
    wanted = Clause("unnest(%b::text[], %b::text[]) AS w(low, high)", (starts, ends))
    match = "v.folded >= w.low AND v.folded < w.high"
    return context.joined_rows(alias, "string", criterion, wanted, match)


def match(value: str, modifier: str) -> Clause:
    """Return the condition on a row of `fhir_string` for one value."""
    text = unescape(value)
    folded = fold(text)
    if len(folded) > FOLDED_LENGTH and modifier in _LONG_MATCHES:
        return _LONG_MATCHES[modifier](folded[:FOLDED_LENGTH], text)
    return _MATCHES[modifier](folded[:FOLDED_LENGTH], text)


def starts_with(column: str, text: str) -> Clause:
    """Return a prefix condition that an index serves also under row-level security."""
    return Clause(f"{column} >= %s::text AND {column} < %s::text", (text, text + _LAST_CHARACTER))


_MATCHES: Final[dict[str, Callable[[str, str], Clause]]] = {
    "": lambda folded, text: starts_with("v.folded", folded),
    # A letter and its accent may be written as one character or as two.
    "exact": lambda folded, text: Clause(
        "v.folded = %s::text AND v.exact = ANY(%b::text[])",
        (folded, sorted({text, normalize("NFC", text), normalize("NFD", text)})),
    ),
    # What is longer than the index holds is looked through as it came, accents and all.
    "contains": lambda folded, text: Clause(
        "(strpos(v.folded, %s::text) > 0 OR (length(v.folded) = %s::int"
        " AND strpos(lower(v.exact), lower(%s::text)) > 0))",
        (folded, FOLDED_LENGTH, text),
    ),
    "equals": lambda folded, text: Clause("v.folded = %s::text", (folded,)),
    "differs": lambda folded, text: Clause("v.folded <> %s::text", (folded,)),
    "ends": lambda folded, text: Clause(
        "right(v.folded, %s::int) = %s::text", (len(folded), folded)
    ),
}

# A value that is longer than what the index holds of a text: the text itself decides.
_LONG_MATCHES: Final[dict[str, Callable[[str, str], Clause]]] = {
    "": lambda folded, text: all_of(
        [
            starts_with("v.folded", folded),
            Clause("starts_with(lower(v.exact), lower(%s::text))", (text,)),
        ]
    ),
    "contains": lambda folded, text: Clause(
        "(length(v.folded) = %s::int AND strpos(lower(v.exact), lower(%s::text)) > 0)",
        (FOLDED_LENGTH, text),
    ),
    "equals": lambda folded, text: Clause(
        "(v.folded = %s::text AND lower(v.exact) = lower(%s::text))", (folded, text)
    ),
    "differs": lambda folded, text: Clause(
        "(v.folded <> %s::text OR lower(v.exact) <> lower(%s::text))", (folded, text)
    ),
    "ends": lambda folded, text: Clause(
        "right(lower(v.exact), length(%s::text)) = lower(%s::text)", (text, text)
    ),
}
