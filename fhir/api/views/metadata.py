"""capabilities. https://hl7.org/fhir/R4/http.html#capabilities"""

import orjson
from django.http import HttpResponse
from rest_framework.request import Request

from fhir import parameters
from fhir.api.base import FhirView
from fhir.api.capability import capability_statement, with_parameters
from fhir.api.terminology_capabilities import terminology_capabilities
from fhir.interactions.read import part_of
from fhir.stored import StoredResource
from healthcloud.errors import BadRequest
from healthcloud.tenancy.scope import tenant_scope


class MetadataView(FhirView):
    """`/v1/fhir/metadata`: open to all; to a key of a project it also tells what that added."""

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
        statement = make(self.base)
        if mode != "terminology" and self._principal is not None:
            with tenant_scope(self.scope):
                statement = with_parameters(statement, parameters.current())
        content = orjson.dumps(statement)
        kind = "TerminologyCapabilities" if mode == "terminology" else "CapabilityStatement"
        found = StoredResource(kind, "metadata", 1, self.now, content)
        return self.answer(part_of(found, self.query_pairs()))
