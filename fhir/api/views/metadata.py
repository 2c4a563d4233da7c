"""capabilities. https://hl7.org/fhir/R4/http.html#capabilities"""

import orjson
from django.http import HttpResponse
from rest_framework.request import Request

from fhir.api.base import FhirView
from fhir.api.capability import capability_statement
from fhir.api.terminology_capabilities import terminology_capabilities
from fhir.interactions.read import part_of
from fhir.stored import StoredResource
from healthcloud.errors import BadRequest


class MetadataView(FhirView):
    """`/v1/fhir/metadata`: open to all, as it holds no data."""

    permission_classes = ()
    audited = False
    project_required = frozenset()
    own_transaction = frozenset({"GET"})

    def get(self, request: Request) -> HttpResponse:
        """Answer the CapabilityStatement, all of which is normative, or TerminologyCapabilities."""
        mode = request.query_params.get("mode", "full")
        if mode not in {"full", "normative", "terminology"}:
            raise BadRequest("`mode` is full, normative or terminology.", param="mode")
        make = terminology_capabilities if mode == "terminology" else capability_statement
        content = orjson.dumps(make(self.base))
        kind = "TerminologyCapabilities" if mode == "terminology" else "CapabilityStatement"
        found = StoredResource(kind, "metadata", 1, self.now, content)
        return self.answer(part_of(found, self.query_pairs()))
