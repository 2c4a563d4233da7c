"""`fhir_search`: search resources of one type.

The output is `{"resources": [...], "included": [...], "total": n, "more": bool}`.
"""

from typing import Any

from fhir.search import search as fhir_search
from workflows.steps.errors import InvalidArgument
from workflows.steps.registry import Call, register


def search(call: Call) -> dict[str, Any]:
    """Run the search that `query` (`Type?parameters`) names."""
    text = call.arguments["query"]
    if not isinstance(text, str):
        raise InvalidArgument("with.query must be text such as `Observation?patient=pat_123`")
    resource_type, _, query = text.strip().lstrip("/").partition("?")
    found = fhir_search(resource_type=resource_type, query=query, now=call.now)
    return {
        "resources": [entry.resource for entry in found.entries],
        "included": [entry.resource for entry in found.included],
        "total": found.total,
        "more": found.next_query is not None,
    }


register("fhir_search", search, lockless=lambda arguments: True)
