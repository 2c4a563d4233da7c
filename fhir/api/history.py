"""Query and links of histories. https://hl7.org/fhir/R4/http.html#history"""

from urllib.parse import urlencode

from fhir.api.access import require
from fhir.api.base import FhirView
from fhir.interactions.history import HistoryOptions, HistoryPage, read_options


def history_options(view: FhirView) -> HistoryOptions:
    """Return `_since`, `_at`, `_count`, `_sort`, `_list` and the position of the page."""
    if "_list" in view.request.query_params:
        require(view.principal, "List:read")
    return read_options(view.request.query_params)


def history_links(view: FhirView, page: HistoryPage) -> list[tuple[str, str]]:
    """Return the links `self`, `first` and, where more versions follow, `next`."""
    pairs = [(n, v) for n, v in view.query_pairs() if n not in {"_after", "project_id"}]
    path = view.request.path.removeprefix("/v1/fhir")
    own = view.request.query_params.get("_after")
    links = [("self", _address(view, path, [*pairs, ("_after", own)] if own else pairs))]
    links.append(("first", _address(view, path, pairs)))
    if page.next_after is not None:
        following = [*pairs, ("_after", str(page.next_after))]
        links.append(("next", _address(view, path, following)))
    return links


def _address(view: FhirView, path: str, pairs: list[tuple[str, str]]) -> str:
    return f"{view.base}{path}" + (f"?{urlencode(pairs)}" if pairs else "")
