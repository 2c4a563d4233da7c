"""What a query reads: one resource, a page of a search, what a reference points to.

https://hl7.org/fhir/R4/graphql.html#searching
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fhir import store
from fhir.documents import JsonObject
from fhir.errors import ResourceGone, ResourceNotFound
from fhir.graphql.errors import InvalidQuery
from fhir.indexing import own_base
from fhir.operations.operation import Call
from fhir.search.includes import included
from fhir.search.parser import parse
from fhir.search.request import Include, SearchRequest, types_touched
from fhir.search.service import SearchResult, run
from healthcloud.tenancy.scope import active_project

MAX_READS: Final = 2000


@dataclass(slots=True)
class Loader:
    """Reads for one query, each resource once; what a page refers to comes in one round trip."""

    call: Call
    known: dict[str, JsonObject | None] = field(default_factory=dict)
    reads: int = 0

    def read(self, resource_type: str, rid: str) -> JsonObject | None:
        """Return a resource, None where there is none."""
        self.call.require(f"{resource_type}:read")
        name = f"{resource_type}/{rid}"
        if name not in self.known:
            self._count(1)
            try:
                self.known[name] = store.read(resource_type=resource_type, id=rid).resource
            except (ResourceNotFound, ResourceGone):
                self.known[name] = None
        return self.known[name]

    def search(
        self, resource_type: str, arguments: Mapping[str, Any], *, follow: bool
    ) -> SearchResult:
        """Return one page; with `follow` what it refers to is read along."""
        self.call.require(f"{resource_type}:read")
        pairs = [(_parameter(name), _text(value)) for name, value in arguments.items()]
        request = parse(resource_type, pairs, strict=True)
        self.call.require(*(f"{name}:read" for name in sorted(types_touched(request))))
        found = run(request, now=self.call.now)
        self._count(len(found.entries))
        self.known.update({entry.reference: entry.resource for entry in found.entries})
        if follow:
            _, project = active_project()
            linked = SearchRequest(resource_type, includes=(Include("", "", ""),))
            others = included(linked, found.entries, project).resources
            self._count(len(others))
            self.known.update({other.reference: other.resource for other in others})
        return found

    def resolve(self, source: JsonObject, reference: JsonObject) -> JsonObject | None:
        """Return what a Reference points to: contained, or a resource of this server."""
        text = str(reference.get("reference", ""))
        if text.startswith("#"):
            contained = source.get("contained", ())
            return next((one for one in contained if one.get("id") == text[1:]), None)
        parts = text.removeprefix(own_base()).removeprefix(f"{self.call.base}/").split("/")
        if len(parts) < 2 or ":" in parts[0]:
            return None
        if not self.call.can(f"{parts[0]}:read"):
            return None
        return self.read(parts[0], parts[1])

    def _count(self, reads: int) -> None:
        self.reads += reads
        if self.reads > MAX_READS:
            raise InvalidQuery(
                f"The query reads more than {MAX_READS} resources: ask for less, or in pages."
            )


def _parameter(name: str) -> str:
    """Return the search parameter that an argument means: GraphQL names have no dash."""
    return name[0] + name[1:].replace("_", "-")


def _text(value: object) -> str:
    if isinstance(value, list):
        return ",".join(_text(item) for item in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
