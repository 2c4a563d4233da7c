"""One search over several types: `/v1/fhir?_type=…`, `Patient/1/*`. Pure.

https://hl7.org/fhir/R4/http.html#search: such a search may use the parameters that all of its
types have. It is parsed once for each type, and asked as one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from fhir.definitions import is_resource_type, search_parameter
from fhir.search.compartments import in_compartment
from fhir.search.criterion import Lookup
from fhir.search.errors import SearchRefused, UnknownSearchParameter, UnsupportedSearch
from fhir.search.known import known_parameter
from fhir.search.parser import FOREIGN, parse
from fhir.search.request import AnyCriterion, Criterion, Ignored, ParameterCriterion, SearchRequest
from fhir.search.results import RESULT_PARAMETERS

Pairs = Sequence[tuple[str, str]]

_TYPE: Final = "_type"
_EVERYWHERE: Final = frozenset({"Resource", "DomainResource"})
# A type of which the common parameters may be asked, and no other.
_PLAIN_TYPE: Final = "Basic"
_NO_PARAMETERS: Final = frozenset({"_has", "_list", "_filter", "_cursor", *FOREIGN})


def types_named(pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Return the types that `_type` names, each once.

    Raises SearchRefused for what is no type.
    """
    names = [part for name, value in pairs if name == _TYPE for part in value.split(",") if part]
    for name in names:
        if not is_resource_type(name):
            raise SearchRefused(f"`{name[:80]}` in `_type` is no resource type.", param=_TYPE)
    return tuple(dict.fromkeys(names))


def parse_several(
    types: Sequence[str], pairs: Pairs, *, strict: bool = False, lookup: Lookup = known_parameter
) -> tuple[SearchRequest, ...]:
    """Return the search of each of the types that `_type` names.

    What one of them does not know is left out for all, or refused when `strict`. Raises as
    `parse` does.
    """
    own = [pair for pair in pairs if pair[0] != _TYPE]
    requests = [parse(name, own, lookup=lookup) for name in types]
    unknown = {i.name: i for request in requests for i in request.ignored}
    if unknown:
        if strict:
            raise _unknown(unknown.values())
        own = [pair for pair in own if pair[0] not in unknown]
        requests = [parse(name, own, lookup=lookup) for name in types]
    return _named(requests, pairs, tuple(unknown.values()))


def _refuse_contained(requests: Sequence[SearchRequest]) -> None:
    if any(request.contained for request in requests):
        raise UnsupportedSearch(
            "A search over several types does not look into `contained`: search one type, at"
            " /v1/fhir/{type}.",
            param="_contained",
        )


def parse_everywhere(
    types: Sequence[str], pairs: Pairs, *, strict: bool = False, lookup: Lookup = known_parameter
) -> tuple[SearchRequest, ...]:
    """Return the search of every type that is there, by the parameters that all types have.

    A type for which they can't be asked, as `_text` of a Binary, has no match.
    """
    unknown = {i.name: i for i in _not_common(pairs, lookup)}
    if unknown and strict:
        raise _unknown(unknown.values())
    own = [pair for pair in pairs if pair[0] not in unknown]
    requests: list[SearchRequest] = []
    refusal: SearchRefused | None = None
    for name in types or (_PLAIN_TYPE,):
        try:
            requests.append(parse(name, own, strict=True, lookup=lookup))
        except SearchRefused as error:
            refusal = error
    if not requests and refusal is not None:
        raise refusal
    return _named(requests, (), tuple(unknown.values()))


def within(
    requests: Sequence[SearchRequest], compartment: str, rid: str
) -> tuple[SearchRequest, ...]:
    """Return the searches narrowed to a compartment; types that are never in it fall out.

    Raises SearchRefused when none is left.
    """
    found = []
    refusal: SearchRefused | None = None
    for request in requests:
        try:
            limit = _member(compartment, rid, request.resource_type)
        except SearchRefused as error:
            refusal = error
            continue
        found.append(replace(request, criteria=(limit, *request.criteria)))
    if not found and refusal is not None:
        raise refusal
    return tuple(found)


def _member(compartment: str, rid: str, resource_type: str) -> Criterion:
    """Return the criterion of a member; the resource that a compartment is named after is one."""
    parameter = search_parameter(resource_type, "_id")
    if resource_type != compartment or parameter is None:
        return in_compartment(compartment, rid, resource_type)
    itself = ParameterCriterion(resource_type, parameter, "", (rid,))
    try:
        linked = in_compartment(compartment, rid, resource_type)
    except SearchRefused:
        return itself
    return AnyCriterion(resource_type, (itself, linked))


def _named(
    requests: Sequence[SearchRequest], pairs: Pairs, ignored: tuple[Ignored, ...]
) -> tuple[SearchRequest, ...]:
    _refuse_contained(requests)
    named = tuple(pair for pair in pairs if pair[0] == _TYPE and pair[1])
    return tuple(replace(r, used=(*named, *r.used), ignored=ignored) for r in requests)


def _not_common(pairs: Pairs, lookup: Lookup) -> Iterable[Ignored]:
    """Yield what is no parameter of all types, keys of `_sort` included."""
    for name, value in pairs:
        code = name.partition(".")[0].partition(":")[0]
        if code == "_sort":
            codes = [key.removeprefix("-") for key in value.split(",") if key]
        elif code in _NO_PARAMETERS or name in RESULT_PARAMETERS or value == "":
            continue
        else:
            codes = [code]
        for asked in codes:
            known = lookup(_PLAIN_TYPE, asked)
            if known is None or known.base not in _EVERYWHERE:
                yield Ignored(
                    name,
                    f"`{asked[:80]}` is no parameter of all resource types: name types that have"
                    " it by `_type`.",
                )


def _unknown(found: Iterable[Ignored]) -> UnknownSearchParameter:
    first = next(iter(found))
    return UnknownSearchParameter(first.reason, param=first.name[:120])
