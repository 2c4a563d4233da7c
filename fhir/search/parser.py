"""From the text of a query to a SearchRequest. https://hl7.org/fhir/R4/search.html. Pure."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl

from fhir.definitions import SearchParameter, search_parameter
from fhir.search.criterion import CriterionReader, Lookup
from fhir.search.errors import SearchRefused, UnknownSearchParameter
from fhir.search.filters import read_filter
from fhir.search.known import known_parameter
from fhir.search.request import Ignored, SearchRequest
from fhir.search.results import RESULT_PARAMETERS, check_together

Pairs = Sequence[tuple[str, str]]

MAX_PAIRS: Final = 200
# A query of so many characters is remembered as it was parsed; longer ones would fill the memory.
LONGEST_REMEMBERED: Final = 2000
# `project_id` belongs to the platform: it names the project for organization-wide keys.
FOREIGN: Final = frozenset({"project_id", "environment", "_format", "_pretty"})


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
            raise SearchRefused(
                f"`{name[:80]}` holds the character NUL.".replace("\0", "\u2400"), param="search"
            )
        if not _is_text(name + value):
            raise SearchRefused("A search holds half a surrogate pair.", param="search")
    return list(pairs)


def _is_text(value: str) -> bool:
    """Tell whether a text can be written in UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def parse(
    resource_type: str,
    query: str | Pairs,
    *,
    strict: bool = False,
    lookup: Lookup = known_parameter,
) -> SearchRequest:
    """Return what the query asks of the type; `lookup` knows its search parameters.

    Unknown parameters are listed in `ignored`, or raise UnknownSearchParameter when `strict`.
    Raises SearchRefused for values that can't be read, UnsupportedSearch for parts of R4 that
    this server does not do.
    """
    pairs = parse_pairs(query)
    if lookup is known_parameter:
        is_short = sum(len(name) + len(value) for name, value in pairs) <= LONGEST_REMEMBERED
        with suppress(_NotOfficial):
            if is_short:
                return _parsed(resource_type, tuple(pairs), strict)
            return _parse(resource_type, pairs, strict, _official)
    return _parse(resource_type, pairs, strict, lookup)


class _NotOfficial(Exception):
    """A parameter is none of R4's: the project is asked, each time."""


def _official(resource_type: str, code: str) -> SearchParameter:
    found = search_parameter(resource_type, code)
    if found is None:
        raise _NotOfficial
    return found


@lru_cache(maxsize=2048)
def _parsed(resource_type: str, pairs: Pairs, strict: bool) -> SearchRequest:
    """Parse a query of R4's own parameters, which are the same for all and for ever."""
    return _parse(resource_type, pairs, strict, _official)


def _parse(resource_type: str, pairs: Pairs, strict: bool, lookup: Lookup) -> SearchRequest:
    reader = CriterionReader(lookup)
    request = SearchRequest(resource_type)
    for name, value in pairs:
        if name in FOREIGN:
            request = replace(request, carried=(*request.carried, (name, value)))
            continue
        try:
            request = _with_parameter(request, name, value, reader)
        except UnknownSearchParameter as error:
            if strict:
                raise
            ignored = (*request.ignored, Ignored(name, error.message))
            request = replace(request, ignored=ignored)
    check_together(request)
    return request


def _with_parameter(
    request: SearchRequest, name: str, value: str, reader: CriterionReader
) -> SearchRequest:
    """Return the request with one parameter more; an empty value asks nothing."""
    if name == "_cursor":
        return replace(request, cursor=value)
    if value == "":
        return request
    if name in RESULT_PARAMETERS:
        request = RESULT_PARAMETERS[name](request, value, reader)
    elif name == "_type":
        _check_type(request, value)
    else:
        if name == "_filter":
            criterion = read_filter(request.resource_type, value, reader)
        else:
            criterion = reader.read(request.resource_type, name, value)
        request = replace(request, criteria=(*request.criteria, criterion))
    used = str(request.count) if name == "_count" else value
    return replace(request, used=(*request.used, (name, used)))


def _check_type(request: SearchRequest, value: str) -> None:
    """On the address of one type, `_type` may repeat it."""
    if request.resource_type not in value.split(","):
        raise SearchRefused(
            f"This is a search of {request.resource_type}: `_type` chooses types at /v1/fhir.",
            param="_type",
        )
