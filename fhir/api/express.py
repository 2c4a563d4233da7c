"""Read, vread, search and plain writes, answered in the event loop's own thread.

Each handler says what a success looks like and declines everything else, which the views answer:
formats other than JSON, parts of resources, conditions, whatever is refused or not found. What
they call is what the views call. `docs/decisions/0140`.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final
from urllib.parse import parse_qsl

import orjson
from django.utils.http import http_date

from fhir.accesses import Access
from fhir.api.access import require_condition, require_search
from fhir.api.direct import CHANGED, ID, NEW, TYPE
from fhir.api.negotiation import (
    CONTENT_TYPE,
    NotAcceptable,
    acceptable_format,
    check_content_type,
    preferences,
)
from fhir.api.outcomes import outcome_of
from fhir.api.searching import readable
from fhir.bundles import searchset
from fhir.definitions import is_resource_type, type_number
from fhir.documents import parse as parse_resource
from fhir.interactions.create import create as create_resource
from fhir.interactions.patch import patch as patch_resource
from fhir.interactions.update import update as update_resource
from fhir.patches import read_patch
from fhir.patches.reading import JSON_PATCH, MERGE_PATCH
from fhir.rows import read_recorded, read_version_recorded
from fhir.search.parser import parse
from fhir.search.request import (
    AllCriterion,
    AnyCriterion,
    ChainCriterion,
    Criterion,
    NotCriterion,
    ParameterCriterion,
    SearchRequest,
)
from fhir.search.service import run
from fhir.sql import Statement
from fhir.stored import StoredResource
from healthcloud.api.errors import describe
from healthcloud.organizations.express import Answer, Call, ExpressRoute, Headers
from healthcloud.tenancy.scope import only_reading

_VERSION: Final = "_history/(?P<version>[1-9][0-9]{0,8})"
_MOST: Final = 100  # a larger page takes its time, in a thread
_LONGEST: Final = 8_000  # characters of a query; to read many values takes a while, too
_JSON: Final = (b"content-type", CONTENT_TYPE.encode())
# Modifiers and parameters that look elsewhere before the search itself is known.
_ELSEWHERE: Final = frozenset({"in", "not-in", "above", "below"})
_HEEDED: Final = frozenset({"handling", "return"})
_NOT_PLAIN: Final = frozenset({"_format", "_pretty", "project_id", "environment", "_list"})


def read(call: Call) -> Answer | None:
    """Answer the current version of a resource."""
    kind, rid = call.arguments["resource_type"], call.arguments["id"]
    if call.query or not _is_plain(call, kind, "r") or not is_resource_type(kind):
        return None
    recorded = _recording(call, Access("read", kind, rid))
    found = read_recorded(call.caller.project.number, type_number(kind), rid, recorded)
    return None if found is None else _version(*found)


def vread(call: Call) -> Answer | None:
    """Answer a version of a resource."""
    kind, rid = call.arguments["resource_type"], call.arguments["id"]
    if call.query or not _is_plain(call, kind, "r") or not is_resource_type(kind):
        return None
    recorded = _recording(call, Access("vread", kind, rid))
    found = read_version_recorded(
        *(call.caller.project.number, type_number(kind), rid),
        *(int(call.arguments["version"]), recorded),
    )
    return None if found is None else _version(*found)


def _recording(call: Call, access: Access) -> Statement:
    return access.recording(
        source="found",
        project=call.caller.project.number,
        actor=call.caller.principal.actor,
        request_id=call.request_id,
        now=call.now,
    )


def _version(version: int, updated: datetime, content: bytes) -> Answer:
    return Answer(200, _version_headers(version, updated.timestamp()), content)


def search(call: Call) -> Answer | None:
    """Answer a page of a search."""
    kind = call.arguments["resource_type"]
    if not _is_plain(call, kind, "s") or not is_resource_type(kind):
        return None
    if len(call.query) > _LONGEST or "%00" in call.query or not call.query.isascii():
        return None
    pairs = _grouped(parse_qsl(call.query, keep_blank_values=True, max_num_fields=200))
    if any(name in _NOT_PLAIN for name, _ in pairs):
        return None
    request = parse(kind, pairs, strict=_preferences(call).get("handling") == "strict")
    require_search(call.caller.principal, request)
    if not _is_short(request) or not all(map(_is_here, request.criteria)):
        return None
    call.entry.companion = Access("search", kind, query=call.query).recording(
        project=call.caller.project.number,
        actor=call.caller.principal.actor,
        request_id=call.request_id,
        now=call.now,
    )
    found = readable(run(request, now=call.now), call.caller.principal)
    base = f"{call.base}/v1/fhir"
    body = searchset(found, base=base, address=f"{base}/{kind}", now=call.now)
    return Answer(200, [_JSON], body)


def create(call: Call) -> Answer | None:
    """Store a new resource."""
    kind, wish = call.arguments["resource_type"], _preferences(call).get("return", "representation")
    if call.query or wish not in {"representation", "minimal"} or not _is_plain(call, kind, "c"):
        return None
    if check_content_type(call.header(b"content-type")) != "json" or not call.body.strip():
        return None
    principal, condition = call.caller.principal, call.header(b"if-none-exist")
    if condition:
        with only_reading():
            require_condition(principal, kind, condition)
    made = create_resource(
        resource=call.body,
        resource_type=kind,
        actor=principal.actor,
        now=call.now,
        if_none_exist=condition,
    )
    return _written(call, made, wish)


def update(call: Call) -> Answer | None:
    """Store the next version of a resource, or its first."""
    kind, wish = call.arguments["resource_type"], _preferences(call).get("return", "representation")
    if call.query or wish not in {"representation", "minimal"} or not _is_plain(call, kind, "u"):
        return None
    if check_content_type(call.header(b"content-type")) != "json" or not call.body.strip():
        return None
    parsed = parse_resource(call.body)
    if parsed.id is None:
        return None
    made = update_resource(
        resource_type=kind,
        id=call.arguments["id"],
        resource=parsed,
        actor=call.caller.principal.actor,
        now=call.now,
        if_match=call.header(b"if-match") if b"if-match" in call.headers else None,
    )
    return _written(call, made, wish)


def patch(call: Call) -> Answer | None:
    """Store the next version of a resource as a patch in JSON makes it of the current one."""
    kind, wish = call.arguments["resource_type"], _preferences(call).get("return", "representation")
    if call.query or wish not in {"representation", "minimal"} or not _is_plain(call, kind, "u"):
        return None
    sent = call.header(b"content-type").partition(";")[0].strip().lower()
    if sent not in {JSON_PATCH, MERGE_PATCH} or not call.caller.may(kind, "r"):
        return None
    made = patch_resource(
        resource_type=kind,
        id=call.arguments["id"],
        patch=read_patch(call.body, sent),
        actor=call.caller.principal.actor,
        now=call.now,
        if_match=call.header(b"if-match") if b"if-match" in call.headers else None,
    )
    return _written(call, made, wish)


def _written(call: Call, made: StoredResource, wish: str) -> Answer:
    headers = _version_headers(made.version, made.updated_at.timestamp())
    location = f"{call.base}/v1/fhir/{made.versioned_reference}"
    headers.append((b"location", location.encode()))
    content = made.content if wish == "representation" else b""
    return Answer(201 if made.created else 200, headers, content)


def failed(call: Call, error: Exception) -> Answer:
    """Answer an error after which nobody knows whether the write was committed."""
    description = describe(error)
    outcome = outcome_of(description, request_id=call.request_id)
    return Answer(description.status, [_JSON], orjson.dumps(outcome))


def _is_plain(call: Call, resource_type: str, verb: str) -> bool:
    """Tell whether the caller may do this, and wants JSON and nothing that takes longer."""
    if resource_type == "Binary" or not _preferences(call).keys() <= _HEEDED:
        return False
    try:
        wanted = acceptable_format(call.header(b"accept") or None, None)
    except NotAcceptable:
        return False
    return wanted == "json" and call.caller.may(resource_type, verb)


def _preferences(call: Call) -> Mapping[str, str]:
    return preferences(call.header(b"prefer")) if b"prefer" in call.headers else {}


def _grouped(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the pairs as Django's query has them: repeats of a name together."""
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return [(name, value) for name, values in found.items() for value in values]


