"""A search as SQL: one statement for the page and, when asked, one for the total."""

from collections.abc import Sequence
from typing import Final

from fhir.search.clause import Clause, all_of
from fhir.search.context import SearchContext
from fhir.search.criteria import condition
from fhir.search.errors import SearchRefused
from fhir.search.paging import after, backwards, is_before, reading_orders
from fhir.search.request import SearchRequest
from fhir.search.sorting import Order, orders
from fhir.sql import Statement

COLUMNS: Final = "r.pk, r.self, r.rid, r.version, r.updated, r.content"
# `_total=estimate` counts so many matches; of more it asks the planner.
EXACT_UP_TO: Final = 1000
# Of so many matches and more a page is read in their order, instead of sorting them.
FEW: Final = 1000
_MOST: Final = "%s::integer"
TYPED_COLUMNS: Final = f"{COLUMNS}, r.rtype"


def matching(request: SearchRequest, context: SearchContext) -> Clause:
    """Return the condition that all criteria of a search set on the row `r`."""
    return all_of(
        [
            context.of_type("r", request.resource_type),
            *(condition(criterion, "r", context) for criterion in request.criteria),
        ]
    )


def page_statement(
    request: SearchRequest, matches: Clause, context: SearchContext, columns: str = COLUMNS
) -> Statement:
    """Return the statement of one page, and of a row more, to know of a next.

    A page that ends at its cursor comes in the opposite order.
    """
    where, selected, by = _page_parts(request, matches, context, columns)
    sql = (
        f"SELECT {selected.sql} FROM fhir_resource r WHERE {where.sql} ORDER BY {by} LIMIT {_MOST}"
    )
    params = [*selected.params, *where.params, request.count + 1]
    return Statement(sql, params, prepare=not request.criteria)


def few_of_any_statement(
    request: SearchRequest, matches: Clause, context: SearchContext
) -> Statement:
    """Return a page as `page_statement` does, with the number of matches behind its columns.

    The first FEW matches are sorted. Where there are as many, the rows are not those of the page.
    """
    where, selected, by = _page_parts(request, matches, context, COLUMNS)
    sql = f"""
WITH few AS MATERIALIZED (SELECT {selected.sql} FROM fhir_resource r WHERE {where.sql} LIMIT {FEW})
SELECT few.*, (SELECT count(*) FROM few) FROM few ORDER BY {by} LIMIT {_MOST}
"""
    # Of a token that it does not know the planner expects so many rows that it reads the whole
    # type beside it; conditions without one are served by one index each, whatever the values.
    params = [*selected.params, *where.params, request.count + 1]
    return Statement(sql, params, prepare=".tokens" not in where.sql)


def _page_parts(
    request: SearchRequest, matches: Clause, context: SearchContext, columns: str
) -> tuple[Clause, Clause, str]:
    """Return the condition of a page, what it selects (the sort keys last), and its order."""
    keys = reading_orders(request, context)
    where = all_of([matches, after(request.cursor, keys)]) if request.cursor else matches
    expressions = [f"{key.expression.sql} AS key_{n}" for n, key in enumerate(keys)]
    values = tuple(value for key in keys for value in key.expression.params)
    by = _order_by(keys, len(columns.split(",")))
    return where, Clause(", ".join((columns, *expressions)), values), by


def _order_by(keys: Sequence[Order], before: int) -> str:
    """Return the order by the columns behind the first `before`, and by the row's number."""
    by = [f"{before + position} {key.direction}" for position, key in enumerate(keys, 1)]
    return ", ".join([*by, f"1 {keys[-1].direction}"])


def several_statement(
    requests: Sequence[SearchRequest], matches: Sequence[Clause], context: SearchContext
) -> Statement:
    """Return the statement of one page of a search over several types.

    Each type has its own statement, planned as if it stood alone. Raises SearchRefused where the
    types don't share an order.
    """
    orders_of = [orders(request, context) for request in requests]
    if len({tuple(order.sql_type for order in known) for known in orders_of}) > 1:
        raise SearchRefused("`_sort` has another order in each of these types.", param="_sort")
    first = requests[0]
    pages = [
        page_statement(request, matched, context, TYPED_COLUMNS)
        for request, matched in zip(requests, matches, strict=True)
    ]
    if len(pages) == 1:
        return pages[0]
    keys = backwards(orders_of[0]) if is_before(first.cursor) else orders_of[0]
    by = _order_by(keys, len(TYPED_COLUMNS.split(",")))
    sql = " UNION ALL ".join(f"({page.sql})" for page in pages)
    params = [value for page in pages for value in page.params]
    return Statement(
        f"{sql} ORDER BY {by} LIMIT %s::integer", [*params, first.count + 1], prepare=False
    )


def total_statement(*matches: Clause) -> Statement:
    """Return the statement that counts all matches."""
    counts = " + ".join(
        f"(SELECT count(*) FROM fhir_resource r WHERE {found.sql})" for found in matches
    )
    params = [value for found in matches for value in found.params]
    return Statement(f"SELECT {counts}", params, prepare=False)


def bounded_total_statement(matches: Sequence[Clause]) -> Statement:
    """Return the statement that counts matches, of each type no more than can be counted soon."""
    counts = " + ".join(
        "(SELECT count(*) FROM (SELECT 1 FROM fhir_resource r"
        f" WHERE {found.sql} LIMIT {EXACT_UP_TO + 1}) AS first)"
        for found in matches
    )
    params = [value for found in matches for value in found.params]
    return Statement(f"SELECT {counts}", params, prepare=False)


def expectation_statement(matches: Clause) -> Statement:
    """Return the statement that asks the planner how many rows match."""
    sql = f"EXPLAIN (FORMAT JSON) SELECT 1 FROM fhir_resource r WHERE {matches.sql}"
    return Statement(sql, matches.params, prepare=False)
