"""What a SMART client must know of this server.

https://hl7.org/fhir/smart-app-launch/conformance.html#using-well-known
"""

from typing import Final

import orjson
from django.conf import settings
from django.http import HttpResponse
from rest_framework.request import Request

from fhir.api.base import FhirView
from healthcloud.organizations.clients import ALGORITHMS
from healthcloud.organizations.oauth import endpoints
from healthcloud.organizations.smart.scopes import CONTEXT_SCOPES

CAPABILITIES: Final = (
    *("launch-ehr", "launch-standalone", "authorize-post"),
    *("client-public", "client-confidential-symmetric", "client-confidential-asymmetric"),
    *("sso-openid-connect", "context-banner", "context-ehr-patient", "context-ehr-encounter"),
    *("context-standalone-patient", "permission-offline", "permission-online"),
    *("permission-patient", "permission-user", "permission-v1", "permission-v2"),
)
_CLINICAL: Final = (
    *("patient/*.cruds", "patient/*.rs", "user/*.cruds", "user/*.rs"),
    *("system/*.cruds", "system/*.rs"),
)


class SmartConfigurationView(FhirView):
    """`/v1/fhir/.well-known/smart-configuration`: open to all, as it holds no data."""

    permission_classes = ()
    audited = False
    project_required = frozenset()
    own_transaction = frozenset({"GET"})

    def get(self, request: Request) -> HttpResponse:
        """Answer the addresses and what they can do."""
        body = {
            "issuer": settings.BASE_URL,
            **endpoints(),
            "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
            "scopes_supported": [*CONTEXT_SCOPES, *_CLINICAL],
            "capabilities": list(CAPABILITIES),
        }
        return HttpResponse(orjson.dumps(body), content_type="application/json")
