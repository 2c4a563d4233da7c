"""What a SMART client must know of this server.

https://hl7.org/fhir/smart-app-launch/conformance.html#using-well-known
"""

from typing import Final

import orjson
from django.http import HttpResponse
from rest_framework.request import Request

from fhir.api.base import FhirView
from healthcloud.organizations.clients import ALGORITHMS
from healthcloud.organizations.oauth import token_address

CAPABILITIES: Final = ("client-confidential-asymmetric", "permission-v1", "permission-v2")


class SmartConfigurationView(FhirView):
    """`/v1/fhir/.well-known/smart-configuration`: open to all, as it holds no data."""

    permission_classes = ()
    audited = False
    project_required = frozenset()
    own_transaction = frozenset({"GET"})

    def get(self, request: Request) -> HttpResponse:
        """Answer the addresses and what they can do."""
        body = {
            "token_endpoint": token_address(),
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
            "scopes_supported": ["system/*.cruds", "system/*.rs"],
            "capabilities": list(CAPABILITIES),
        }
        return HttpResponse(orjson.dumps(body), content_type="application/json")
