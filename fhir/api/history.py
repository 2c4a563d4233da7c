"""Query and links of histories. https://hl7.org/fhir/R4/http.html#history"""

from datetime import datetime
from typing import TypedDict
from urllib.parse import urlencode

from fhir.api.base import FhirView
from fhir.search.errors import SearchRefused
from fhir.search.extractors import date_range
from fhir.store import HistoryPage

_MAX_COUNT = 1000


class HistoryOptions(TypedDict):
    """What a request may ask of a history."""

    since: datetime | None
    at: datetime | None
    count: int
    before: int | None


def history_options(view: FhirView) -> HistoryOptions:
    """Return `_since`, `_at`, `_count` and the position of the page."""
    query = view.request.query_params
    count = _whole(query.get("_count"), "_count", 50)
    before = _whole(query.get("_before"), "_before", 0)
    return {
        "since": _moment(query.get("_since"), "_since"),
        "at": _moment(query.get("_at"), "_at"),
        "count": min(count, _MAX_COUNT),
        "before": before or None,
    }


def history_links(view: FhirView, page: HistoryPage) -> list[tuple[str, str]]:
    """Return the links `self` and, where more versions follow, `next`."""
    pairs = [(n, v) for n, v in view.query_pairs() if n not in {"_before", "project_id"}]
    path = view.request.path.removeprefix("/v1/fhir")
    own = view.request.query_params.get("_before")
    links = [("self", _address(view, path, [*pairs, ("_before", own)] if own else pairs))]
    if page.next_before is not None:
        following = [*pairs, ("_before", str(page.next_before))]
        links.append(("next", _address(view, path, following)))
    return links


def _address(view: FhirView, path: str, pairs: list[tuple[str, str]]) -> str:
    return f"{view.base}{path}" + (f"?{urlencode(pairs)}" if pairs else "")


def _whole(text: str | None, name: str, default: int) -> int:
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal()) or len(text) > 18:
        raise SearchRefused(f"`{name}` must be a whole number.", param=name)
    return int(text)


def _moment(text: str | None, name: str) -> datetime | None:
    if text is None:
        return None
    try:
        return date_range(text.replace(" ", "+"))[0]
    except (ValueError, OverflowError):
        raise SearchRefused(f"`{name}` must be an instant.", param=name) from None
