"""The parts of the OpenAPI document that every operation shares, and the examples."""

from dataclasses import dataclass
from typing import Any, Final

from healthcloud.api.principal import ALL_SCOPES

ERRORS: Final[dict[str, tuple[str, str]]] = {
    "400": ("bad_request", "The request can't be understood, or names no project."),
    "401": ("unauthorized", "No key, or one that is unknown, revoked or expired."),
    "403": ("forbidden", "The key lacks the scope, or belongs to the other environment."),
    "404": ("not_found", "Nothing of that id in this organization and environment."),
    "405": ("method_not_allowed", "The route has no such method."),
    "409": ("conflict", "The state of the thing does not allow this now."),
    "412": ("precondition_failed", "A condition in the headers does not hold."),
    "413": ("payload_too_large", "The body is larger than the limit."),
    "415": ("unsupported_media_type", "The body is not JSON."),
    "422": ("validation_error", "The body is well-formed and breaks a rule."),
    "429": ("rate_limited", "Too many requests; wait for `Retry-After` seconds."),
    "500": ("internal_error", "A fault of ours; nothing was changed."),
    "503": ("service_unavailable", "A part that the request needs is down; try again."),
}

FHIR_ERRORS: Final[dict[str, tuple[str, str]]] = {
    **ERRORS,
    "406": ("not_acceptable", "The server writes FHIR as JSON and XML, no other format."),
    "410": ("gone", "The resource was deleted."),
    "501": ("not_supported", "FHIR defines it, and this server does not do it yet."),
}

FHIR_ANSWERS: Final[dict[str, dict[str, str]]] = {
    "GET": {
        "200": "",
        "202": "Answered later (`Prefer: respond-async`): ask at `Content-Location`.",
        "304": "The version that `If-None-Match` names is current.",
    },
    "POST": {
        "200": "",
        "201": "The resource was created.",
        "202": "Answered later (`Prefer: respond-async`): ask at `Content-Location`.",
    },
    "PUT": {"200": "The resource was updated.", "201": "The resource was created."},
    "PATCH": {"200": "The resource was patched."},
    "DELETE": {"200": "", "202": "The job was canceled.", "204": "The resource is gone."},
}
"""What FHIR routes may answer, by method; an empty text stands for what the route returns."""

HEADERS: Final = (
    "HealthCloud-Organization-Id",
    "HealthCloud-Project-Id",
    "HealthCloud-Environment",
    "HealthCloud-Version",
    "X-Request-Id",
)

INTRODUCTION: Final = """\
Install → Configure → Deploy → Run healthcare applications.

A diagnostic app in five requests: `POST /v1/assets/install` (the Diagnostic Agent and an
integration), `PUT /v1/asset-installations/{id}/credentials`, `POST /v1/deployments`,
`POST /v1/workflows/run`, `GET /v1/events/stream`.

Every request carries `Authorization: Bearer hc_test_sk_…` (sandbox) or `hc_live_sk_…`
(production). Every answer carries `organization_id`, `project_id` and `environment`: in the body,
and in the headers `HealthCloud-Organization-Id`, `HealthCloud-Project-Id` and
`HealthCloud-Environment`. Errors have one shape, and their `message` says what to do.
"""

# In the order in which a newcomer meets them.
TAGS: Final[dict[str, str]] = {
    "organizations": "The caller's organization.",
    "projects": "Projects of the organization.",
    "assets": "The catalog, and installing from it.",
    "asset-installations": "Assets installed in a project: configuration, credentials, tests.",
    "integrations": "The integration catalog with the project's state of each.",
    "deployments": "Running systems: configured, released, started, stopped, rolled back.",
    "workflows": "Definitions and their runs.",
    "tasks": "Human approvals.",
    "agents": "Deployed agents and what they are doing.",
    "agent-runs": "Records of agents' work, with evidence.",
    "events": "What happened, as a list and as a live stream.",
    "event-types": "The types of events, with their payloads.",
    "stream-tickets": "Short-lived tickets, so that no key stands in an address.",
    "webhooks": "Events delivered to a server of yours, signed.",
    "fhir": "The FHIR R4 server.",
    "patients": "Patients: the FHIR search of that type.",
    "observations": "Observations: the FHIR search of that type.",
    "conditions": "Conditions: the FHIR search of that type.",
    "encounters": "Encounters: the FHIR search of that type.",
    "diagnostic-reports": "Diagnostic reports: the FHIR search of that type.",
    "users": "Members and their roles.",
    "invitations": "Offers of membership.",
    "api-keys": "Keys of the caller's environment.",
    "auth": "Short-lived tokens.",
    "audit-events": "Who did what to whose data.",
    "usage": "Requests, runs, resources and storage by day.",
}


