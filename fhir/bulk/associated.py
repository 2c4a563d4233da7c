"""`includeAssociatedData`: the Provenances of what is exported.

https://hl7.org/fhir/uv/bulkdata/export.html#query-parameters
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import orjson

from fhir import hashes
from fhir.definitions import type_number
from fhir.indexing import own_base
from fhir.search.clause import Clause, array
from fhir.sql import Row, fetch
from healthcloud.tenancy.scope import active_project

LATEST: Final = "LatestProvenanceResources"
RELEVANT: Final = "RelevantProvenanceResources"
KINDS: Final = (LATEST, RELEVANT)
Reference = tuple[str, str]
Condition = Callable[[str], Clause]
"""Makes the condition under which a resource of a type is exported."""

_EXPORTED: Final = """
SELECT r.rid FROM fhir_resource r CROSS JOIN LATERAL (
    SELECT v.content, v.updated FROM fhir_history v
    WHERE v.project = r.project AND v.rtype = r.rtype AND v.rid = r.rid
      AND pg_visible_in_snapshot(v.xid, %s::pg_snapshot)
    ORDER BY v.version DESC LIMIT 1) h
WHERE r.project = %s::integer AND r.rtype = %s::smallint AND r.rid = ANY(%b::text[])
  AND h.content IS NOT NULL AND {condition}
"""
_NEWEST: Final = (
    "SELECT DISTINCT ON (k.token) r.rid FROM unnest(%s::bigint[]) AS k(token)"
    " JOIN fhir_resource r ON r.project = %s::integer AND r.rtype = %s::smallint"
    " AND r.tokens @> ARRAY[k.token] AND r.content IS NOT NULL"
    " ORDER BY k.token, r.updated DESC, r.pk DESC"
)


def wanted_of(
    rows: Sequence[Row], *, types: Sequence[str], snapshot: str, condition: Condition, kind: str
) -> list[Row]:
    """Return those `(id, content)` of Provenances that are about something exported."""
    targets = {bytes(rid).decode(): _targets(content, types) for rid, content in rows if content}
    named = set().union(*targets.values()) if targets else set()
    about = _exported(named, snapshot, condition)
    newest = _newest(about) if kind == LATEST else None
    return [
        (rid, content)
        for rid, content in rows
        if targets.get(rid.decode(), set()) & about and (newest is None or rid.decode() in newest)
    ]


def _targets(content: bytes, types: Sequence[str]) -> set[Reference]:
    """Return type and id of the targets, whichever version they name."""
    found = set()
    for target in orjson.loads(content).get("target", ()):
        text = str(target.get("reference", "")).removeprefix(own_base()).split("/_history/")[0]
        resource_type, _, rid = text.partition("/")
        if resource_type in types and rid:
            found.add((resource_type, rid))
    return found


def _exported(named: Iterable[Reference], snapshot: str, condition: Condition) -> set[Reference]:
    """Return which of some resources are exported."""
    _, project = active_project()
    by_type: dict[str, list[str]] = {}
    for resource_type, rid in sorted(named):
        by_type.setdefault(resource_type, []).append(rid)
    found: set[Reference] = set()
    for name, ids in by_type.items():
        clause = condition(name)
        values = [snapshot, project, type_number(name), ids, *clause.params]
        rows = fetch(_EXPORTED.format(condition=clause.sql), values, prepare=False)
        found |= {(name, row[0].decode()) for row in rows}
    return found


def _newest(about: Iterable[Reference]) -> set[str]:
    """Return the ids of the latest Provenance of each resource."""
    _, project = active_project()
    salt = hashes.param_salt("Provenance", "target")
    tokens = array(salt ^ hashes.self_hash(*reference) for reference in sorted(about))
    rows = fetch(_NEWEST, (tokens, project, type_number("Provenance")), prepare=False)
    return {row[0].decode() for row in rows}
