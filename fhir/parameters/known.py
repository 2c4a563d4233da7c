"""The search parameters of a project's own, kept in the process by the number of their state.

Searches ask for the number first, and only where a parameter is none of R4's. Writes use what
the process knows; the statement that writes refuses rows where that is not the present state.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

from fhir.definitions import SearchParameter
from fhir.parameters import table
from fhir.parameters.definition import InvalidSearchParameter, read
from fhir.search.errors import UnknownSearchParameter
from fhir.search.extractors import Extractor, Reference, compile_extractor
from healthcloud.tenancy.scope import NoTenantScope, Scope, active_scope

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CustomParameters:
    """The parameters that a project adds to one type; those that wait are indexed by a job."""

    resource_type: str
    by_code: Mapping[str, SearchParameter]
    waiting: Mapping[str, str]

    @cached_property
    def extractor(self) -> Extractor:
        """Return the compiled extractor of all of them."""
        return compile_extractor(self.resource_type, self.by_code.values())


@dataclass(frozen=True)
class Known:
    """All parameters that a project added, at one state."""

    generation: int = 0
    by_type: Mapping[str, CustomParameters] = field(default_factory=dict)

    def extractor(self, resource_type: str) -> Extractor | None:
        """Return what extracts the added parameters of a type, None where there are none."""
        found = self.by_type.get(resource_type)
        return None if found is None else found.extractor

    def ready(self, resource_type: str) -> list[SearchParameter]:
        """Return the parameters of a type that searches may use."""
        found = self.by_type.get(resource_type)
        if found is None:
            return []
        return [p for code, p in found.by_code.items() if code not in found.waiting]

    def find(self, resource_type: str, code: str) -> SearchParameter | None:
        """Return a parameter of a type that searches may use."""
        return next((p for p in self.ready(resource_type) if p.code == code), None)

    def references_to(self, target: str) -> list[tuple[str, str]]:
        """Return type and code of every reference that may lead to a type."""
        return [
            (name, parameter.code)
            for name in self.by_type
            for parameter in self.ready(name)
            if parameter.type == "reference"
            and (not parameter.targets or target in parameter.targets)
        ]


NOTHING: Final = Known()
_known: dict[tuple[str, int], Known] = {}


def recall(scope: Scope) -> Known:
    """Return what this process knows of a project; it may be of a state that is over."""
    return _known.get((scope.schema, scope.project_number or 0), NOTHING)


def outdated(known: Known) -> Known | None:
    """Return the present state if it is another than a known one."""
    fresh = current()
    return fresh if fresh.generation != known.generation else None


def current() -> Known:
    """Return the present state of the active project's parameters; none without a project."""
    try:
        scope = active_scope()
    except NoTenantScope:
        return NOTHING
    project = scope.project_number
    if project is None:
        return NOTHING
    generation = table.generation(project)
    key = (scope.schema, project)
    if generation == 0:
        _known.pop(key, None)
        return NOTHING
    known = _known.get(key)
    if known is None or known.generation != generation:
        known = _known[key] = _read(generation, table.all_of(project))
    return known


def custom_parameter(resource_type: str, code: str) -> SearchParameter | None:
    """Return a parameter that the active project added to a type, None where there is none.

    Raises UnknownSearchParameter while what was stored before it is being indexed.
    """
    found = current().by_type.get(resource_type)
    if found is None or code not in found.by_code:
        return None
    if code in found.waiting:
        raise UnknownSearchParameter(
            f"`{code}` of {resource_type} can't be searched by yet: what was stored before it is"
            f" being indexed. GET /v1/fhir/_jobs/{found.waiting[code]} tells how far that is;"
            " where it was ended, POST /v1/fhir/$reindex.",
            param=code,
        )
    return found.by_code[code]


def custom_references(known: Known, resource: dict[str, Any]) -> list[Reference]:
    """Return the references of a resource by parameters that the project added."""
    extractor = known.extractor(resource["resourceType"])
    return [] if extractor is None else extractor(resource).references


def by_url(stored: Sequence[table.Stored], url: str, resource_type: str) -> SearchParameter | None:
    """Return the parameter with a canonical URL that adds to a type; composites are none."""
    for entry in stored:
        definition = entry.definition
        if definition["url"] == url and "component" not in definition:
            try:
                return read(definition, lambda other, kind: None, compiles=False).get(resource_type)
            except InvalidSearchParameter:
                return None
    return None


def _read(generation: int, stored: Sequence[table.Stored]) -> Known:
    codes: dict[str, dict[str, SearchParameter]] = {}
    waiting: dict[str, dict[str, str]] = {}
    for entry in stored:
        try:
            found = read(
                entry.definition, lambda url, kind: by_url(stored, url, kind), compiles=False
            )
        except InvalidSearchParameter as error:  # a component of it is gone
            logger.warning("search parameter left out", extra={"id": entry.rid, "why": str(error)})
            continue
        for resource_type, parameter in found.items():
            codes.setdefault(resource_type, {})[parameter.code] = parameter
            if entry.state != "ready":
                waiting.setdefault(resource_type, {})[parameter.code] = entry.job
    by_type = {
        name: CustomParameters(name, MappingProxyType(found), waiting.get(name, {}))
        for name, found in codes.items()
    }
    return Known(generation, MappingProxyType(by_type))
