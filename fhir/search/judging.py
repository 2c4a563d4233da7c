"""Whether versions meet criteria, exactly as a search over them would say.

The criteria are compiled to the same SQL as a search. The versions take the place of the stored
rows: a derived table with their index rows, so that a version is judged as it was even where it
has been overwritten since, and one statement judges a whole batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import orjson

from fhir.definitions import type_number
from fhir.hashes import self_hash
from fhir.indexing import index_resource
from fhir.rows import (
    NewVersion,
    date_columns,
    quantity_columns,
    resource_columns,
    string_columns,
)
from fhir.search.clause import Clause, all_of
from fhir.search.context import SearchContext
from fhir.search.criteria import condition
from fhir.search.request import (
    ChainCriterion,
    Criterion,
    HasCriterion,
    SearchRequest,
    parts_of_criterion,
)
from fhir.sql import fetch

# A shadow of each side table holds the rows of the versions; where criteria also test other
# resources (chains, `_has`), the real table's rows stand beside them.
_SIDES: Final = {
    "date": (
        "resource, param, low, high, project, rtype",
        "v.self, v.param, v.low, v.high, x.project, x.rtype FROM unnest(%s::bigint[],"
        " %s::bigint[], %s::bigint[], %s::bigint[]) AS v(self, param, low, high)",
    ),
    "quantity": (
        "resource, param, low, high, canonical_low, canonical_high, unit, code, printed, project,"
        " rtype",
        "v.self, v.param, v.low, v.high, v.canonical_low, v.canonical_high, v.unit, v.code,"
        " v.printed, x.project, x.rtype FROM unnest(%s::bigint[], %s::bigint[],"
        " %s::double precision[], %s::double precision[], %s::double precision[],"
        " %s::double precision[], %s::bigint[], %s::bigint[], %s::bigint[])"
        " AS v(self, param, low, high, canonical_low, canonical_high, unit, code, printed)",
    ),
    "string": (
        "resource, param, folded, exact, project, rtype",
        'v.self, v.param, v.folded COLLATE "C", v.exact COLLATE "C", x.project, x.rtype'
        " FROM unnest(%s::bigint[], %s::bigint[], %b::text[], %b::text[])"
        " AS v(self, param, folded, exact)",
    ),
}
_VERSIONS: Final = (
    "versions AS (SELECT x.self AS pk, x.self, x.updated, x.patient, x.date_low,"
    ' x.date_high, %s::integer AS project, x.version, x.rtype, x.rid COLLATE "C" AS rid,'
    " x.tokens::bigint[] AS tokens, x.content"
    " FROM unnest(%s::bigint[], %s::smallint[], %b::text[], %s::integer[], %s::smallint[],"
    " %s::bigint[], %s::bigint[], %s::bigint[], %b::text[], %b::text[], %s::timestamptz[])"
    " AS x(self, rtype, rid, version, method, patient, date_low, date_high, tokens, content,"
    " updated))"
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version to be judged; `key` is the caller's own name of it."""

    key: int
    resource_type: str
    id: str
    version: int
    updated_at: datetime
    content: bytes


def compiled(request: SearchRequest, *, project: int, now: datetime) -> Clause:
    """Return the condition of the criteria on the row `r`; raise SearchRefused."""
    context = SearchContext(project, now)
    return all_of([condition(criterion, "r", context) for criterion in request.criteria])


def matching(
    request: SearchRequest, candidates: Sequence[Candidate], *, project: int, now: datetime
) -> set[int]:
    """Return the keys of the versions that a search by the criteria would have found."""
    if not request.criteria:
        return {candidate.key for candidate in candidates}
    clause = compiled(request, project=project, now=now)
    beside = any(_tests_others(criterion) for criterion in request.criteria)
    found: set[int] = set()
    for part in _distinct(candidates):
        by_self = {self_hash(c.resource_type, c.id): c.key for c in part}
        sql, params = _shadow(part, project=project, beside=beside)
        rows = fetch(
            f"WITH {sql} SELECT r.self FROM versions r WHERE {clause.sql}",
            [*params, *clause.params],
            prepare=False,
        )
        found.update(by_self[row[0]] for row in rows)
    return found


def _tests_others(criterion: Criterion) -> bool:
    if isinstance(criterion, ChainCriterion | HasCriterion):
        return True
    return any(_tests_others(part) for part in parts_of_criterion(criterion))


def _distinct(candidates: Sequence[Candidate]) -> Iterator[list[Candidate]]:
    """Yield parts in which no resource stands twice."""
    rest = list(candidates)
    while rest:
        part: dict[tuple[str, str], Candidate] = {}
        later: list[Candidate] = []
        for candidate in rest:
            name = (candidate.resource_type, candidate.id)
            if name in part:
                later.append(candidate)
            else:
                part[name] = candidate
        yield list(part.values())
        rest = later


def _shadow(part: Sequence[Candidate], *, project: int, beside: bool) -> tuple[str, list[object]]:
    """Return the derived tables that hold the versions and their index rows."""
    rows = [_as_row(candidate) for candidate in part]
    sql = [_VERSIONS]
    params: list[object] = [project, *resource_columns(rows), [c.updated_at for c in part]]
    columns = {"date": date_columns, "quantity": quantity_columns, "string": string_columns}
    for name, (names, selected) in _SIDES.items():
        real = f"SELECT {names} FROM fhir_{name} UNION ALL " if beside else ""
        sql.append(
            f"fhir_{name} ({names}) AS NOT MATERIALIZED"
            f" ({real}SELECT {selected} JOIN versions x USING (self))"
        )
        params += columns[name](rows)
    return ", ".join(sql), params


def _as_row(candidate: Candidate) -> NewVersion:
    data = orjson.loads(candidate.content)
    return NewVersion(
        type_number=type_number(candidate.resource_type),
        rid=candidate.id,
        key=self_hash(candidate.resource_type, candidate.id),
        version=candidate.version,
        method="PUT",
        content=candidate.content,
        index=index_resource(candidate.resource_type, candidate.id, data),
    )
