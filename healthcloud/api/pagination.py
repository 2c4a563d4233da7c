"""Lists by keyset: an opaque signed cursor, a bounded limit, an exact total up to 10,000."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar, cast

from django.core import signing
from django.core.exceptions import ValidationError
from django.db.models import Field, Model, Q, QuerySet
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from healthcloud.errors import BadRequest
from healthcloud.numbers import number_of

DEFAULT_LIMIT: Final = 20
MAXIMUM_LIMIT: Final = 100
MAXIMUM_TOTAL: Final = 10_000
PAGE: Final = [
    OpenApiParameter(
        "limit", int, description=f"1 to {MAXIMUM_LIMIT}, {DEFAULT_LIMIT} without it."
    ),
    OpenApiParameter("cursor", str, description="`meta.cursor` of the page before."),
]
"""The query parameters of every list, as OpenAPI tells them."""

_signer = signing.Signer(salt="healthcloud.cursor")
Row = TypeVar("Row", bound=Model)


class InvalidCursor(BadRequest):
    """The cursor was not made by this list."""


def paginate(
    queryset: QuerySet[Row],
    request: Request,
    *,
    serialize: Callable[[Row], dict[str, object]],
    order: Sequence[str] = ("-created_at", "-id"),
) -> dict[str, object]:
    """Return `data` and `meta` for the page that the query's `limit` and `cursor` ask for.

    `order` names plain fields, the last of them unique; all ascending or all descending.
    Raises BadRequest for a limit or cursor that can't be read.
    """
    limit = requested_limit(request)
    names = [name.lstrip("-") for name in order]
    descending = order[0].startswith("-")
    cursor = request.query_params.get("cursor")
    wanted = queryset.order_by(*order)
    if cursor:
        wanted = wanted.filter(_after(queryset.model, names, cursor, descending=descending))
    rows = list(wanted[: limit + 1])
    page = rows[:limit]
    has_more = len(rows) > limit
    meta = {
        "cursor": _cursor(page[-1], names) if has_more else None,
        "has_more": has_more,
        "total": _total(queryset, first_page=not cursor, found=len(rows), limit=limit),
    }
    return {"data": [serialize(row) for row in page], "meta": meta}


def requested_limit(request: Request) -> int:
    """Return the query's `limit`, 20 without one; raise BadRequest outside 1 to 100."""
    limit = number_of(request.query_params.get("limit", str(DEFAULT_LIMIT)))
    if limit is not None and 1 <= limit <= MAXIMUM_LIMIT:
        return limit
    raise BadRequest(f"`limit` is a number from 1 to {MAXIMUM_LIMIT}.", param="limit")


def page_of(
    rows: Sequence[dict[str, object]], request: Request, *, key: str = "id"
) -> dict[str, object]:
    """Return a page of rows that are all in memory already, such as the asset catalog."""
    limit = requested_limit(request)
    cursor = request.query_params.get("cursor")
    start = 0
    if cursor:
        after = _unsign(cursor)[0]
        start = next((i for i, row in enumerate(rows) if row[key] == after), len(rows) - 1) + 1
    page = rows[start : start + limit]
    has_more = start + limit < len(rows)
    meta = {
        "cursor": _signed([str(page[-1][key])]) if has_more else None,
        "has_more": has_more,
        "total": len(rows),
    }
    return {"data": list(page), "meta": meta}


def _total(queryset: QuerySet[Row], *, first_page: bool, found: int, limit: int) -> int | None:
    if first_page and found <= limit:
        return found
    counted = queryset.order_by()[: MAXIMUM_TOTAL + 1].count()
    return counted if counted <= MAXIMUM_TOTAL else None


def _cursor(row: Model, names: Sequence[str]) -> str:
    model = type(row)
    return _signed([_field(model, name).value_to_string(row) for name in names])


def _field(model: type[Model], name: str) -> "Field[object, object]":
    field = model._meta.get_field(name)
    assert isinstance(field, Field), f"lists are ordered by plain fields, not by {name}"
    return field


def _signed(values: Sequence[str]) -> str:
    return _signer.sign_object(list(values))


def _unsign(cursor: str) -> list[str]:
    try:
        values = _signer.unsign_object(cursor)
    except (signing.BadSignature, ValueError) as error:
        raise InvalidCursor(
            "`cursor` is not one that this list gave out; start without it.", param="cursor"
        ) from error
    return cast("list[str]", values)


def _after(model: type[Model], names: Sequence[str], cursor: str, *, descending: bool) -> Q:
    """Return the condition for rows behind the cursor, in a form that can use the index."""
    texts = _unsign(cursor)
    if len(texts) != len(names):
        raise InvalidCursor("`cursor` belongs to another list.", param="cursor")
    try:
        values = [
            _field(model, name).to_python(text) for name, text in zip(names, texts, strict=True)
        ]
    except ValidationError as error:
        raise InvalidCursor("`cursor` belongs to another list.", param="cursor") from error
    side = "lt" if descending else "gt"
    condition = Q(**{f"{names[-1]}__{side}": values[-1]})
    for name, value in reversed(list(zip(names[:-1], values[:-1], strict=True))):
        within = Q(**{name: value}) & condition
        condition = Q(**{f"{name}__{side}e": value}) & (Q(**{f"{name}__{side}": value}) | within)
    return condition
