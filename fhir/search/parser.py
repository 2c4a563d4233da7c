"""From the text of a query to a SearchRequest. https://hl7.org/fhir/R4/search.html. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, cast
from urllib.parse import parse_qsl

from fhir.definitions import SearchParameter, is_resource_type, search_parameter, search_parameters
from fhir.search.errors import SearchRefused, UnknownSearchParameter, UnsupportedSearch
from fhir.search.request import (
    ChainCriterion,
    Criterion,
    HasCriterion,
    Ignored,
    Include,
    ParameterCriterion,
    SearchRequest,
    SortKey,
    Summary,
    Total,
)
from fhir.search.values import split_unescaped

Pairs = Sequence[tuple[str, str]]

MAX_COUNT: Final = 1000
MAX_VALUES: Final = 1000
MAX_PAIRS: Final = 200
MAX_CHAIN: Final = 8
MAX_CHAIN_TYPES: Final = 12
# `project_id` belongs to the platform: it names the project for organization-wide keys.
FOREIGN: Final = frozenset({"project_id", "_format", "_pretty"})
MODIFIERS: Final = {
    "string": ("missing", "exact", "contains"),
    "token": ("missing", "not", "text", "of-type"),
    "reference": ("missing", "identifier"),
    "uri": ("missing", "below", "above"),
    "date": ("missing",),
    "number": ("missing",),
    "quantity": ("missing",),
    "composite": ("missing",),
}
_LATER_MODIFIERS: Final = frozenset(
    {"in", "not-in", "above", "below", "code-text", "text-advanced"}
)
_LATER_PARAMETERS: Final = frozenset(
    {
        "_filter",
        "_content",
        "_text",
        "_list",
        "_query",
        "_contained",
        "_containedType",
        "near",
        "_type",
    }
)


def parse_pairs(query: str | Pairs) -> list[tuple[str, str]]:
    """Return the `(name, value)` pairs of a query string; pairs are passed through.

    Raises SearchRefused for more than 200 parameters and for the character NUL.
    """
    pairs = (
        parse_qsl(query.lstrip("?"), keep_blank_values=True) if isinstance(query, str) else query
    )
    if len(pairs) > MAX_PAIRS:
        raise SearchRefused(f"A search may have {MAX_PAIRS} parameters; this has {len(pairs)}.")
    for name, value in pairs:
        if "\0" in name or "\0" in value:
            raise SearchRefused("A search can't hold the character NUL.")
    return list(pairs)


def parse(resource_type: str, query: str | Pairs, *, strict: bool = False) -> SearchRequest:
    """Return what the query asks of the type.

    Unknown parameters are listed in `ignored`, or raise UnknownSearchParameter when `strict`.
    Raises SearchRefused for values that can't be read, UnsupportedSearch for parts of R4 that
    this server does not do yet.
    """
    pairs = parse_pairs(query)
    request = SearchRequest(resource_type)
    for name, value in pairs:
        if name in FOREIGN:
            continue
        try:
            request = _with_parameter(request, name, value)
        except UnknownSearchParameter as error:
            if strict:
                raise
            ignored = (*request.ignored, Ignored(name, error.message))
            request = replace(request, ignored=ignored)
    return request


def _with_parameter(request: SearchRequest, name: str, value: str) -> SearchRequest:
    """Return the request with one parameter more; an empty value asks nothing."""
    if name == "_cursor":
        return replace(request, cursor=value)
    if name in _RESULT_PARAMETERS:
        request = _RESULT_PARAMETERS[name](request, value)
    elif value != "":
        criterion = parse_criterion(request.resource_type, name, value)
        request = replace(request, criteria=(*request.criteria, criterion))
    return replace(request, used=(*request.used, (name, value)))


def parse_criterion(resource_type: str, name: str, value: str, depth: int = 0) -> Criterion:
    """Return the criterion of one parameter, chain or `_has` of a type."""
    if depth > MAX_CHAIN:
        raise SearchRefused(f"A chain may have {MAX_CHAIN} links.", param=name)
    if name.startswith("_has:"):
        return _parse_has(resource_type, name, value, depth)
    head, dot, rest = name.partition(".")
    code, _, modifier = head.partition(":")
    parameter = _lookup(resource_type, code, name)
    if dot:
        return _parse_chain(resource_type, parameter, modifier, rest, value, depth)
    _check_modifier(parameter, modifier, name)
    values = tuple(split_unescaped(value, ","))
    if len(values) > MAX_VALUES:
        raise SearchRefused(
            f"`{name}` may have {MAX_VALUES} values; it has {len(values)}.", param=name
        )
    return ParameterCriterion(resource_type, parameter, modifier, values)


def _lookup(resource_type: str, code: str, name: str) -> SearchParameter:
    if code in _LATER_PARAMETERS:
        raise UnsupportedSearch(f"This server does not search by `{code}` yet.", param=name)
    parameter = search_parameter(resource_type, code)
    if parameter is None:
        raise UnknownSearchParameter(
            f"{resource_type} has no search parameter `{code}`; GET /v1/fhir/metadata lists them.",
            param=name,
        )
    if not is_searchable(parameter):
        raise UnsupportedSearch(f"This server does not search by `{code}` yet.", param=name)
    return parameter


def is_searchable(parameter: SearchParameter) -> bool:
    """Tell whether this server searches by a parameter."""
    if parameter.code in _LATER_PARAMETERS or parameter.type == "special":
        return False
    return parameter.expression is not None


def _check_modifier(parameter: SearchParameter, modifier: str, name: str) -> None:
    if not modifier or modifier in MODIFIERS.get(parameter.type, ()):
        return
    if parameter.type == "reference" and is_resource_type(modifier):
        return
    if modifier in _LATER_MODIFIERS:
        raise UnsupportedSearch(f"This server does not know `:{modifier}` yet.", param=name)
    raise SearchRefused(
        f"`:{modifier}` is no modifier of the {parameter.type} parameter `{parameter.code}`.",
        param=name,
    )


def _parse_chain(
    resource_type: str, parameter: SearchParameter, modifier: str, rest: str, value: str, depth: int
) -> ChainCriterion:
    name = f"{parameter.code}.{rest}"
    if parameter.type != "reference":
        raise SearchRefused(f"`{parameter.code}` is no reference and can't be chained.", param=name)
    if modifier and not is_resource_type(modifier):
        raise SearchRefused(f"`{modifier}` is no resource type.", param=name)
    candidates = (modifier,) if modifier else parameter.targets
    if not candidates or len(candidates) > MAX_CHAIN_TYPES:
        raise SearchRefused(
            f"`{parameter.code}` may refer to many types: write `{parameter.code}:Type.{rest}`.",
            param=name,
        )
    alternatives: list[Criterion] = []
    unknown: UnknownSearchParameter | None = None
    for target in candidates:
        try:
            alternatives.append(parse_criterion(target, rest, value, depth + 1))
        except UnknownSearchParameter as error:
            unknown = error
    if not alternatives and unknown is not None:
        raise unknown
    return ChainCriterion(resource_type, parameter, tuple(alternatives))


def _parse_has(resource_type: str, name: str, value: str, depth: int) -> HasCriterion:
    parts = name.split(":", 3)
    if len(parts) < 4 or not is_resource_type(parts[1]):
        raise SearchRefused("Write `_has:Type:reference:parameter=value`.", param=name)
    _, source_type, code, rest = parts
    parameter = _lookup(source_type, code, name)
    if parameter.type != "reference":
        raise SearchRefused(f"`{code}` of {source_type} is no reference.", param=name)
    if parameter.targets and resource_type not in parameter.targets:
        raise SearchRefused(f"`{source_type}.{code}` never refers to {resource_type}.", param=name)
    criterion = parse_criterion(source_type, rest, value, depth + 1)
    return HasCriterion(resource_type, source_type, parameter, criterion)


def _count(request: SearchRequest, value: str) -> SearchRequest:
    if not value.isdecimal() or len(value) > 9:
        raise SearchRefused("`_count` must be a whole number.", param="_count")
    count = min(int(value), MAX_COUNT)
    if count == 0:
        return replace(request, count=count, summary="count")
    return replace(request, count=count)


def _sort(request: SearchRequest, value: str) -> SearchRequest:
    keys = []
    for part in filter(None, value.split(",")):
        code, descending = part.removeprefix("-"), part.startswith("-")
        parameter = _lookup(request.resource_type, code, "_sort")
        if parameter.type == "composite":
            raise SearchRefused(f"`{code}` is composite and has no order.", param="_sort")
        keys.append(SortKey(parameter, descending))
    return replace(request, sort=tuple(keys))


def _total(request: SearchRequest, value: str) -> SearchRequest:
    if value not in {"none", "estimate", "accurate"}:
        raise SearchRefused("`_total` is none, estimate or accurate.", param="_total")
    return replace(request, total=cast(Total, value))


def _summary(request: SearchRequest, value: str) -> SearchRequest:
    if value not in {"true", "text", "data", "count", "false"}:
        raise SearchRefused("`_summary` is true, text, data, count or false.", param="_summary")
    return replace(request, summary=cast(Summary, value))


def _elements(request: SearchRequest, value: str) -> SearchRequest:
    names = tuple(part.strip() for part in value.split(",") if part.strip())
    return replace(request, elements=request.elements + names)


def _include(request: SearchRequest, value: str, *, iterate: bool = False) -> SearchRequest:
    include = _parse_include(value, "_include", iterate=iterate)
    return replace(request, includes=(*request.includes, include))


def _revinclude(request: SearchRequest, value: str, *, iterate: bool = False) -> SearchRequest:
    include = _parse_include(value, "_revinclude", iterate=iterate)
    return replace(request, revincludes=(*request.revincludes, include))


def _parse_include(value: str, name: str, *, iterate: bool) -> Include:
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
    parameter = search_parameters(source).get(code)
    if parameter is None or parameter.type != "reference":
        raise SearchRefused(f"`{code}` is no reference parameter of {source}.", param=name)
    return Include(source, code, target, iterate)


_RESULT_PARAMETERS: Final[dict[str, Callable[[SearchRequest, str], SearchRequest]]] = {
    "_count": _count,
    "_sort": _sort,
    "_total": _total,
    "_summary": _summary,
    "_elements": _elements,
    "_include": _include,
    "_revinclude": _revinclude,
    "_include:iterate": lambda request, value: _include(request, value, iterate=True),
    "_include:recurse": lambda request, value: _include(request, value, iterate=True),
    "_revinclude:iterate": lambda request, value: _revinclude(request, value, iterate=True),
    "_revinclude:recurse": lambda request, value: _revinclude(request, value, iterate=True),
}
