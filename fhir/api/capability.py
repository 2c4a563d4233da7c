"""The CapabilityStatement: what this server does, from the code that does it.

https://hl7.org/fhir/R4/capabilitystatement.html
"""

from functools import lru_cache
from typing import Final

from fhir.api.negotiation import FHIR_JSON, FHIR_XML
from fhir.definitions import (
    SearchParameter,
    reference_parameters,
    resource_types,
    search_parameters,
)
from fhir.documents import JsonObject
from fhir.interactions.delete import most_deleted
from fhir.operations.operation import Operation
from fhir.operations.registry import of_system, of_type
from fhir.parameters import Known
from fhir.patches import PATCH_FORMATS
from fhir.search.criterion import is_searchable
from fhir.subscriptions.binding import address
from fhir.subscriptions.topics import advertised
from healthcloud.organizations.oauth import endpoints

_INTERACTIONS: Final = (
    *("read", "vread", "update", "patch", "delete"),
    *("history-instance", "history-type", "create", "search-type"),
)
_SYSTEM_INTERACTIONS: Final = ("transaction", "batch", "search-system", "history-system")
_SYSTEM_PARAMETERS: Final = (
    *(("_type", "token"), ("_has", "string"), ("_list", "string"), ("_filter", "special")),
    *(("_count", "number"), ("_sort", "string"), ("_total", "token"), ("_summary", "token")),
    *(("_elements", "string"), ("_include", "string"), ("_revinclude", "string")),
)
_OAUTH: Final = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_BULK_DATA: Final = "http://hl7.org/fhir/uv/bulkdata/CapabilityStatement/bulk-data"
_SERVICE: Final = "http://terminology.hl7.org/CodeSystem/restful-security-service"
_WEBSOCKET: Final = "http://hl7.org/fhir/StructureDefinition/capabilitystatement-websocket"
_TOPIC: Final = (
    "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition"
    "/capability-subscriptiontopic-canonical"
)
DATE: Final = "2026-11-22"
VERSION: Final = "0.1.0"


@lru_cache(maxsize=8)
def capability_statement(base: str) -> JsonObject:
    """Return the statement for the address at which the server was reached."""
    return {
        "resourceType": "CapabilityStatement",
        "id": "healthcloud",
        "url": f"{base}/metadata",
        "version": VERSION,
        "name": "HealthCloud",
        "title": "HealthCloud FHIR R4 server",
        "status": "active",
        "date": DATE,
        "publisher": "HealthCloud",
        "kind": "instance",
        "instantiates": [_BULK_DATA],
        "software": {"name": "HealthCloud", "version": VERSION},
        "implementation": {"description": "HealthCloud", "url": base},
        "fhirVersion": "4.0.1",
        "format": [FHIR_JSON, FHIR_XML, "json", "xml"],
        "patchFormat": [*PATCH_FORMATS],
        "rest": [_rest(base)],
    }


def with_parameters(statement: JsonObject, known: Known) -> JsonObject:
    """Return the statement with what a project added to the search parameters of R4."""
    if not known.by_type:
        return statement
    [rest] = statement["rest"]
    resources = [_with_parameters(entry, known) for entry in rest["resource"]]
    return {**statement, "rest": [{**rest, "resource": resources}]}


def _with_parameters(entry: JsonObject, known: Known) -> JsonObject:
    name = entry["type"]
    added, reverse = known.ready(name), known.references_to(name)
    if not added and not reverse:
        return entry
    includes = [f"{name}:{p.code}" for p in added if p.type == "reference"]
    return {
        **entry,
        "searchInclude": [*entry["searchInclude"], *includes],
        "searchRevInclude": [
            *entry["searchRevInclude"],
            *(f"{source}:{code}" for source, code in reverse),
        ],
        "searchParam": [*entry["searchParam"], *(_parameter(parameter) for parameter in added)],
    }


def _rest(base: str) -> JsonObject:
    return {
        "mode": "server",
        "security": {
            "cors": True,
            "extension": [{"url": _OAUTH, "extension": _oauth_uris()}],
            "service": [{"coding": [{"system": _SERVICE, "code": "SMART-on-FHIR"}]}],
            "description": (
                "Bearer API keys with the scopes fhir:read and fhir:write, or of one type such as"
                " Observation:read. A key sees one organization's environment; requests name a"
                " project by their key, the header HealthCloud-Project or project_id."
            ),
        },
        "resource": [_resource(name) for name in resource_types()],
        "extension": [{"url": _WEBSOCKET, "valueUri": address(base)}],
        "interaction": [{"code": code} for code in _SYSTEM_INTERACTIONS],
        "searchParam": [
            *(_parameter(p) for p in search_parameters("Basic").values() if _is_common(p)),
            *({"name": name, "type": kind} for name, kind in _SYSTEM_PARAMETERS),
        ],
        "operation": _operations(of_system()),
    }


def _oauth_uris() -> list[JsonObject]:
    names = {
        "authorize": "authorization_endpoint",
        "token": "token_endpoint",
        "introspect": "introspection_endpoint",
        "revoke": "revocation_endpoint",
        "manage": "management_endpoint",
    }
    known = endpoints()
    return [{"url": name, "valueUri": known[key]} for name, key in names.items()]


def _topics() -> list[JsonObject]:
    return [{"url": _TOPIC, "valueCanonical": topic.url} for topic in advertised()]


def _resource(name: str) -> JsonObject:
    known = [p for p in search_parameters(name).values() if is_searchable(p)]
    return {
        "type": name,
        **({"extension": _topics()} if name == "Subscription" else {}),
        "profile": f"http://hl7.org/fhir/StructureDefinition/{name}",
        "interaction": [{"code": code} for code in _INTERACTIONS],
        "versioning": "versioned-update",
        "readHistory": True,
        "updateCreate": True,
        "conditionalCreate": True,
        "conditionalRead": "full-support",
        "conditionalUpdate": True,
        "conditionalDelete": "multiple" if most_deleted() > 1 else "single",
        "referencePolicy": ["literal", "logical", "local"],
        "searchInclude": ["*", *(f"{name}:{p.code}" for p in known if p.type == "reference")],
        "searchRevInclude": [f"{source}:{code}" for source, code in reference_parameters(name)],
        "searchParam": [_parameter(parameter) for parameter in known],
        "operation": _operations(of_type(name)),
    }


def _is_common(parameter: SearchParameter) -> bool:
    """Tell whether all types have a parameter, so that a search over all may use it."""
    return parameter.base in {"Resource", "DomainResource"} and is_searchable(parameter)


def _operations(served: list[Operation]) -> list[JsonObject]:
    """Return the operations of a level, sorted."""
    found = [{"name": operation.name, "definition": operation.url} for operation in served]
    return sorted(found, key=lambda entry: (entry["name"], entry["definition"]))


def _parameter(parameter: SearchParameter) -> JsonObject:
    return {"name": parameter.code, "definition": parameter.url, "type": parameter.type}
