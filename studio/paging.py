"""Pages of a list, addressed in the URL by how many rows came before."""

from collections.abc import Sequence
from typing import TypeVar

from django.db.models import Model, QuerySet

from healthcloud.numbers import number_of
from studio.page import Page

SIZE = 25
DEEPEST = 10_000
Row = TypeVar("Row", bound=Model)


def page_of(page: Page, rows: QuerySet[Row], *, size: int = SIZE) -> tuple[Sequence[Row], str]:
    """Return the rows of the page asked for, and the address of the next one or an empty text."""
    start = _start(page.request.GET.get("from", ""))
    found = list(rows[start : start + size + 1])
    if len(found) <= size:
        return found, ""
    query = page.request.GET.copy()
    query["from"] = str(start + size)
    return found[:size], f"?{query.urlencode()}"


def _start(text: str) -> int:
    return min(number_of(text) or 0, DEEPEST)
