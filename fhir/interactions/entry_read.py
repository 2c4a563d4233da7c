"""Reads and searches inside a batch or transaction. https://hl7.org/fhir/R4/http.html#transaction"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final
from urllib.parse import parse_qsl

from fhir.bundles import historyset, searchset
from fhir.definitions import is_resource_type
from fhir.documents import instant
from fhir.errors import InvalidBundle
from fhir.identity import check_id, check_type
from fhir.indexing import own_base
from fhir.instants import date_range
from fhir.interactions.bundle import Answer, Entry
from fhir.interactions.history import history, page_links, read_options
from fhir.interactions.read import is_known, part_of, read, vread
from fhir.search.parser import parse, parse_pairs
from fhir.search.present import present_types
from fhir.search.service import SearchResult, run, run_several
from fhir.search.several import parse_everywhere, parse_several, types_named, within
from fhir.stored import StoredResource
from healthcloud.errors import NotFound


def answer_read(entry: Entry, *, now: datetime) -> Answer:
    """Return the answer to a read, vread, search or history; to HEAD without the content."""
    answer = _answer(entry, now=now)
    return replace(answer, content=None) if entry.method == "HEAD" else answer


def _answer(entry: Entry, *, now: datetime) -> Answer:
    if entry.is_search and entry.resource is not None:
        raise InvalidBundle(
            f"{entry.where}: the parameters of `_search` stand in request.url.",
            param=f"{entry.where}.resource",
        )
    names = [name for name in entry.path.split("/") if name]
    if names[-1:] == ["_search"]:
        names.pop()
    if names[-1:] == ["_history"]:
        return _history(entry, names[:-1], now=now)
    if not names:
        return _several(entry, names, now)
    do = _BY_LENGTH.get(len(names))
    if do is None:
        raise NotFound(f"There is nothing at `{entry.path[:80]}`.")
    return do(entry, names, now)


def _search(entry: Entry, names: list[str], now: datetime) -> Answer:
    check_type(names[-1])
    return _searched(run(parse(names[-1], entry.query), now=now), names, now)


def _several(entry: Entry, names: list[str], now: datetime) -> Answer:
    pairs = parse_pairs(entry.query)
    types = types_named(pairs)
    requests = parse_several(types, pairs) if types else parse_everywhere(present_types(), pairs)
    if names:
        requests = within(requests, names[0], names[1])
    return _searched(run_several(requests, now=now), names, now)


def _searched(found: SearchResult, names: list[str], now: datetime) -> Answer:
    address = (own_base() + "/".join(names)).rstrip("/")
    return Answer("200 OK", searchset(found, now=now, address=address), is_read=True)


def _read(entry: Entry, names: list[str], now: datetime) -> Answer:
    return _found(entry, read(resource_type=names[0], id=names[1]))


def _compartment(entry: Entry, names: list[str], now: datetime) -> Answer:
    resource_type, rid, searched = names
    check_type(resource_type)
    check_id(rid)
    if searched == "*":
        return _several(entry, names, now)
    check_type(searched)
    [request] = within([parse(searched, entry.query)], resource_type, rid)
    return _searched(run(request, now=now), names, now)


def _vread(entry: Entry, names: list[str], now: datetime) -> Answer:
    if names[2] != "_history":
        raise NotFound(f"There is nothing at `{entry.path[:80]}`.")
    return _found(entry, vread(resource_type=names[0], id=names[1], version=names[3]))


_BY_LENGTH: Final[dict[int, Callable[[Entry, list[str], datetime], Answer]]] = {
    1: _search,
    2: _read,
    3: _compartment,
    4: _vread,
}


def _history(entry: Entry, names: list[str], *, now: datetime) -> Answer:
    if len(names) > 2 or (names and not is_resource_type(names[0])):
        raise NotFound(f"There is nothing at `{entry.path[:80]}`.")
    page = history(
        resource_type=names[0] if names else None,
        id=names[1] if len(names) > 1 else None,
        **read_options(dict(parse_qsl(entry.query))),
    )
    base = own_base().rstrip("/")
    links = page_links(f"{base}/{entry.path}", parse_qsl(entry.query), page)
    return Answer("200 OK", historyset(page, base=base, links=links, now=now), is_read=True)


def _found(entry: Entry, resource: StoredResource) -> Answer:
    known = is_known(
        resource, if_none_match=entry.if_none_match, if_modified_since=_modified_since(entry)
    )
    return Answer(
        status="304 Not Modified" if known else "200 OK",
        content=None if known else part_of(resource, parse_qsl(entry.query)),
        etag=resource.etag,
        last_modified=instant(resource.updated_at),
        is_read=True,
    )


def _modified_since(entry: Entry) -> datetime | None:
    if entry.if_modified_since is None:
        return None
    try:
        return date_range(entry.if_modified_since)[0]
    except (ValueError, OverflowError):
        raise InvalidBundle(
            f"{entry.where}.request.ifModifiedSince must be an instant.",
            param=f"{entry.where}.request.ifModifiedSince",
        ) from None
