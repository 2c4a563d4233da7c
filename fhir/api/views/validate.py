"""$validate. https://hl7.org/fhir/R4/resource-operation-validate.html"""

from dataclasses import dataclass

from django.http import HttpResponse
from rest_framework.request import Request

from fhir import store
from fhir.api.base import FhirView
from fhir.checking import MODES, judge
from fhir.documents import JsonObject, parse
from fhir.errors import ResourceMismatch
from fhir.identity import check_type
from fhir.operations.parameters import Parameters
from fhir.validation import outcome
from healthcloud.errors import BadRequest


@dataclass(frozen=True, slots=True)
class Asked:
    """What a call asks: which resource (None: that of the address), against what, and for what."""

    resource: JsonObject | None
    mode: str | None
    profiles: tuple[str, ...]


class ValidateView(FhirView):
    """`$validate` on the system or a type; nothing is stored."""

    required_scopes = {"GET": "fhir:read", "POST": "fhir:read"}
    readonly = frozenset({"GET", "HEAD", "POST"})
    idempotent = frozenset()

    def post(self, request: Request, resource_type: str = "", id: str = "") -> HttpResponse:
        """Validate the resource that was sent, bare or as the parameter `resource`."""
        if resource_type:
            check_type(resource_type)
        asked = read_call(parse(self.sent()).data, self.query_pairs(), resource_type)
        return self.answer(verdict(asked, resource_type, id))


class InstanceValidateView(ValidateView):
    """`$validate` on an instance, which may also be read from the store."""

    def get(self, request: Request, resource_type: str, id: str) -> HttpResponse:
        """Validate the stored version."""
        check_type(resource_type)
        return self.answer(
            verdict(read_call(None, self.query_pairs(), resource_type), resource_type, id)
        )


def verdict(asked: Asked, resource_type: str, id: str) -> JsonObject:
    """Return the OperationOutcome with all issues of what was asked."""
    if asked.mode == "delete":
        if not id:
            raise BadRequest("mode=delete is for an instance: {type}/{id}/$validate.")
        store.read(resource_type=resource_type, id=id)
        return outcome([])
    data = asked.resource
    if data is None and id:
        data = store.read(resource_type=resource_type, id=id).resource
    if data is None:
        raise BadRequest("Send the resource, or Parameters with one named `resource`.")
    if resource_type and data.get("resourceType") != resource_type:
        raise ResourceMismatch(f"The body is no {resource_type}.", param="resourceType")
    return outcome(judge(data, profiles=asked.profiles, mode=asked.mode, id=id))


def read_call(body: JsonObject | None, query: list[tuple[str, str]], resource_type: str) -> Asked:
    """Read a body, Parameters of the operation or the resource itself, and a query."""
    if body is None:
        return _read(None, Parameters.from_query(query))
    if body.get("resourceType") == "Parameters":
        given = Parameters.from_resource(body, query)
        if "resource" in given or resource_type != "Parameters":
            return _read(given.resource("resource"), given)
    return _read(body, Parameters.from_query(query))


def _read(resource: JsonObject | None, given: Parameters) -> Asked:
    mode, profiles = given.text("mode"), tuple(dict.fromkeys(given.texts("profile")))
    if mode is not None and mode not in MODES:
        raise BadRequest(f"`mode` is one of {', '.join(MODES)}.", param="mode")
    if mode == "profile" and not profiles:
        raise BadRequest("mode=profile needs a `profile` to validate against.", param="profile")
    return Asked(resource, mode, profiles)
