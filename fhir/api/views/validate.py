"""$validate. https://hl7.org/fhir/R4/resource-operation-validate.html"""

from collections.abc import Mapping

from django.http import HttpResponse
from rest_framework.request import Request

from fhir import store
from fhir.api.base import FhirView
from fhir.documents import JsonObject, parse
from fhir.errors import NotSupported, ResourceMismatch
from fhir.identity import check_type
from fhir.validation import Issue, outcome, validate
from healthcloud.errors import BadRequest


class ValidateView(FhirView):
    """`$validate` on the system or a type; nothing is stored."""

    required_scopes = {"GET": "fhir:read", "POST": "fhir:read"}
    readonly = frozenset({"GET", "HEAD", "POST"})
    idempotent = frozenset()

    def post(self, request: Request, resource_type: str = "", id: str = "") -> HttpResponse:
        """Validate the resource that was sent, bare or as the parameter `resource`."""
        data, mode, profile = _asked(parse(self.sent()).data, request.query_params)
        if profile:
            raise NotSupported("This server does not validate against profiles yet.")
        if mode == "delete":
            store.read(resource_type=resource_type, id=id)
            return self.answer(outcome([]))
        if resource_type:
            check_type(resource_type)
        if data is None:
            raise BadRequest("Send the resource, or Parameters with one named `resource`.")
        if resource_type and data.get("resourceType") != resource_type:
            raise ResourceMismatch(f"The body is no {resource_type}.", param="resourceType")
        return self.answer(outcome([*validate(data), *_mode_issues(data, mode, id)]))


class InstanceValidateView(ValidateView):
    """`$validate` on an instance, which may also be read from the store."""

    def get(self, request: Request, resource_type: str, id: str) -> HttpResponse:
        """Validate the stored version."""
        found = store.read(resource_type=resource_type, id=id)
        return self.answer(outcome(validate(found.resource)))


def _asked(
    body: JsonObject, query: Mapping[str, str]
) -> tuple[JsonObject | None, str | None, str | None]:
    """Return resource, mode and profile, from the query or from Parameters."""
    if body.get("resourceType") != "Parameters":
        return body, query.get("mode"), query.get("profile")
    given = {part.get("name"): part for part in body.get("parameter", ()) if isinstance(part, dict)}
    resource = given.get("resource", {}).get("resource")
    mode = given.get("mode", {}).get("valueCode", query.get("mode"))
    profile = given.get("profile", {}).get("valueUri", query.get("profile"))
    return resource, mode, profile


def _mode_issues(data: JsonObject, mode: str | None, rid: str) -> list[Issue]:
    kind = str(data.get("resourceType"))
    if mode == "update" and rid and data.get("id") != rid:
        return [Issue("error", "invalid", f"{kind}.id", f"The id must be `{rid}`.")]
    return []
