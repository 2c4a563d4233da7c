"""Run searches: the door that other parts use. https://hl7.org/fhir/R4/search.html"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from fhir.identity import check_type
from fhir.search.context import SearchContext
from fhir.search.includes import included
from fhir.search.paging import encode_cursor, query_of
from fhir.search.parser import Pairs, parse, parse_pairs
from fhir.search.query import COLUMNS, matching, page_statement, total_statement
from fhir.search.request import Ignored, SearchRequest
from fhir.search.sorting import Order
from fhir.sql import Row, fetch_all
from fhir.stored import StoredResource
from healthcloud.tenancy.scope import active_project

_COLUMNS = len(COLUMNS.split(","))
_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class SearchResult:
    """One page of a search.

    `total` is None unless asked for; `next_query` is the query of the next page or None;
    `self_query` what was understood; `ignored` what was not (under lenient handling).
    """

    entries: list[StoredResource]
    included: list[StoredResource]
    total: int | None
    next_query: str | None
    self_query: str = ""
    ignored: tuple[Ignored, ...] = ()
    request: SearchRequest = field(default_factory=lambda: SearchRequest(""))


def search(
    *, resource_type: str, query: str | Pairs, now: datetime, strict: bool = False
) -> SearchResult:
    """Search one type in the scope's project.

    One round trip, and one more for each step of includes. Raises SearchRefused (400),
    UnsupportedSearch (400) and, when `strict`, UnknownSearchParameter (400).
    """
    check_type(resource_type)
    return run(parse(resource_type, query, strict=strict), now=now)


def run(request: SearchRequest, *, now: datetime) -> SearchResult:
    """Run a parsed search."""
    _, project = active_project()
    context = SearchContext(project, now)
    matches = matching(request, context)
    count_only = request.summary == "count"
    statements = []
    if count_only or request.total != "none":
        statements.append(total_statement(matches))
    keys: list[Order] = []
    if not count_only:
        page, keys = page_statement(request, matches, context)
        statements.append(page)
    results = fetch_all(statements)
    total = results[0][0][0] if len(results) > 1 or count_only else None
    rows = [] if count_only else results[-1]
    entries = [_stored(request.resource_type, row) for row in rows[: request.count]]
    return SearchResult(
        entries=entries,
        included=included(request, entries, project),
        total=total,
        next_query=_next(request, rows) if keys else None,
        self_query=query_of(request, request.cursor),
        ignored=request.ignored,
        request=request,
    )


def first_pages(requests: Sequence[SearchRequest], *, now: datetime) -> list[list[StoredResource]]:
    """Return the first page of each of many searches; a hundred of them take one round trip."""
    _, project = active_project()
    context = SearchContext(project, now)
    found: list[list[StoredResource]] = []
    for start in range(0, len(requests), _AT_ONCE):
        part = requests[start : start + _AT_ONCE]
        statements = [page_statement(r, matching(r, context), context)[0] for r in part]
        for request, rows in zip(part, fetch_all(statements), strict=True):
            found.append([_stored(request.resource_type, row) for row in rows[: request.count]])
    return found


def first(
    *, resource_type: str, query: str | Pairs, now: datetime, strict: bool = True
) -> StoredResource | None:
    """Return the first resource a search finds, None without one."""
    pairs = [*parse_pairs(query), ("_count", "1")]
    found = search(resource_type=resource_type, query=pairs, now=now, strict=strict).entries
    return found[0] if found else None


def _next(request: SearchRequest, rows: list[Row]) -> str | None:
    if len(rows) <= request.count:
        return None
    last = rows[request.count - 1]
    return query_of(request, encode_cursor(last[_COLUMNS:], last[0]))


def _stored(resource_type: str, row: Row) -> StoredResource:
    _, key, rid, version, updated, content = row[:_COLUMNS]
    return StoredResource(resource_type, rid.decode(), version, updated, content, key=key)
