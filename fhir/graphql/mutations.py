"""`PatientCreate`, `PatientUpdate` and `PatientDelete`, and so for every type.

https://hl7.org/fhir/R4/graphql.html#mutations
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fhir import store
from fhir.api.access import require_subscription, require_verb
from fhir.api.outcomes import information
from fhir.definitions import is_resource_type
from fhir.documents import JsonObject, from_dict
from fhir.graphql.errors import InvalidQuery
from fhir.operations.operation import Call
from fhir.writing import refuse_invalid

_VERBS: Final = {"Create": "c", "Update": "u", "Delete": "d"}
_TAKEN: Final = {"Create": {"resource"}, "Update": {"id", "resource"}, "Delete": {"id"}}


@dataclass(frozen=True, slots=True)
class Mutations:
    """Writes what a mutation says, by the rules of the RESTful interactions."""

    call: Call

    def do(self, name: str, arguments: Mapping[str, Any]) -> JsonObject:
        """Do one field of a mutation; return `resource`, `location` and `information`."""
        resource_type, kind = _split(name)
        require_verb(self.call.principal, resource_type, _VERBS[kind])
        if set(arguments) != _TAKEN[kind]:
            taken = " and ".join(sorted(_TAKEN[kind]))
            raise InvalidQuery(f"{name} takes {taken}.", param=name)
        if kind == "Delete":
            return self._delete(resource_type, str(arguments["id"]))
        resource = arguments["resource"]
        if not isinstance(resource, dict):
            raise InvalidQuery("`resource` is an object.", param="resource")
        resource = {"resourceType": resource_type, **resource}
        if resource_type == "Subscription":
            refuse_invalid(from_dict(resource))  # what is read below must be there
            require_subscription(self.call.principal, resource)
        if kind == "Create":
            written = store.create(
                resource=resource, resource_type=resource_type, actor=self.call.actor,
                now=self.call.now,
            )  # fmt: skip
        else:
            rid = str(arguments["id"])
            written = store.update(
                resource={"id": rid, **resource}, resource_type=resource_type, id=rid,
                actor=self.call.actor, now=self.call.now,
            )  # fmt: skip
        verb = "created" if written.created else "updated"
        return {
            "location": f"{self.call.base}/{written.versioned_reference}",
            "resource": written.resource,
            "information": information(f"{written.versioned_reference} was {verb}."),
        }

    def _delete(self, resource_type: str, rid: str) -> JsonObject:
        version = store.delete(
            resource_type=resource_type, id=rid, actor=self.call.actor, now=self.call.now
        )
        what = "is deleted" if version else "never was"
        return {"information": information(f"{resource_type}/{rid} {what}.")}


def _split(name: str) -> tuple[str, str]:
    for kind in _VERBS:
        resource_type = name.removesuffix(kind)
        if name.endswith(kind) and is_resource_type(resource_type):
            return resource_type, kind
    raise InvalidQuery(
        f"There is no mutation `{name}`: there are PatientCreate, PatientUpdate, PatientDelete and"
        " so for every type.",
        param=name,
    )
