"""Run searches: the door that other parts use. https://hl7.org/fhir/R4/search.html"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from fhir.definitions import type_name
from fhir.identity import check_type
from fhir.search.anchors import Anchored, anchored, loosely_anchored
from fhir.search.clause import Clause
from fhir.search.contained import count_contained, find_contained, is_contained_cursor
from fhir.search.context import SearchContext
from fhir.search.criterion import TEXTS
from fhir.search.errors import SearchRefused
from fhir.search.fixed_pages import (
    dated_page_statement,
    few_page_statement,
    many_page_statement,
    rising_page_statement,
)
from fhir.search.includes import CUT, included
from fhir.search.many import is_many, remember_many
from fhir.search.paging import BEFORE, encode_cursor, is_before, query_of
from fhir.search.parser import Pairs, parse, parse_pairs
from fhir.search.query import (
    COLUMNS,
    EXACT_UP_TO,
    FEW,
    bounded_total_statement,
    expectation_statement,
    few_of_any_statement,
    matching,
    page_statement,
    several_statement,
    total_statement,
)
from fhir.search.request import Criterion, Ignored, ParameterCriterion, SearchRequest
from fhir.search.walked_values import matching_statement, read_walk, walk_of
from fhir.sql import Row, Statement, fetch_all
from fhir.stored import StoredResource
from healthcloud.tenancy.scope import active_project

_COLUMNS = len(COLUMNS.split(","))
_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class SearchResult:
    """One page of a search.

    `total` is None unless asked for, or all matches are on the page; `next_query` and
    `prev_query` are the queries of the pages beside it or None, `first_query` that of the first
    where there are several; `self_query` what was understood; `ignored` what was not (under
    lenient handling); `notes` what else the reader must know.
    """

    entries: list[StoredResource]
    included: list[StoredResource]
    total: int | None
    next_query: str | None
    prev_query: str | None = None
    first_query: str | None = None
    self_query: str = ""
    ignored: tuple[Ignored, ...] = ()
    notes: tuple[str, ...] = ()
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
    if request.contained:
        return _run_contained(request, now=now)
    _, project = active_project()
    total, rows, more = _run_one(request, SearchContext(project, now))
    entries = [_stored(request.resource_type, row) for row in rows]
    return _result(request, entries, _neighbors(request, rows, _COLUMNS, more=more), total)


def _run_one(request: SearchRequest, context: SearchContext) -> tuple[int | None, list[Row], bool]:
    """Return total, rows and whether more follow, as `_fetch` does, of a search of one type."""
    fixed = anchored(request.resource_type, request.criteria, "r", context)
    matches = fixed.gather if fixed else matching(request, context)
    if request.summary == "count":
        return _fetch(request, None, [matches])
    at_once = (
        dated_page_statement(request, fixed, context)
        if fixed
        else rising_page_statement(request, context)
    )
    if at_once:
        return _fetch(request, at_once, [matches])
    walk = None if request.criteria else walk_of(request, context)
    walked = read_walk(walk) if walk else None
    if walked is not None:
        return _read(request, walked, matches)
    may_be_few = request.criteria and not any(map(_reads_texts, request.criteria))
    if may_be_few and not is_many(matches):
        few = (
            few_page_statement(request, fixed, context)
            if fixed
            else few_of_any_statement(request, matches, context)
        )
        seen = _fetch_few(request, few, matches)
        if seen is not None:
            return seen
        remember_many(matches)
    known = fixed or loosely_anchored(request.criteria, matches, "r", context)
    if known is None:
        return _fetch(request, page_statement(request, matches, context), [matches])
    return _fetch_many(request, known, matches, context)


def _reads_texts(criterion: Criterion) -> bool:
    """Tell whether a criterion takes texts apart, which nobody wants for more than a page."""
    return isinstance(criterion, ParameterCriterion) and criterion.parameter.code in TEXTS


def run_several(requests: Sequence[SearchRequest], *, now: datetime) -> SearchResult:
    """Run a search that was parsed for several types, as one."""
    _, project = active_project()
    context = SearchContext(project, now)
    first, matches = requests[0], [matching(request, context) for request in requests]
    page = None if first.summary == "count" else several_statement(requests, matches, context)
    total, rows, more = _fetch(first, page, matches)
    entries = [_stored(type_name(row[_COLUMNS]), row) for row in rows]
    return _result(first, entries, _neighbors(first, rows, _COLUMNS + 1, more=more), total)


def _run_contained(request: SearchRequest, *, now: datetime) -> SearchResult:
    """Run a search inside `contained`; with `both`, behind what stands by itself."""
    _, project = active_project()
    total = None
    if request.summary == "count" or request.total in {"accurate", "estimate"}:
        total = count_contained(request, project=project, now=now)
        if request.contained == "both":
            alone = replace(request, contained="", summary="count", cursor="")
            total += run(alone, now=now).total or 0
    if request.summary == "count":
        return _result(request, [], (None, None), total)
    entries: list[StoredResource] = []
    if request.contained == "both" and not is_contained_cursor(request.cursor):
        own = run(replace(request, contained="", total="none"), now=now)
        if own.next_query is not None:
            return replace(own, request=request, total=total)
        entries = own.entries
    elif request.cursor and not is_contained_cursor(request.cursor):
        raise SearchRefused("`_cursor` belongs to no page of this search.", param="_cursor")
    page = find_contained(
        request,
        cursor=request.cursor if is_contained_cursor(request.cursor) else "",
        count=request.count - len(entries),
        project=project,
        now=now,
    )
    following = query_of(request, page.cursor) if page.cursor else None
    return _result(request, [*entries, *page.entries], (following, None), total)


def _fetch(
    request: SearchRequest, page: Statement | None, matches: Sequence[Clause]
) -> tuple[int | None, list[Row], bool]:
    """Return the total if asked for or seen, the rows of the page in their order, and whether more
    lie in the direction in which it was read."""
    statements = [page] if page else []
    is_estimate = request.total == "estimate" and page is not None
    if is_estimate:
        statements.append(bounded_total_statement(matches))
    elif page is None or request.total == "accurate":
        statements.append(total_statement(*matches))
    results = fetch_all(statements)
    total = results[-1][0][0] if page is None or len(results) > 1 else None
    if is_estimate and total is not None and total > EXACT_UP_TO:
        total = _estimated(matches)
    return _page(request, results[0] if page else [], total)


def _read(
    request: SearchRequest, found: Sequence[Row], matches: Clause
) -> tuple[int | None, list[Row], bool]:
    """Return what `_fetch` does, of rows that were read already."""
    is_asked = request.total in {"accurate", "estimate"}
    return _page(request, found, _asked_total(request, matches) if is_asked else None)


def _page(
    request: SearchRequest, found: Sequence[Row], total: int | None
) -> tuple[int | None, list[Row], bool]:
    rows = list(found[: request.count])
    is_whole = len(found) == len(rows) and not request.cursor
    if total is None and request.total == "known" and is_whole:
        total = len(rows)  # the page holds all there is
    if is_before(request.cursor):
        rows.reverse()
    return total, rows, len(found) > request.count


def _fetch_few(
    request: SearchRequest, page: Statement, matches: Clause
) -> tuple[int | None, list[Row], bool] | None:
    """Return what `_fetch` does, of a search that matches few; None where there are many."""
    [found] = fetch_all([page])
    count = found[0][-1] if found else 0
    if count >= FEW:
        return None
    rows = [row[:-1] for row in found[: request.count]]
    if is_before(request.cursor):
        rows.reverse()
    total = count if not request.cursor and request.total != "none" else None
    if request.cursor and request.total in {"accurate", "estimate"}:
        total = _asked_total(request, matches)
    return total, rows, len(found) > request.count


def _fetch_many(
    request: SearchRequest, known: Anchored, matches: Clause, context: SearchContext
) -> tuple[int | None, list[Row], bool]:
    """Return what `_fetch` does, of a search that matches many, each of which can be tested."""
    walk = walk_of(request, context)
    page = matching_statement(walk, known.probe) if walk else None
    rows = [row[:-1] for row in fetch_all([page])[0]] if page else []
    if len(rows) > request.count:
        return _read(request, rows, matches)
    return _fetch(request, many_page_statement(request, known, context), [matches])


def _asked_total(request: SearchRequest, matches: Clause) -> int:
    """Return the total that the statement of a page could not see."""
    if request.total == "accurate":
        return int(fetch_all([total_statement(matches)])[0][0][0])
    bounded = int(fetch_all([bounded_total_statement([matches])])[0][0][0])
    return bounded if bounded <= EXACT_UP_TO else _estimated([matches])


def _estimated(matches: Sequence[Clause]) -> int:
    """Return how many rows the planner of the database expects, by its statistics."""
    plans = fetch_all([expectation_statement(found) for found in matches])
    expected = sum(int(rows[0][0][0]["Plan"]["Plan Rows"]) for rows in plans)
    return max(expected, EXACT_UP_TO + 1)


def _result(
    request: SearchRequest,
    entries: list[StoredResource],
    neighbors: tuple[str | None, str | None],
    total: int | None,
) -> SearchResult:
    _, project = active_project()
    following, previous = neighbors
    beside = included(request, entries, project)
    return SearchResult(
        entries=entries,
        included=beside.resources,
        total=total,
        next_query=following,
        prev_query=previous,
        first_query=query_of(request) if request.cursor or following else None,
        self_query=query_of(request, request.cursor),
        ignored=request.ignored,
        notes=(CUT,) if beside.is_cut else (),
        request=request,
    )


def first_pages(requests: Sequence[SearchRequest], *, now: datetime) -> list[list[StoredResource]]:
    """Return the first page of each of many searches; a hundred of them take one round trip."""
    _, project = active_project()
    context = SearchContext(project, now)
    found: list[list[StoredResource]] = []
    for start in range(0, len(requests), _AT_ONCE):
        part = requests[start : start + _AT_ONCE]
        statements = [page_statement(r, matching(r, context), context) for r in part]
        for request, rows in zip(part, fetch_all(statements), strict=True):
            found.append(entries_of(request, rows))
    return found


def first_page(request: SearchRequest, *, now: datetime) -> Statement:
    """Return the statement of a search's first page, for who sends it with others."""
    _, project = active_project()
    context = SearchContext(project, now)
    return page_statement(request, matching(request, context), context)


