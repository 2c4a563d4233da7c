"""Query and links of histories. https://hl7.org/fhir/R4/http.html#history"""

from fhir.api.access import require
from fhir.api.base import FhirView
from fhir.interactions.history import HistoryOptions, HistoryPage, page_links, read_options


def history_options(view: FhirView) -> HistoryOptions:
    """Return `_since`, `_at`, `_count`, `_sort`, `_list` and the position of the page."""
    if "_list" in view.request.query_params:
        require(view.principal, "List:read")
    return read_options(view.request.query_params)


def history_links(view: FhirView, page: HistoryPage) -> list[tuple[str, str]]:
    """Return the links of a page, without what names the project."""
    sent = [(name, value) for name, value in view.query_pairs() if name != "project_id"]
    return page_links(f"{view.base}{view.request.path.removeprefix('/v1/fhir')}", sent, page)
