"""What tokens, references and URIs are sorted by, read from the stored text.

https://hl7.org/fhir/R4/search.html#_sort. The index holds their hashes, which have no order. A
parameter's paths become SQL/JSON paths over the one member that they begin at.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

from fhir.definitions import SearchParameter
from fhir.search.clause import Clause
from fhir.search.errors import UnsupportedSearch
from fhir.search.extractors import UnsupportedExpressionError
from fhir.search.extractors.paths import Access, Path
from fhir.search.extractors.plan import DECEASED, parameter_paths

# As much of a value as counts for the order and travels in a cursor.
LENGTH: Final = 256
# FHIR type → what is sorted by, and what stands in where that is absent.
_PARTS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "Coding": (("code",), ("display",)),
    "CodeableConcept": (("coding[*].code",), ("text", "coding[*].display")),
    "Identifier": (("value",), ()),
    "ContactPoint": (("value",), ()),
    "Reference": (("reference",), ("identifier.value", "display")),
    "Resource": (("id",), ()),
}
_MEMBERS: Final = frozenset({"key", "each", "item"})
_DECEASED: Final = (
    "(CASE WHEN r.content::json ->> 'deceasedBoolean' = 'false' THEN 'false'"
    " WHEN coalesce(r.content::json ->> 'deceasedBoolean',"
    " r.content::json ->> 'deceasedDateTime') IS NOT NULL THEN 'true' END COLLATE \"C\")"
)


def content_value(resource_type: str, parameter: SearchParameter, *, descending: bool) -> Clause:
    """Return SQL for the value of a row `r` that comes first in the order; null without one.

    Codes are compared without case, as searches do. Raises UnsupportedSearch for a parameter
    whose expression is no path.
    """
    if parameter.expression == DECEASED:
        return Clause(_DECEASED)
    try:
        paths = parameter_paths(resource_type, parameter)
        if any(access.test is not None for path in paths for access in path.steps):
            raise UnsupportedExpressionError(parameter.code)
    except UnsupportedExpressionError:
        raise UnsupportedSearch(
            f"This server does not sort by the {parameter.type} `{parameter.code}`: its"
            " expression is no path.",
            param="_sort",
        ) from None
    fold = parameter.type == "token"
    ranks = [
        [_value(path, part, fold=fold, descending=descending) for path, part in rank]
        for rank in _ranks(paths)
        if rank
    ]
    chosen = [_first_of(rank, descending=descending) for rank in ranks]
    if not chosen:
        return Clause("NULL::text")
    sql = f"coalesce({', '.join(clause.sql for clause in chosen)})"
    return Clause(sql, tuple(value for clause in chosen for value in clause.params))


def _ranks(paths: Iterable[Path]) -> Sequence[list[tuple[Path, str]]]:
    """Return what is sorted by, and what stands in for it."""
    first: list[tuple[Path, str]] = []
    second: list[tuple[Path, str]] = []
    for path in paths:
        parts, substitutes = _PARTS.get(path.type, (("",), ()))
        first += [(path, part) for part in parts]
        second += [(path, part) for part in substitutes]
    return first, second


def _first_of(values: Sequence[Clause], *, descending: bool) -> Clause:
    """Return the value that comes first; PostgreSQL's least and greatest pass over null."""
    if len(values) == 1:
        return values[0]
    function = "greatest" if descending else "least"
    sql = f"{function}({', '.join(value.sql for value in values)})"
    return Clause(sql, tuple(param for value in values for param in value.params))


def _value(path: Path, part: str, *, fold: bool, descending: bool) -> Clause:
    """Return SQL for one path: a member of the resource, or the first of what lies below one."""
    start, *steps = path.steps
    if start.kind == "key" and not steps and not part:
        return Clause(_text("r.content::json ->> %s::text", fold=fold), (start.name,))
    function = "max" if descending else "min"
    text = _text("v #>> '{}'", fold=fold)
    if start.kind not in _MEMBERS:
        focus = Clause("r.content::jsonb", (json_path(path.steps, part),))
    else:  # the member alone is parsed, and the rest of the path begins there
        below = (replace(start, name=""), *steps)
        focus = Clause("(r.content::json -> %s::text)::jsonb", (start.name, json_path(below, part)))
    return Clause(
        f"(SELECT {function}({text}) FROM jsonb_path_query({focus.sql}, %s::jsonpath) AS v)",
        focus.params,
    )


def _text(value: str, *, fold: bool) -> str:
    shortened = f"left({value}, {LENGTH})"
    return f'(lower({shortened}) COLLATE "C")' if fold else f'({shortened} COLLATE "C")'


@lru_cache(maxsize=4096)
def json_path(steps: tuple[Access, ...], part: str) -> str:
    """Return the steps as an SQL/JSON path from the focus `$`."""
    return "$" + "".join(_step(step) for step in steps) + (f".{part}" if part else "")


def _step(step: Access) -> str:
    member = f".{json.dumps(step.name)}" if step.name else ""
    match step.kind:
        case "key":
            return member
        case "each":
            return f"{member}[*]"
        case "item":
            return f"{member}[{int(step.literal)}]"
        case "equals":
            return f" ? (@{member} == {json.dumps(step.literal)})"
        case "resolves":
            name = f'"(^|/){step.name}/[^/]+(/_history/[^/]+)?$"'
            return f' ? (@."reference" like_regex {name} || @."type" == "{step.name}")'
        case _:
            return f' ? (exists(@."extension"[*] ? (@."url" == {json.dumps(step.name)})))'
