"""What stands at the top of a query, and what refers to a resource.

https://hl7.org/fhir/R4/graphql.html#searching
https://hl7.org/fhir/R4/graphql.html#reverse
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fhir.definitions import is_resource_type
from fhir.documents import JsonObject
from fhir.graphql.errors import InvalidQuery
from fhir.graphql.loading import Loader
from fhir.search.known import known_parameter
from fhir.search.service import SearchResult


@dataclass(slots=True)
class Roots:
    """Answers `Patient(id: …)`, `PatientList(…)` and `PatientConnection(…)`."""

    loader: Loader

    def answer(
        self, name: str, arguments: Mapping[str, Any], origin: JsonObject | None, *, follow: bool
    ) -> JsonObject | list[JsonObject] | None:
        """Return a resource (None where there is none), a list, or a connection as an object.

        Below a resource (`origin`) `_reference` names the parameter that refers to it.
        """
        resource_type, kind = _split(name)
        if kind == "":
            return self._read(resource_type, arguments)
        given = dict(arguments)
        if origin is not None:
            given |= _refers_to(resource_type, str(given.pop("_reference", "")), origin)
        if kind == "Connection":
            given.setdefault("_total", "accurate")
        found = self.loader.search(resource_type, given, follow=follow)
        if kind == "List":
            return [entry.resource for entry in found.entries]
        return _connection(found)

    def _read(self, resource_type: str, arguments: Mapping[str, Any]) -> JsonObject | None:
        if set(arguments) not in ({"id"}, {"_id"}):
            raise InvalidQuery(f"{resource_type} takes one argument: `id`.", param=resource_type)
        return self.loader.read(resource_type, str(*arguments.values()))


def _split(name: str) -> tuple[str, str]:
    for kind in ("Connection", "List", ""):
        resource_type = name.removesuffix(kind) if kind else name
        if name.endswith(kind) and is_resource_type(resource_type):
            return resource_type, kind
    raise InvalidQuery(
        f"There is no `{name}`: ask for a resource type, such as Patient(id: …), PatientList(…)"
        " or PatientConnection(…).",
        param=name,
    )


def _refers_to(resource_type: str, code: str, origin: JsonObject) -> dict[str, str]:
    parameter = known_parameter(resource_type, code.replace("_", "-"))
    if parameter is None or parameter.type != "reference":
        raise InvalidQuery(
            f"Say by which reference: {resource_type}List(_reference: patient).",
            param="_reference",
        )
    return {code: f"{origin['resourceType']}/{origin['id']}"}


def _connection(found: SearchResult) -> JsonObject:
    edges = [{"mode": "match", "score": None, "resource": e.resource} for e in found.entries]
    cursor = None
    if found.next_query:
        cursor = found.next_query.rpartition("_cursor=")[2]
    return {
        "count": found.total,
        "pagesize": found.request.count,
        "next": cursor,
        "edges": edges,
    }
