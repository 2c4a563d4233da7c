"""Search in a compartment: `Patient/123/Observation`, `Patient/123/*`.

https://hl7.org/fhir/R4/search.html#2.1.1.2 and https://hl7.org/fhir/R4/http.html#vsearch
"""

from django.http import HttpResponse
from rest_framework.request import Request

from fhir.api.searching import answer_compartment, posted_pairs
from fhir.api.views.type import SearchingView


class CompartmentView(SearchingView):
    """`/v1/fhir/{compartment}/{id}/{type}`; the scope asked for is that of the type searched.

    Where the type is `*` or left out (`{id}/_search`), all types are searched.
    """

    def scope_needed(self, method: str) -> str | None:
        """Return the scope of the type that is searched."""
        searched = str(self.kwargs.get("searched", "*"))
        return f"{'fhir' if searched == '*' else searched}:read"

    def get(
        self, request: Request, resource_type: str, id: str, searched: str = "*"
    ) -> HttpResponse:
        """Search among the resources that belong to the compartment."""
        return answer_compartment(self, resource_type, id, searched, self.query_pairs())


class CompartmentSearchView(CompartmentView):
    """`/v1/fhir/{compartment}/{id}/{type}/_search` and `/v1/fhir/{compartment}/{id}/_search`."""

    def post(
        self, request: Request, resource_type: str, id: str, searched: str = "*"
    ) -> HttpResponse:
        """Search among the resources that belong to the compartment."""
        return answer_compartment(self, resource_type, id, searched, posted_pairs(self))
