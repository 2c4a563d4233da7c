"""The statements of a page whose plan is fixed: as they run, they decide how the page is read.

Up to FEW matches are gathered by an index and sorted. Where there are more, a second statement
walks rows in their order until the page is full; where that takes too many, all matches are
gathered and sorted. None of the three depends on what the planner of the database believes.
`docs/decisions/0174`, `docs/decisions/0216`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from fhir.index_rows import NO_DATE
from fhir.search.anchors import Anchored
from fhir.search.clause import Clause
from fhir.search.context import SearchContext
from fhir.search.paging import after, reading_orders
from fhir.search.query import COLUMNS, FEW
from fhir.search.request import SearchRequest
from fhir.search.sorting import LAST_DATE, RISING, Order, orders
from fhir.sql import LONGEST_PREPARED, Statement

# Expressions of an order → the column by which an index leads through the rows of a type.
_WALKED: Final = {
    "r.updated": "r.updated",
    "r.rid": "r.rid",
    "r.date_low": "r.date_low",
    RISING: "r.date_low",
}
_DATED: Final = f"r.date_low > {NO_DATE}"
# Resources a page may have → rows that are walked for it; few numbers, so that plans are shared.
_STEPS: Final = ((20, 5_000), (100, 25_000), (1000, 250_000))
_FEWER: Final = 5  # where each row is asked for other rows
_MOST: Final = "%s::integer"


@dataclass(frozen=True, slots=True)
class _Shape:
    """What the text of a statement depends on: its pieces as SQL, without any value.

    `steps` is how many rows are walked at most, 0 where no index leads through them in their order.
    """

    gather: str
    probe: str
    of_type: str
    beyond: str
    walks_beyond: str
    keys: tuple[tuple[str, bool], ...]
    """Expressions of the order, and whether they fall."""
    steps: int


def few_page_statement(
    request: SearchRequest, found: Anchored, context: SearchContext
) -> Statement:
    """Return the statement of one page, and of a row more, of matches that are sorted.

    The number of matches stands behind the columns. Where it is FEW there may be more, and the
    rows are not those of the page.
    """
    keys = reading_orders(request, context)
    beyond = after(request.cursor, keys) if request.cursor else Clause("true")
    values = tuple(value for key in keys for value in key.expression.params)
    params = [*values, *found.gather.params, *beyond.params, request.count + 1]
    is_short = len(found.gather.sql) <= LONGEST_PREPARED
    write = _few_sorted if is_short else _few_written
    text = write(found.gather.sql, beyond.sql, _named(keys), FEW)
    return Statement(text, params, prepare=True, is_fixed=True)


def many_page_statement(
    request: SearchRequest, found: Anchored, context: SearchContext
) -> Statement:
    """Return the statement of one page, and of a row more, where many match.

    A page that ends at its cursor comes in the opposite order.
    """
    keys = reading_orders(request, context)
    beyond = after(request.cursor, keys) if request.cursor else Clause("true")
    walked = _walked(request, keys)
    of_type = context.of_type("r", request.resource_type)
    shape = _Shape(
        *(found.gather.sql, found.probe.sql, of_type.sql, beyond.sql),
        walks_beyond=walked.sql if walked else "",
        keys=_named(keys),
        steps=_steps(request, found) if walked else 0,
    )
    values = tuple(value for key in keys for value in key.expression.params)
    most = request.count + 1
    params: list[object] = []
    if walked:
        params += (*of_type.params, *walked.params, *found.probe.params, most, most)
    params += (*values, *found.gather.params, *beyond.params)
    params += [most] if walked else []
    is_short = len(shape.gather) + len(shape.probe) <= LONGEST_PREPARED
    text = _text(shape) if is_short else _written(shape)
    is_fixed = not found.is_loose
    return Statement(text, [*params, most], prepare=is_fixed, is_fixed=is_fixed)


def _named(keys: Sequence[Order]) -> tuple[tuple[str, bool], ...]:
    return tuple((key.expression.sql, key.descending) for key in keys)


def rising_page_statement(request: SearchRequest, context: SearchContext) -> Statement | None:
    """Return the statement of a page of a whole type from its oldest date on, else None."""
    keys = orders(request, context)
    if request.criteria or keys[0].expression.sql != RISING:
        return None
    whole = Anchored(context.of_type("r", request.resource_type), Clause("true"))
    return many_page_statement(request, whole, context)


def dated_page_statement(
    request: SearchRequest, found: Anchored, context: SearchContext
) -> Statement | None:
    """Return the statement of a page of one patient's resources by date, read in their order.

    None of any other search.
    """
    keys = reading_orders(request, context)
    if not found.of_one_patient or len(keys) > 1 or keys[0].expression.sql != "r.date_low":
        return None
    beyond = after(request.cursor, keys) if request.cursor else Clause("true")
    order = _direction(keys[0].descending)
    sql = (
        f"SELECT {COLUMNS}, r.date_low FROM fhir_resource r WHERE {found.gather.sql}"
        f" AND ({beyond.sql}) ORDER BY r.date_low{order}, r.pk{order} LIMIT {_MOST}"
    )
    params = [*found.gather.params, *beyond.params, request.count + 1]
    return Statement(sql, params, prepare=True, is_fixed=True)


def _walked(request: SearchRequest, keys: Sequence[Order]) -> Clause | None:
    """Return the condition that a row that is walked lies beyond the cursor, None for no walk.

    Rising dates are walked as far as there are dates: what has none comes last.
    """
    column = _WALKED.get(keys[0].expression.sql)
    if len(keys) > 1 or column is None:
        return None
    is_rising = keys[0].expression.sql == RISING
    plain = [replace(keys[0], expression=Clause(column))]
    beyond = after(request.cursor, plain) if request.cursor else Clause("true")
    if not is_rising:
        return beyond
    if keys[0].descending and beyond.params[0] == LAST_DATE:
        return None  # a page before the last one begins with what has no date
    return Clause(f"{beyond.sql} AND {_DATED}", beyond.params)


def _steps(request: SearchRequest, found: Anchored) -> int:
    steps = next(steps for most, steps in _STEPS if request.count <= most)
    return steps // (_FEWER if "(SELECT true " in found.probe.sql else 1)


def _few_written(gather: str, beyond: str, keys: tuple[tuple[str, bool], ...], most: int) -> str:
    """Return the statement of the first matches, sorted; what is on the page is read whole."""
    names = "".join(f", f.key_{number}" for number in range(len(keys)))
    return (
        f"WITH few AS MATERIALIZED (SELECT r.pk, {_selected(keys)} FROM fhir_resource r"
        f" WHERE {gather} AND ({beyond}) LIMIT {most})"
        f" SELECT {COLUMNS}{names}, (SELECT count(*) FROM few) FROM"
        f" (SELECT * FROM few ORDER BY {_order(keys)} LIMIT {_MOST}) f"
        f" JOIN fhir_resource r ON r.pk = f.pk ORDER BY {_order(keys, 'f.')}"
    )


def _written(shape: _Shape) -> str:
    """Return the statement: the ways to read the page, of which one gives rows."""
    if not shape.steps:
        return _all_sorted(shape)
    filled = f"SELECT * FROM walk WHERE (SELECT count(*) FROM walk) = {_MOST}"
    return f"WITH {_walk(shape)} ({filled}) UNION ALL {_all_sorted(shape)}"


_few_sorted: Final = lru_cache(maxsize=1024)(_few_written)
_text: Final = lru_cache(maxsize=1024)(_written)


def _walk(shape: _Shape) -> str:
    """A page that is read in its order, or less of it where that takes too many rows."""
    [(expression, falls)] = shape.keys
    column = _WALKED[expression]
    by = f"{column}{_direction(falls)}, r.pk{_direction(falls)}"
    return (
        f"walk AS MATERIALIZED (SELECT {COLUMNS}, {column} AS key_0 FROM"
        f" (SELECT r.* FROM fhir_resource r WHERE {shape.of_type} AND ({shape.walks_beyond})"
        f" ORDER BY {by} LIMIT {shape.steps}) r"
        f" WHERE {shape.probe} ORDER BY {by} LIMIT {_MOST})"
    )


def _all_sorted(shape: _Shape) -> str:
    unfilled = f" AND (SELECT count(*) FROM walk) < {_MOST}" if shape.steps else ""
    return (
        f"(SELECT {COLUMNS}, {_selected(shape.keys)} FROM fhir_resource r"
        f" WHERE {shape.gather} AND ({shape.beyond}){unfilled}"
        f" ORDER BY {_order(shape.keys)} LIMIT {_MOST})"
    )


def _selected(keys: tuple[tuple[str, bool], ...]) -> str:
    return ", ".join(f"{expression} AS key_{number}" for number, (expression, _) in enumerate(keys))


def _order(keys: tuple[tuple[str, bool], ...], prefix: str = "") -> str:
    """Return the order by the selected keys and the row's number."""
    falling = [falls for _, falls in keys]
    by = [f"{prefix}key_{number}{_direction(falls)}" for number, falls in enumerate(falling)]
    return ", ".join([*by, f"{prefix}pk{_direction(falling[-1])}"])


def _direction(falls: bool) -> str:
    return " DESC" if falls else " ASC"
