"""capabilities. https://hl7.org/fhir/R4/http.html#capabilities"""

from django.http import HttpResponse
from rest_framework.request import Request

from fhir.api.base import FhirView
from fhir.api.capability import capability_statement
from fhir.errors import NotSupported


class MetadataView(FhirView):
    """`/v1/fhir/metadata`: open to all, as it holds no data."""

    permission_classes = ()
    audited = False
    project_required = frozenset()
    own_transaction = frozenset({"GET"})

    def get(self, request: Request) -> HttpResponse:
        """Answer the CapabilityStatement."""
        if request.query_params.get("mode", "full") != "full":
            raise NotSupported("This server answers `mode=full` only.")
        return self.answer(capability_statement(self.base))
