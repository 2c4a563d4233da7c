"""Bundles of answers, put together from stored bytes. https://hl7.org/fhir/R4/bundle.html"""

from collections.abc import Sequence
from datetime import datetime

import orjson

from fhir.documents import JsonObject, instant, new_id
from fhir.indexing import own_base
from fhir.interactions.history import HistoryEntry, HistoryPage
from fhir.search.request import Ignored, SearchRequest
from fhir.search.service import SearchResult
from fhir.search.summary import subset, subset_of_included
from fhir.stored import StoredResource


def searchset(
    result: SearchResult, *, now: datetime, base: str | None = None, address: str | None = None
) -> bytes:
    """Return the Bundle of one page of a search; `address` is that of the search."""
    request = result.request
    base = base or own_base().rstrip("/")
    address = address or f"{base}/{request.resource_type}"
    if request.summary or request.elements:
        entries = [_found(match, _part(match, request), base, b"match") for match in result.entries]
        entries += [
            _found(other, _part_of_included(other, request), base, b"include")
            for other in result.included
        ]
    else:
        entries = _whole(result.entries, base, b"match") + _whole(result.included, base, b"include")
    if result.ignored or result.notes:
        outcome = orjson.dumps(warnings(result.ignored, result.notes))
        entries.append(b'{"resource":' + outcome + b',"search":{"mode":"outcome"}}')
    return _bundle("searchset", _links(result, address), entries, total=result.total, now=now)


def _part(match: StoredResource, request: SearchRequest) -> bytes:
    return subset(
        match.resource_type, match.content, summary=request.summary, elements=request.elements
    )


def _part_of_included(other: StoredResource, request: SearchRequest) -> bytes:
    return subset_of_included(other, request.summary, request.elements)


def _whole(resources: Sequence[StoredResource], base: str, mode: bytes) -> list[bytes]:
    """Return the entries of resources as they are stored."""
    tail = b',"search":{"mode":"%s"}}' % mode
    return [
        f'{{"fullUrl":"{base}/{found.reference}","resource":'.encode() + found.content + tail
        for found in resources
    ]


def _links(result: SearchResult, address: str) -> list[tuple[str, str]]:
    """Return the links of a page: itself, and where there are others, the first and its neighbors.

    https://hl7.org/fhir/R4/http.html#paging. R4 writes `previous`, the registry of link relations
    and R5 `prev`: both are there.
    """
    links = [("self", result.self_query)]
    if result.first_query is not None:
        links.append(("first", result.first_query))
    if result.prev_query:
        links += [("previous", result.prev_query), ("prev", result.prev_query)]
    if result.next_query:
        links.append(("next", result.next_query))
    return [(relation, f"{address}?{query}" if query else address) for relation, query in links]


def scored_set(
    found: Sequence[tuple[StoredResource, JsonObject]],
    *,
    base: str,
    address: str,
    now: datetime,
) -> bytes:
    """Return a Bundle of matches, each with its own `search` element, such as score and grade."""
    entries = [
        _entry(resource, base, b'"search":' + orjson.dumps({"mode": "match", **search}))
        for resource, search in found
    ]
    return _bundle("searchset", [("self", address)], entries, total=len(found), now=now)


def document(
    resources: Sequence[StoredResource], *, base: str, now: datetime, profile: str = ""
) -> bytes:
    """Return a Bundle of type document; the first of the resources is its Composition."""
    claim = {"profile": [profile]} if profile else {}
    head: JsonObject = {
        "resourceType": "Bundle",
        "id": new_id(),
        "meta": {"lastUpdated": instant(now), **claim},
        "identifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{new_id()}"},
        "type": "document",
        "timestamp": instant(now),
    }
    entries = [_entry(resource, base) for resource in resources]
    return orjson.dumps(head)[:-1] + b',"entry":[' + b",".join(entries) + b"]}"


def historyset(
    page: HistoryPage, *, base: str, links: Sequence[tuple[str, str]], now: datetime
) -> bytes:
    """Return the Bundle of one page of a history."""
    entries = [_past(entry, base) for entry in page.entries]
    return _bundle("history", links, entries, total=page.total, now=now)


def _bundle(
    kind: str,
    links: Sequence[tuple[str, str]],
    entries: Sequence[bytes],
    *,
    total: int | None,
    now: datetime,
) -> bytes:
    head: JsonObject = {
        "resourceType": "Bundle",
        "id": new_id(),
        "meta": {"lastUpdated": instant(now)},
        "type": kind,
    }
    if total is not None:
        head["total"] = total
    head["link"] = [{"relation": relation, "url": url} for relation, url in links]
    if not entries:
        return orjson.dumps(head)
    return orjson.dumps(head)[:-1] + b',"entry":[' + b",".join(entries) + b"]}"


def _found(resource: StoredResource, content: bytes, base: str, mode: bytes) -> bytes:
    return _entry(resource, base, b'"search":{"mode":"' + mode + b'"}', content=content)


def _entry(
    resource: StoredResource, base: str, tail: bytes = b"", *, content: bytes = b""
) -> bytes:
    url = f"{base}/{resource.reference}".encode()
    head = b'{"fullUrl":"' + url + b'","resource":' + (content or resource.content)
    return head + (b"," + tail if tail else b"") + b"}"


def _past(entry: HistoryEntry, base: str) -> bytes:
    version = entry.version
    target = version.resource_type if entry.method == "POST" else version.reference
    status = "204" if entry.deleted else "201" if entry.created else "200"
    tail = orjson.dumps(
        {
            "request": {"method": entry.method, "url": target},
            "response": {
                "status": status,
                "etag": version.etag,
                "lastModified": instant(version.updated_at),
            },
        }
    )
    head = b'{"fullUrl":"' + f"{base}/{version.reference}".encode() + b'",'
    resource = b"" if entry.deleted else b'"resource":' + version.content + b","
    return head + resource + tail[1:]


def warnings(ignored: Sequence[Ignored], notes: Sequence[str] = ()) -> JsonObject:
    """Return the OperationOutcome of what was left out: search parameters, and what `notes` say."""
    issues = [("not-supported", f"`{entry.name}` was ignored: {entry.reason}") for entry in ignored]
    issues += [("incomplete", note) for note in notes]
    return {
        "resourceType": "OperationOutcome",
        "issue": [
            {"severity": "warning", "code": code, "diagnostics": text} for code, text in issues
        ],
    }
