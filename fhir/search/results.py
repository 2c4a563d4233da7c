"""Parameters that say what an answer holds: `_count _sort _total _summary _include` … Pure.

https://hl7.org/fhir/R4/search.html#return
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, cast

from fhir.definitions import is_resource_type
from fhir.search.criterion import CriterionReader
from fhir.search.errors import SearchRefused
from fhir.search.request import Contained, ContainedType, Include, SearchRequest, Summary, Total
from fhir.search.sort_keys import read_sort_key

MAX_COUNT: Final = 1000
MAX_DIGITS: Final = 20
MAX_SORT_KEYS: Final = 10
Setter = Callable[[SearchRequest, str, CriterionReader], SearchRequest]


def _count(request: SearchRequest, value: str, reader: CriterionReader) -> SearchRequest:
    if not (value.isascii() and value.isdecimal()) or len(value) > MAX_DIGITS:
        raise SearchRefused("`_count` must be a whole number.", param="_count")
    count = min(int(value), MAX_COUNT)
    if count == 0:
        return replace(request, count=count, summary="count")
    return replace(request, count=count)


def _sort(request: SearchRequest, value: str, reader: CriterionReader) -> SearchRequest:
    keys = []
    for part in filter(None, value.split(",")):
        keys.append(
            read_sort_key(
                request.resource_type, part.removeprefix("-"), reader, falls=part.startswith("-")
            )
        )
    if len(request.sort) + len(keys) > MAX_SORT_KEYS:
        raise SearchRefused(f"`_sort` may have {MAX_SORT_KEYS} keys.", param="_sort")
    return replace(request, sort=(*request.sort, *keys))


def _total(request: SearchRequest, value: str, reader: CriterionReader) -> SearchRequest:
    if value not in {"none", "estimate", "accurate"}:
        raise SearchRefused("`_total` is none, estimate or accurate.", param="_total")
    return replace(request, total=cast(Total, value))


def _summary(request: SearchRequest, value: str, reader: CriterionReader) -> SearchRequest:
    if value not in {"true", "text", "data", "count", "false"}:
        raise SearchRefused("`_summary` is true, text, data, count or false.", param="_summary")
    return replace(request, summary=cast(Summary, value))


def _elements(request: SearchRequest, value: str, reader: CriterionReader) -> SearchRequest:
    names = tuple(part.strip() for part in value.split(",") if part.strip())
    return replace(request, elements=request.elements + names)


def _contained(request: SearchRequest, value: str, reader: CriterionReader) -> SearchRequest:
    if value not in {"false", "true", "both"}:
        raise SearchRefused("`_contained` is false, true or both.", param="_contained")
    return replace(request, contained=cast(Contained, value if value != "false" else ""))


def _contained_type(request: SearchRequest, value: str, reader: CriterionReader) -> SearchRequest:
    if value not in {"container", "contained"}:
        raise SearchRefused("`_containedType` is container or contained.", param="_containedType")
    return replace(request, contained_type=cast(ContainedType, value))


def _include(kind: str, *, iterate: bool) -> Setter:
    def setter(request: SearchRequest, value: str, reader: CriterionReader) -> SearchRequest:
        include = _read_include(value, f"_{kind[:-1]}", reader, iterate=iterate)
        known = request.includes if kind == "includes" else request.revincludes
        if kind == "includes":
            return replace(request, includes=(*known, include))
        return replace(request, revincludes=(*known, include))

    return setter


def _read_include(value: str, name: str, reader: CriterionReader, *, iterate: bool) -> Include:
    source, _, rest = value.partition(":")
    code, _, target = rest.partition(":")
    if source == "*" and not rest:
        return Include("", "", "", iterate)
    if not is_resource_type(source) or not code or (target and not is_resource_type(target)):
        raise SearchRefused(
            f"Write `{name}=Type:parameter` or `Type:parameter:Target`.", param=name
        )
    if code == "*":
        return Include(source, "", target, iterate)
    parameter = reader.parameter(source, code, name)
    if parameter.type != "reference":
        raise SearchRefused(f"`{code}` is no reference parameter of {source}.", param=name)
    if target and parameter.targets and target not in parameter.targets:
        raise SearchRefused(f"`{source}.{code}` never refers to {target}.", param=name)
    return Include(source, code, target, iterate)


RESULT_PARAMETERS: Final[dict[str, Setter]] = {
    "_count": _count,
    "_sort": _sort,
    "_total": _total,
    "_summary": _summary,
    "_elements": _elements,
    "_contained": _contained,
    "_containedType": _contained_type,
    "_include": _include("includes", iterate=False),
    "_revinclude": _include("revincludes", iterate=False),
    "_include:iterate": _include("includes", iterate=True),
    "_include:recurse": _include("includes", iterate=True),
    "_revinclude:iterate": _include("revincludes", iterate=True),
    "_revinclude:recurse": _include("revincludes", iterate=True),
}


def check_together(request: SearchRequest) -> None:
    """Refuse what R4 does not let stand together."""
    if request.summary == "text" and (request.includes or request.revincludes):
        raise SearchRefused(
            "`_summary=text` can't stand with `_include` or `_revinclude`.", param="_summary"
        )
    if request.contained and request.sort:
        raise SearchRefused(
            "What is contained has no order: leave out `_sort`, or `_contained`.", param="_sort"
        )
