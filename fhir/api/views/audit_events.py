"""AuditEvents: the trail of the project, and what clients stored under that type.

https://hl7.org/fhir/R4/auditevent.html
"""

import re
from datetime import datetime
from typing import Final
from urllib.parse import urlencode

from django.http import HttpResponse
from rest_framework.request import Request

from fhir import store
from fhir.api.access import require
from fhir.api.searching import answer_search
from fhir.api.views.instance import InstanceView, answer_version
from fhir.api.views.type import TypeView
from fhir.audit_events import ACTIONS, TrailQuery, older_than, read_trail
from fhir.documents import JsonObject, instant, new_id
from fhir.errors import ResourceNotFound
from fhir.search.errors import SearchRefused
from fhir.search.extractors import date_range

_ID: Final = re.compile(r"(acc|aud)-[0-9A-Za-z-]{1,40}")
_OUTCOMES: Final = {"0": "success", "4": "failure", "8": "denied"}
_COMPARISONS: Final = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
_RESULT: Final = frozenset({"_count", "_format", "_sort", "_pretty", "project_id", "_total"})
_MAX: Final = 200
_SCOPE: Final = "audit:read"


class AuditEventsView(TypeView):
    """`/v1/fhir/AuditEvent`: with the scope `audit:read`, the trail; else what was stored."""

    consented = False

    def get(self, request: Request, resource_type: str = "AuditEvent") -> HttpResponse:
        """Search: patient, agent, date, action, entity, outcome, subtype, _id."""
        pairs = self.query_pairs()
        sees_trail = self.principal.can(_SCOPE) and not self.principal.is_narrowed
        if not sees_trail or _names_stored(pairs):
            return answer_search(self, "AuditEvent", pairs)
        count = _count(pairs)
        found = read_trail(_trail_query(pairs), limit=count + 1)
        return self.answer(self._bundle(found, pairs, count))

    def post(self, request: Request, resource_type: str = "AuditEvent") -> HttpResponse:
        """Store an AuditEvent of a client's own."""
        return super().post(request, resource_type)

    def put(self, request: Request, resource_type: str = "AuditEvent") -> HttpResponse:
        """Update or create a client's own by condition."""
        return super().put(request, resource_type)

    def patch(self, request: Request, resource_type: str = "AuditEvent") -> HttpResponse:
        """Patch a client's own by condition."""
        return super().patch(request, resource_type)

    def delete(self, request: Request, resource_type: str = "AuditEvent") -> HttpResponse:
        """Delete a client's own by condition."""
        return super().delete(request, resource_type)

    def scope_needed(self, method: str) -> str | None:
        """Return the scope of the type."""
        return f"AuditEvent:{'read' if method == 'GET' else 'write'}"

    def _bundle(
        self, found: list[JsonObject], pairs: list[tuple[str, str]], count: int
    ) -> JsonObject:
        root = f"{self.base}/AuditEvent"
        kept = [(name, value) for name, value in pairs if name not in {"_cursor", "project_id"}]
        links = [{"relation": "self", "url": f"{root}?{urlencode(kept)}"}]
        page = found[:count]
        if len(found) > count and page:
            cursor = f"{page[-1]['recorded']}~{page[-1]['id']}"
            url = f"{root}?{urlencode([*kept, ('_cursor', cursor)])}"
            links.append({"relation": "next", "url": url})
        return {
            "resourceType": "Bundle",
            "id": new_id(),
            "meta": {"lastUpdated": instant(self.now)},
            "type": "searchset",
            "link": links,
            "entry": [
                {
                    "fullUrl": f"{root}/{event['id']}",
                    "resource": event,
                    "search": {"mode": "match"},
                }
                for event in page
            ],
        }


class AuditEventView(InstanceView):
    """`/v1/fhir/AuditEvent/{id}` of the trail; it is never changed."""

    consented = False

    def get(self, request: Request, id: str, resource_type: str = "AuditEvent") -> HttpResponse:  # type: ignore[override]  # the type is fixed
        """Answer one AuditEvent of the trail."""
        require(self.principal, _SCOPE)
        if self.principal.is_narrowed:
            raise ResourceNotFound("AuditEvent", id)
        query = TrailQuery()
        query.add("t.id = %s::text", _row_id(id))
        found = read_trail(query, limit=1)
        if not found:
            return answer_version(self, store.read(resource_type="AuditEvent", id=id))
        return self.answer(found[0])

    def scope_needed(self, method: str) -> str | None:
        """Return the scope of the type."""
        return f"AuditEvent:{'read' if method == 'GET' else 'write'}"


