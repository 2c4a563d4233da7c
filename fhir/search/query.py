"""A search as SQL: one statement for the page and, when asked, one for the total."""

from fhir.search.clause import Clause, all_of
from fhir.search.context import SearchContext
from fhir.search.criteria import condition
from fhir.search.paging import after, backwards, is_before
from fhir.search.request import SearchRequest
from fhir.search.sorting import Order, orders
from fhir.sql import Statement

COLUMNS = "r.pk, r.self, r.rid, r.version, r.updated, r.content"


def matching(request: SearchRequest, context: SearchContext) -> Clause:
    """Return the condition that all criteria of a search set on the row `r`."""
    return all_of(
        [
            context.of_type("r", request.resource_type),
            *(condition(criterion, "r", context) for criterion in request.criteria),
        ]
    )


def page_statement(request: SearchRequest, matches: Clause, context: SearchContext) -> Statement:
    """Return the statement of one page, and of a row more, to know of a next.

    A page that ends at its cursor comes in the opposite order.
    """
    keys = orders(request, context)
    if is_before(request.cursor):
        keys = backwards(keys)
    where = all_of([matches, after(request.cursor, keys)]) if request.cursor else matches
    columns = "".join(f", {key.expression.sql}" for key in keys)
    by = [
        _direction(f"{len(COLUMNS.split(',')) + position}", key)
        for position, key in enumerate(keys, 1)
    ]
    by.append(f"r.pk {'DESC' if keys[-1].descending else 'ASC'}")
    sql = (
        f"SELECT {COLUMNS}{columns} FROM fhir_resource r WHERE {where.sql}"
        f" ORDER BY {', '.join(by)} LIMIT %s::integer"
    )
    selected = [value for key in keys for value in key.expression.params]
    return Statement(sql, [*selected, *where.params, request.count + 1], prepare=False)


def _direction(column: str, key: Order) -> str:
    return f"{column} {'DESC' if key.descending else 'ASC'}"


def total_statement(matches: Clause) -> Statement:
    """Return the statement that counts all matches."""
    return Statement(
        f"SELECT count(*) FROM fhir_resource r WHERE {matches.sql}", matches.params, prepare=False
    )
