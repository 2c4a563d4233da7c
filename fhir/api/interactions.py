"""Which restful interaction a request is, for the trail. https://hl7.org/fhir/R4/http.html"""

from collections.abc import Mapping
from typing import Final

from django.http import HttpRequest

from fhir.accesses import MAX_QUERY, Access, Outcome
from fhir.interactions.bundle import Entry

_WRITES: Final = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
VERB_OF: Final = {
    "read": "r",
    "vread": "r",
    "history-instance": "r",
    "history-type": "s",
    "search": "s",
    "create": "c",
    "update": "u",
    "patch": "u",
    "delete": "d",
}
"""The verb of SMART's scopes that an interaction with a type needs."""
_ROOT: Final = "/v1/fhir"


def access_of(request: HttpRequest, named: Mapping[str, object], outcome: Outcome) -> Access:
    """Return what a request asked for, from its method and address."""
    resource_type, rid = str(named.get("resource_type", "")), str(named.get("id", ""))
    interaction = _interaction(str(request.method), request.path, named)
    if "searched" in named or (interaction == "search" and rid):
        return Access(
            "search",
            str(named.get("searched", "")).strip("*"),
            query=_joined(f"_compartment={resource_type}/{rid}", request),
            outcome=outcome,
        )
    return Access(interaction, resource_type or _named_type(request.path), rid,
                  _joined("", request), outcome)  # fmt: skip


def _interaction(method: str, path: str, named: Mapping[str, object]) -> str:
    tail = path.rstrip("/").rpartition("/")[2]
    if tail.startswith("$"):
        return "operation"
    if "_history" in path.split("/"):
        if "version" in named:
            return "vread"
        level = "instance" if "id" in named else "type" if "resource_type" in named else "system"
        return f"history-{level}"
    if tail == "_search":
        return "search"
    if method not in {"GET", "HEAD"}:
        return "batch" if path.rstrip("/") == _ROOT else _WRITES.get(method, "operation")
    return "read" if "id" in named else "search"


def _named_type(path: str) -> str:
    """Return the type in an address whose view serves one type only."""
    part = path.removeprefix(_ROOT).strip("/").partition("/")[0]
    return part if part[:1].isupper() else ""


def _joined(first: str, request: HttpRequest) -> str:
    parts = [first, str(request.META.get("QUERY_STRING", ""))]
    if request.path.endswith("/_search") and request.method == "POST":
        parts.append(request.body[:MAX_QUERY].decode("utf-8", "replace"))
    tail = request.path.rstrip("/").rpartition("/")[2]
    parts.insert(0, tail if tail.startswith("$") else "")
    return "&".join(part for part in parts if part)


def access_of_entry(entry: Entry) -> Access:
    """Return what an entry of a Bundle reads."""
    names = [name for name in entry.path.split("/") if name and name != "_search"]
    if entry.call:
        query = "&".join(part for part in (entry.call, entry.query) if part)
        return Access("operation", entry.resource_type, entry.id or "", query)
    named = dict(zip(("resource_type", "id"), names, strict=False))
    interaction = _interaction("GET", f"{_ROOT}/{entry.path}", named)
    is_read = interaction == "read" and len(names) == 2
    rid = named.get("id", "") if is_read or "_history" in names else ""
    kind = interaction if is_read or interaction != "read" else "search"
    return Access(kind, named.get("resource_type", ""), rid, entry.query)
