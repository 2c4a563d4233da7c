"""`_include` and `_revinclude`, one round trip for each step.

https://hl7.org/fhir/R4/search.html#revinclude
"""

from collections.abc import Iterable, Sequence
from typing import Final

from fhir import hashes
from fhir.definitions import reference_parameters, search_parameters, type_number
from fhir.indexing import own_base
from fhir.rows import STORED_COLUMNS, stored_of
from fhir.search.clause import array
from fhir.search.extractors import Reference, extract
from fhir.search.request import Include, SearchRequest
from fhir.sql import Row, Statement, fetch_all
from fhir.stored import StoredResource

MAX_INCLUDED: Final = 1000
MAX_STEPS: Final = 8
_BY_KEY: Final = (
    f"SELECT {STORED_COLUMNS} FROM fhir_resource r WHERE r.self = ANY(%s::bigint[])"
    " AND r.project = %s::integer AND r.content IS NOT NULL ORDER BY r.pk LIMIT %s::integer"
)
_BY_REFERENCE: Final = (
    f"SELECT {STORED_COLUMNS} FROM fhir_resource r WHERE r.project = %s::integer"
    " AND r.rtype = %s::smallint AND r.content IS NOT NULL AND r.tokens && %s::bigint[]"
    " ORDER BY r.pk LIMIT %s::integer"
)


def included(
    request: SearchRequest, matches: Sequence[StoredResource], project: int
) -> list[StoredResource]:
    """Return what the matches refer to and what refers to them, each once.

    At most 1,000 resources; `:iterate` follows up to eight steps.
    """
    if not request.includes and not request.revincludes:
        return []
    seen = {match.key for match in matches}
    result: list[StoredResource] = []
    latest = list(matches)
    for step in range(MAX_STEPS):
        room = MAX_INCLUDED - len(result)
        statements = _statements(request, latest, project, seen, room, first=step == 0)
        if not statements or room <= 0:
            break
        latest = _new(fetch_all(statements), seen, room)
        result.extend(latest)
        if not latest:
            break
    return result


def _statements(
    request: SearchRequest,
    sources: Sequence[StoredResource],
    project: int,
    seen: set[int],
    room: int,
    *,
    first: bool,
) -> list[Statement]:
    forward = [include for include in request.includes if first or include.iterate]
    wanted = {key for source in sources for key in _referred(source, forward)} - seen
    statements = []
    if wanted:
        params = (array(sorted(wanted)), project, room)
        statements.append(Statement(_BY_KEY, params, prepare=False))
    for include in request.revincludes:
        if first or include.iterate:
            statements += _reverse(include, sources, project, room)
    return statements


def _referred(source: StoredResource, includes: Sequence[Include]) -> Iterable[int]:
    """Yield the `self` hashes of what a resource refers to through the includes."""
    relevant = [i for i in includes if i.source_type in {"", source.resource_type}]
    if not relevant:
        return
    for reference in extract(source.resource).references:
        if reference.type is None or reference.id is None or not _is_local(reference):
            continue
        for include in relevant:
            if include.code in {"", reference.param} and include.target_type in {
                "",
                reference.type,
            }:
                yield hashes.self_hash(reference.type, reference.id)


def _is_local(reference: Reference) -> bool:
    return reference.url is None or reference.url.startswith(own_base())


def _reverse(
    include: Include, sources: Sequence[StoredResource], project: int, room: int
) -> list[Statement]:
    """Return one statement for each type that may refer to the sources."""
    tokens: dict[str, set[int]] = {}
    for source in sources:
        if include.target_type not in {"", source.resource_type}:
            continue
        for resource_type, code in _reverse_parameters(include, source.resource_type):
            salt = hashes.param_salt(resource_type, code)
            tokens.setdefault(resource_type, set()).add(source.key ^ salt)
    return [
        Statement(
            _BY_REFERENCE, (project, type_number(name), array(sorted(wanted)), room), prepare=False
        )
        for name, wanted in tokens.items()
    ]


def _reverse_parameters(include: Include, target: str) -> Sequence[tuple[str, str]]:
    if include.code:
        return [(include.source_type, include.code)]
    known = reference_parameters(target)
    return [pair for pair in known if include.source_type in {"", pair[0]}]


def _new(results: Sequence[Sequence[Row]], seen: set[int], room: int) -> list[StoredResource]:
    found: list[StoredResource] = []
    for row in (row for rows in results for row in rows):
        resource = stored_of(row)
        if resource.key in seen or len(found) >= room:
            continue
        seen.add(resource.key)
        found.append(resource)
    return found


def include_names(resource_type: str) -> list[str]:
    """Return what `_include` may name for a type, for the CapabilityStatement."""
    known = search_parameters(resource_type).values()
    return [f"{resource_type}:{p.code}" for p in known if p.type == "reference"]