def _is_short(request: SearchRequest) -> bool:
    """Tell whether the answer is put together soon, whatever is found."""
    beside = (*request.includes, *request.revincludes)
    has_many = any(include.iterate or not include.code for include in beside)
    return request.count <= _MOST and not request.contained and not has_many


def _is_here(criterion: Criterion) -> bool:
    """Tell whether a criterion is known without a look at other rows."""
    if isinstance(criterion, ParameterCriterion):
        return criterion.modifier not in _ELSEWHERE
    if isinstance(criterion, ChainCriterion | AnyCriterion):
        return all(map(_is_here, criterion.alternatives))
    if isinstance(criterion, AllCriterion):
        return all(map(_is_here, criterion.parts))
    return _is_here(criterion.part if isinstance(criterion, NotCriterion) else criterion.criterion)


def _version_headers(version: int, updated: float) -> Headers:
    return [
        _JSON,
        (b"etag", b'W/"%d"' % version),
        (b"last-modified", http_date(updated).encode()),
    ]


ROUTES: Final = (
    ExpressRoute("GET", re.compile(f"{TYPE}/{ID}"), read, reads=True, failed=failed),
    ExpressRoute("GET", re.compile(TYPE), search, reads=True, failed=failed),
    ExpressRoute("GET", re.compile(f"{TYPE}/{ID}/{_VERSION}"), vread, reads=True, failed=failed),
    ExpressRoute(
        *("POST", re.compile(NEW), create),
        reads=False,
        failed=failed,
        heeds=frozenset({b"if-none-exist"}),
    ),
    ExpressRoute(
        *("PUT", re.compile(CHANGED), update),
        reads=False,
        failed=failed,
        heeds=frozenset({b"if-match"}),
    ),
    ExpressRoute(
        *("PATCH", re.compile(CHANGED), patch),
        reads=False,
        failed=failed,
        heeds=frozenset({b"if-match"}),
    ),
)