def _text(description: str, example: str | None = None) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": ["string", "null"], "description": description}
    if example is not None:
        schema["examples"] = [example]
    return schema


_SCOPE_PROPERTIES: Final = {
    "organization_id": _text("The caller's organization.", "org_123"),
    "project_id": _text("The project of this answer, null without one.", "proj_abc"),
    "environment": {
        "type": ["string", "null"],
        "enum": ["sandbox", "production", None],
        "description": "The environment that the key belongs to.",
    },
}

_SCHEMAS: Final = {
    "ScopeMetadata": {
        "type": "object",
        "description": "Carried by every answer, null where the request has none.",
        "required": ["organization_id", "project_id", "environment"],
        "properties": _SCOPE_PROPERTIES,
    },
    "ListMeta": {
        "type": "object",
        "required": ["cursor", "has_more", "total"],
        "properties": {
            "cursor": _text("Send it as `cursor` for the next page; null on the last."),
            "has_more": {"type": "boolean"},
            "total": {
                "type": ["integer", "null"],
                "description": "Exact to 10,000, null beyond.",
            },
        },
    },
    "Error": {
        "type": "object",
        "required": ["error", "organization_id", "project_id", "environment"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "message", "param", "details", "request_id", "docs_url"],
                "properties": {
                    "code": {"type": "string", "enum": [code for code, _ in ERRORS.values()]},
                    "message": {"type": "string", "description": "Says what to do."},
                    "param": _text("The member, parameter or header that is wrong."),
                    "details": {"description": "More about it: a list, an object or null."},
                    "request_id": {"type": "string"},
                    "docs_url": {"type": "string", "format": "uri"},
                },
            },
            **_SCOPE_PROPERTIES,
        },
    },
    "OperationOutcome": {
        "type": "object",
        "required": ["resourceType", "issue"],
        "properties": {
            "resourceType": {"const": "OperationOutcome"},
            "issue": {"type": "array", "items": {"type": "object"}},
        },
    },
}

PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "Project": {
        "name": "HealthCloud-Project",
        "in": "header",
        "description": "The project, for organization-wide keys (or `project_id`).",
        "schema": {"type": "string"},
    },
    "Version": {
        "name": "HealthCloud-Version",
        "in": "header",
        "description": "The date of the API version wanted; echoed.",
        "schema": {"type": "string", "format": "date"},
    },
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Send a new UUID per request: repeated with the same body, the request has"
        " one effect, and its answer comes back for 24 hours.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    },
}

_HEADER_TEXTS: Final = {
    "HealthCloud-Organization-Id": "As `organization_id`; `null` where the request has none.",
    "HealthCloud-Project-Id": "As `project_id`; `null` where the request has none.",
    "HealthCloud-Environment": "As `environment`; `null` where the request has none.",
    "HealthCloud-Version": "The date of the API version.",
    "X-Request-Id": "The id of this request, in our logs too.",
}


def _error_response(status: str) -> dict[str, Any]:
    code, text = ERRORS[status]
    example = {
        "error": {
            "code": code,
            "message": text,
            "param": None,
            "details": None,
            "request_id": "req_06hzq3v0r2k8m5x1d7n4c9t0",
            "docs_url": f"https://healthcloud.solutions/docs/errors#{code}",
        },
        "organization_id": None if status == "401" else "org_123",
        "project_id": None if status == "401" else "proj_abc",
        "environment": None if status == "401" else "sandbox",
    }
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in HEADERS}
    media = {"schema": {"$ref": "#/components/schemas/Error"}, "example": example}
    return {"description": text, "headers": headers, "content": {"application/json": media}}


