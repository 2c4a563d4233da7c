"""The statement of a page whose plan is fixed: as it runs, it decides how the page is read.

Up to FEW matches are gathered by an index and sorted. Where there are more, rows are walked in
their order until the page is full; where that takes too many, all matches are gathered and sorted.
None of the three depends on what the planner of the database believes. `docs/decisions/0174`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fhir.search.anchors import Anchored
from fhir.search.clause import Clause
from fhir.search.context import SearchContext
from fhir.search.paging import after, backwards, is_before
from fhir.search.query import COLUMNS, FEW
from fhir.search.request import SearchRequest
from fhir.search.sorting import Order, orders
from fhir.sql import Statement

# Expressions of an order in which an index leads through the rows of a type.
_WALKED: Final = frozenset({"r.updated", "r.rid", "r.date_low"})
# Resources a page may have → rows that are walked for it; few numbers, so that plans are shared.
_STEPS: Final = ((20, 5_000), (100, 25_000), (1000, 250_000))
_FEWER: Final = 5  # where each row is asked for other rows
_MOST: Final = "%s::integer"


@dataclass(slots=True)
class _Page:
    """The pieces of a statement, and the parameters of those that were used, in their order."""

    request: SearchRequest
    found: Anchored
    of_type: Clause
    keys: Sequence[Order]
    params: list[object]

    def use(self, clause: Clause) -> str:
        self.params += clause.params
        return clause.sql

    def most(self) -> str:
        self.params.append(self.request.count + 1)
        return _MOST

    def selected(self) -> str:
        """Return the sort keys as columns."""
        return ", ".join(
            f"{self.use(key.expression)} AS key_{number}" for number, key in enumerate(self.keys)
        )

    def beyond(self) -> str:
        """Return the condition that a row lies beyond the cursor."""
        if not self.request.cursor:
            return "true"
        return f"({self.use(after(self.request.cursor, self.keys))})"

    def order(self, prefix: str = "") -> str:
        """Return the order by the selected keys and the row's number."""
        last = self.keys[-1]
        by = [f"{prefix}key_{number}{_direction(key)}" for number, key in enumerate(self.keys)]
        return ", ".join([*by, f"{prefix}pk{_direction(last)}"])

    # --- the three ways -----------------------------------------------------------------------

    def few(self) -> str:
        """Return the first FEW matches, in no order."""
        return (
            f"few AS MATERIALIZED (SELECT r.pk, {self.selected()} FROM fhir_resource r"
            f" WHERE {self.use(self.found.gather)} AND {self.beyond()} LIMIT {FEW})"
        )

    def few_sorted(self) -> str:
        names = "".join(f", f.key_{number}" for number in range(len(self.keys)))
        return (
            f"(SELECT {COLUMNS}{names}, (SELECT count(*) FROM few) FROM"
            f" (SELECT * FROM few WHERE (SELECT count(*) FROM few) < {FEW}"
            f" ORDER BY {self.order()} LIMIT {self.most()}) f"
            f" JOIN fhir_resource r ON r.pk = f.pk ORDER BY {self.order('f.')})"
        )

    def walk(self, *, counted: bool) -> str:
        """Return a page that is read in its order, or less of it where that takes too many rows."""
        [key] = self.keys
        steps = next(steps for most, steps in _STEPS if self.request.count <= most)
        steps //= _FEWER if "(SELECT true " in self.found.probe.sql else 1
        by = f"{key.expression.sql}{_direction(key)}, r.pk{_direction(key)}"
        return (
            f"walk AS MATERIALIZED (SELECT {COLUMNS}, {key.expression.sql} AS key_0 FROM"
            f" (SELECT r.* FROM fhir_resource r WHERE {self.use(self.of_type)}"
            f" AND {self.beyond()}{_if_many(counted=counted)} ORDER BY {by} LIMIT {steps}) r"
            f" WHERE {self.use(self.found.probe)} ORDER BY {by} LIMIT {self.most()})"
        )

    def walked(self, *, counted: bool) -> str:
        count = f", {FEW}::bigint" if counted else ""
        return f"(SELECT walk.*{count} FROM walk WHERE (SELECT count(*) FROM walk) = {self.most()})"

    def all_sorted(self, *, counted: bool, walks: bool) -> str:
        count = f", {FEW}::bigint" if counted else ""
        sql = (
            f"(SELECT {COLUMNS}, {self.selected()}{count} FROM fhir_resource r"
            f" WHERE {self.use(self.found.gather)} AND {self.beyond()}{_if_many(counted=counted)}"
        )
        if walks:
            sql += f" AND (SELECT count(*) FROM walk) < {self.most()}"
        return f"{sql} ORDER BY {self.order()} LIMIT {self.most()})"


def fixed_page_statement(
    request: SearchRequest, found: Anchored, context: SearchContext, *, counted: bool
) -> Statement:
    """Return the statement of one page, and of a row more, to know of a next.

    When `counted`, the number of matches stands behind the columns: FEW where there are as many.
    Without it they are known to be many. A page that ends at its cursor comes in the opposite
    order.
    """
    keys = orders(request, context)
    if is_before(request.cursor):
        keys = backwards(keys)
    page = _Page(request, found, context.of_type("r", request.resource_type), keys, [])
    walks = len(keys) == 1 and keys[0].expression.sql in _WALKED
    tables = [page.few()] if counted else []
    tables += [page.walk(counted=counted)] if walks else []
    parts = [page.few_sorted()] if counted else []
    parts += [page.walked(counted=counted)] if walks else []
    parts.append(page.all_sorted(counted=counted, walks=walks))
    head = f"WITH {', '.join(tables)} " if tables else ""
    sql = head + " UNION ALL ".join(parts)
    return Statement(sql, page.params, prepare=True, is_fixed=True)


def _direction(key: Order) -> str:
    return " DESC" if key.descending else " ASC"


def _if_many(*, counted: bool) -> str:
    return f" AND (SELECT count(*) FROM few) = {FEW}" if counted else ""


def fixed_total_statement(found: Anchored) -> Statement:
    """Return the statement that counts all matches."""
    sql = f"SELECT count(*) FROM fhir_resource r WHERE {found.gather.sql}"
    return Statement(sql, found.gather.params, prepare=True, is_fixed=True)
