"""Search in a compartment: `Patient/123/Observation`.

https://hl7.org/fhir/R4/search.html#2.1.1.2
"""

from django.http import HttpResponse
from rest_framework.request import Request

from fhir.api.base import FhirView
from fhir.api.views.type import answer_request, parse_request
from fhir.identity import check_id, check_type
from fhir.search.compartments import in_compartment


class CompartmentView(FhirView):
    """`/v1/fhir/{compartment}/{id}/{type}`; the scope asked for is that of the type searched."""

    def scope_needed(self, method: str) -> str | None:
        """Return the scope of the type that is searched."""
        return f"{self.kwargs.get('searched', 'fhir')}:read"

    def get(self, request: Request, resource_type: str, id: str, searched: str) -> HttpResponse:
        """Search the type among the resources that belong to the compartment."""
        check_type(resource_type)
        check_type(searched)
        check_id(id)
        asked = parse_request(self, searched, self.query_pairs())
        limit = in_compartment(resource_type, id, searched)
        return answer_request(self, asked, f"{resource_type}/{id}/{searched}", limit)