def entries_of(request: SearchRequest, rows: Sequence[Row]) -> list[StoredResource]:
    """Return what the rows of a page's statement hold."""
    return [_stored(request.resource_type, row) for row in rows[: request.count]]


def first(
    *, resource_type: str, query: str | Pairs, now: datetime, strict: bool = True
) -> StoredResource | None:
    """Return the first resource a search finds, None without one."""
    pairs = [*parse_pairs(query), ("_count", "1")]
    found = search(resource_type=resource_type, query=pairs, now=now, strict=strict).entries
    return found[0] if found else None


def _neighbors(
    request: SearchRequest, rows: Sequence[Row], before: int, *, more: bool
) -> tuple[str | None, str | None]:
    """Return the queries of the next and the previous page.

    Where a page was reached from, there is one: the row of its cursor lies there. `before` is the
    number of columns before the sort keys.
    """
    if not rows:
        return None, None
    if is_before(request.cursor):
        has_next, has_previous = True, more
    else:
        has_next, has_previous = more, bool(request.cursor)
    return (
        query_of(request, encode_cursor(rows[-1][before:], rows[-1][0])) if has_next else None,
        query_of(request, BEFORE + encode_cursor(rows[0][before:], rows[0][0]))
        if has_previous
        else None,
    )


def _stored(resource_type: str, row: Row) -> StoredResource:
    return StoredResource(resource_type, row[2].decode(), row[3], row[4], row[5], key=row[1])