def _row_id(text: str) -> str:
    if not _ID.fullmatch(text):
        raise ResourceNotFound("AuditEvent", text)
    return text


def _names_stored(pairs: list[tuple[str, str]]) -> bool:
    """Tell whether `_id` names something that a client stored."""
    ids = [value for name, value in pairs if name == "_id"]
    return bool(ids) and not all(_ID.fullmatch(part) for v in ids for part in v.split(","))


def _count(pairs: list[tuple[str, str]]) -> int:
    text = next((value for name, value in pairs if name == "_count"), "20")
    if not (text.isascii() and text.isdecimal()) or len(text) > 9:
        raise SearchRefused("`_count` must be a whole number.", param="_count")
    return min(int(text), _MAX)


def _trail_query(pairs: list[tuple[str, str]]) -> TrailQuery:
    query = TrailQuery()
    for name, value in pairs:
        if name in _RESULT or not value:
            continue
        add = _PARAMETERS.get(name.partition(":")[0].partition(".")[0])
        if add is None:
            raise SearchRefused(
                f"The trail is searched by {', '.join(sorted(_PARAMETERS))}, not by `{name[:60]}`.",
                param=name,
            )
        add(query, value)
    return query


def _add_patient(query: TrailQuery, value: str) -> None:
    query.about_patient(value.rpartition("/")[2])


def _add_agent(query: TrailQuery, value: str) -> None:
    query.add("t.actor_id = ANY(%s::text[])", [_code(part) for part in value.split(",")])


def _add_action(query: TrailQuery, value: str) -> None:
    wanted = {_code(part).upper() for part in value.split(",")}
    names = [name for name, action in ACTIONS.items() if action in wanted]
    query.add("t.interaction = ANY(%s::text[])", names)


def _add_subtype(query: TrailQuery, value: str) -> None:
    aliases = {"search-type": "search", "transaction": "write"}
    codes = [_code(part) for part in value.split(",")]
    query.add("t.interaction = ANY(%s::text[])", [aliases.get(code, code) for code in codes])


def _add_outcome(query: TrailQuery, value: str) -> None:
    codes = [_code(part) for part in value.split(",")]
    query.add("t.outcome = ANY(%s::text[])", [_OUTCOMES.get(code, code) for code in codes])


def _add_entity(query: TrailQuery, value: str) -> None:
    rtype, _, rid = value.rpartition("/")
    if rtype:
        query.add("t.rtype = %s::text", rtype.rpartition("/")[2])
    query.add("t.rid = %s::text", rid)


def _add_date(query: TrailQuery, value: str) -> None:
    prefix = value[:2] if value[:2] in {*_COMPARISONS, "eq"} else ""
    low, high = _range(value.removeprefix(prefix))
    if prefix in {"", "eq"}:
        query.add("t.at >= %s::timestamptz AND t.at < %s::timestamptz", low, high)
        return
    bound = high if prefix in {"gt", "le"} else low
    comparison = {"gt": ">=", "le": "<"}.get(prefix, _COMPARISONS[prefix])
    query.add(f"t.at {comparison} %s::timestamptz", bound)


def _range(text: str) -> tuple[datetime, datetime]:
    try:
        return date_range(text.replace(" ", "+"))
    except (ValueError, OverflowError):
        raise SearchRefused("`date` is a date such as `ge2026-11-22`.", param="date") from None


def _add_type(query: TrailQuery, value: str) -> None:
    if "rest" not in {_code(part) for part in value.split(",")}:
        query.add("false")


def _add_id(query: TrailQuery, value: str) -> None:
    query.add("t.id = ANY(%s::text[])", value.split(","))


def _add_cursor(query: TrailQuery, value: str) -> None:
    moment, _, rid = value.partition("~")
    older_than(query, _range(moment)[0], rid)


def _code(token: str) -> str:
    return token.rpartition("|")[2]


_PARAMETERS: Final = {
    "patient": _add_patient,
    "agent": _add_agent,
    "action": _add_action,
    "subtype": _add_subtype,
    "outcome": _add_outcome,
    "entity": _add_entity,
    "date": _add_date,
    "type": _add_type,
    "_id": _add_id,
    "_cursor": _add_cursor,
}
