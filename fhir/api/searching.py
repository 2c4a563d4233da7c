"""From a request to a page of a search: one type, several, a compartment."""

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import parse_qsl

from django.http import HttpResponse

from fhir.api.access import require, require_search, require_verb
from fhir.api.base import FhirView
from fhir.api.negotiation import FORM, acceptable_format, check_content_type
from fhir.bundles import searchset
from fhir.definitions import compartment_parameters
from fhir.identity import check_id, check_type
from fhir.search.parser import parse, parse_pairs
from fhir.search.present import present_types
from fhir.search.request import SearchRequest
from fhir.search.service import SearchResult, run, run_several
from fhir.search.several import parse_everywhere, parse_several, types_named, within
from fhir.stored import StoredResource
from healthcloud.api.principal import Principal
from healthcloud.errors import UnsupportedMediaType

Pairs = list[tuple[str, str]]


def posted_pairs(view: FhirView) -> Pairs:
    """Return the parameters of a POST to `_search`: those of the query, then those of the form."""
    pairs = view.query_pairs()
    body = view.request._request.body
    if body:
        kind = view.request.content_type or ""
        if check_content_type(kind, FORM) != FORM:  # a resource says nothing of what is searched
            raise UnsupportedMediaType(
                f"Send the parameters of a search as {FORM}, not `{kind[:80]}`.",
                param="Content-Type",
            )
        form = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
        wanted = dict(form).get("_format")
        if wanted and "_format" not in dict(pairs):
            view.format = acceptable_format(None, wanted)
        pairs += form
    return pairs


def answer_search(view: FhirView, resource_type: str, pairs: Pairs) -> HttpResponse:
    """Answer a page of a search."""
    check_type(resource_type)
    request = parse_request(view, resource_type, pairs)
    return _answer(view, run(request, now=view.now), resource_type)


def parse_request(view: FhirView, resource_type: str, pairs: Pairs) -> SearchRequest:
    """Return the parsed search; refuse one that tests types the caller may not read."""
    request = parse(resource_type, pairs, strict=_is_strict(view))
    require_search(view.principal, request)
    return request


def answer_system_search(view: FhirView, pairs: Pairs) -> HttpResponse:
    """Answer a page of a search over the types that `_type` names, or over all."""
    pairs = parse_pairs(pairs)
    types = types_named(pairs)
    if types:
        requests = parse_several(types, pairs, strict=_is_strict(view))
    else:
        requests = parse_everywhere(present_types(), pairs, strict=_is_strict(view))
    _require_all(view, requests)
    return _answer(view, run_several(requests, now=view.now), "")


def answer_compartment(
    view: FhirView, compartment: str, rid: str, searched: str, pairs: Pairs
) -> HttpResponse:
    """Answer a page of the members of a compartment: of one type, or with `*` of all."""
    check_type(compartment)
    check_id(rid)
    path = f"{compartment}/{rid}/{searched}"
    if searched != "*":
        check_type(searched)
        [request] = within([parse_request(view, searched, pairs)], compartment, rid)
        return _answer(view, run(request, now=view.now), path)
    pairs = parse_pairs(pairs)
    types = types_named(pairs)
    if types:
        requests = parse_several(types, pairs, strict=_is_strict(view))
    else:
        known = list(compartment_parameters(compartment))
        there = [name for name in present_types() if name in known]
        requests = parse_everywhere(there or known, pairs, strict=_is_strict(view))
    requests = within(requests, compartment, rid)
    _require_all(view, requests)
    return _answer(view, run_several(requests, now=view.now), path)


def _is_strict(view: FhirView) -> bool:
    return view.prefer.get("handling") == "strict"


def _require_all(view: FhirView, requests: Sequence[SearchRequest]) -> None:
    """Refuse a search over types of which the caller may not read or search one."""
    for request in requests:
        require(view.principal, f"{request.resource_type}:read")
        require_verb(view.principal, request.resource_type, "s")
        require_search(view.principal, request)


def readable(found: SearchResult, principal: Principal) -> SearchResult:
    """Return the page with nothing beside or around the matches that the caller may not read."""
    if found.included:
        found = replace(found, included=_readable(found.included, principal))
    if found.request.contained:  # a container is of any type
        found = replace(found, entries=_readable(found.entries, principal))
    return found


def _readable(resources: Sequence[StoredResource], principal: Principal) -> list[StoredResource]:
    """Return the resources that the caller may read; what is contained goes with its container."""
    kinds = [resource.reference.partition("/")[0] for resource in resources]
    return [
        resource
        for resource, kind in zip(resources, kinds, strict=True)
        if principal.can(f"{kind}:read")
    ]


def _answer(view: FhirView, found: SearchResult, path: str) -> HttpResponse:
    """Answer a page, with nothing in it that the caller may not read."""
    result = readable(found, view.principal)
    address = f"{view.base}/{path}" if path else view.base
    return view.answer(searchset(result, base=view.base, address=address, now=view.now))