def _fhir_error_response(status: str) -> dict[str, Any]:
    media = {"schema": {"$ref": "#/components/schemas/OperationOutcome"}}
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in HEADERS}
    return {
        "description": FHIR_ERRORS[status][1],
        "headers": headers,
        "content": {"application/fhir+json": media},
    }


COMPONENTS: Final[dict[str, dict[str, Any]]] = {
    "schemas": _SCHEMAS,
    "parameters": PARAMETERS,
    "headers": {
        name: {"description": text, "schema": {"type": "string"}}
        for name, text in _HEADER_TEXTS.items()
    },
    "responses": {
        **{f"Error{status}": _error_response(status) for status in ERRORS},
        **{f"FhirError{status}": _fhir_error_response(status) for status in FHIR_ERRORS},
    },
    "securitySchemes": {
        "ApiKey": {
            "type": "http",
            "scheme": "bearer",
            "description": "`hc_test_sk_…` for the sandbox, `hc_live_sk_…` for production."
            f" Scopes: {', '.join(ALL_SCOPES)}.",
        },
        "AccessToken": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "A token of an hour from `POST /v1/auth/token`.",
        },
        "Session": {
            "type": "apiKey",
            "in": "cookie",
            "name": "healthcloud-session",
            "description": "Studio's session; writes need the header `X-CSRFToken`.",
        },
    },
}


@dataclass(frozen=True, slots=True)
class Example:
    """A real request of an operation, and what it is answered."""

    request: dict[str, Any] | None = None
    response: dict[str, Any] | None = None


_SCOPE: Final = {"organization_id": "org_123", "project_id": "proj_123", "environment": "sandbox"}

EXAMPLES: Final[dict[tuple[str, str], Example]] = {
    ("POST", "/v1/assets/install"): Example(
        {"asset_id": "agent_prior_auth_v1", "project_id": "proj_123"}
    ),
    ("POST", "/v1/deployments"): Example(
        {
            "asset_id": "agent_prior_auth_v1",
            "environment": "production",
            "config": {"payer_api": "cms_prior_auth"},
        }
    ),
    ("POST", "/v1/workflows/run"): Example(
        {"workflow_id": "uti_screening", "input": {"patient_id": "pat_123"}}
    ),
    ("POST", "/v1/projects"): Example(
        {"name": "UTI Screening", "metadata": {"team": "primary care"}},
        {
            **_SCOPE,
            "id": "proj_123",
            "object": "project",
            "name": "UTI Screening",
            "slug": "uti-screening",
            "status": "active",
            "blueprint": None,
            "metadata": {"team": "primary care"},
            "created_at": "2026-11-22T20:15:00.000000Z",
        },
    ),
    ("POST", "/v1/api-keys"): Example(
        {
            "name": "Nightly screening",
            "project_id": "proj_123",
            "scopes": ["fhir:read", "workflows:run"],
            "expires_at": "2027-11-22T00:00:00Z",
        }
    ),
    ("POST", "/v1/organizations"): Example({"name": "Riverside Health"}),
    ("PATCH", "/v1/organizations/{organization_id}"): Example({"name": "Riverside Health"}),
    ("PATCH", "/v1/projects/{project_id}"): Example({"status": "archived"}),
    ("PATCH", "/v1/users/{user_id}"): Example({"role": "clinician"}),
    ("POST", "/v1/invitations"): Example({"email": "bob@example.com", "role": "developer"}),
    ("POST", "/v1/invitations/accept"): Example({"token": "Zk3…"}),
    ("POST", "/v1/auth/token"): Example(
        {"scope": ["fhir:read", "workflows:run"]},
        {
            **_SCOPE,
            "access_token": "eyJ…",
            "token_type": "Bearer",
            "expires_in": 3600,
            "scope": "fhir:read workflows:run",
        },
    ),
    ("POST", "/v1/webhooks"): Example(
        {"url": "https://example.com/hooks", "types": ["workflow.completed", "diagnostic.*"]}
    ),
}
