"""Profiles and value sets of the project at hand, for validation.

https://hl7.org/fhir/R4/profiling.html -- Runs inside a `tenant_scope` that names a project; the
project's own StructureDefinitions come before those of the core package.
"""

from collections import OrderedDict
from functools import lru_cache
from threading import Lock
from typing import Any, Final

from fhir.definitions import core_resource, type_number
from fhir.fhirpath import Budget
from fhir.sql import fetch
from fhir.terminology import NotComputable, TooCostly, UnknownCanonical, is_member
from fhir.terminology.canonical import find_resource, split
from fhir.terminology.value_sets import Composition, systems_of
from fhir.validation.profiles import Shape, compile_profile
from healthcloud.tenancy.scope import active_project, active_scope

# Each version of a StructureDefinition makes the sum greater, its deletion too.
_STAMP: Final = (
    "SELECT coalesce(sum(version), 0)::bigint, coalesce(max(updated), '-infinity')::text"
    " FROM fhir_resource WHERE project = %s::integer AND rtype = %s::smallint"
)
_KEPT: Final = 16
_MAX_WORK: Final = 2_000_000
_MAX_SECONDS: Final = 5.0

Known = tuple[dict[str, dict[str, Any] | None], dict[str, Shape | None]]
_known: "OrderedDict[tuple[object, ...], Known]" = OrderedDict()
_lock: Final = Lock()


class ProjectLibrary:
    """What one call looks up, each canonical once as long as no StructureDefinition changes."""

    def __init__(self) -> None:
        self.budget = Budget(_MAX_WORK, _MAX_SECONDS)
        self._definitions, self._shapes = _looked_up()
        self._systems: dict[str, frozenset[str]] = {}

    def definition(self, canonical: str) -> dict[str, Any] | None:
        """Return the StructureDefinition of a canonical url, None where it is not known."""
        if canonical not in self._definitions:
            url, version = split(canonical)
            self._definitions[canonical] = find_resource("StructureDefinition", url, version)
        return self._definitions[canonical]

    def shape(self, canonical: str) -> Shape | None:
        """Return a compiled profile, None where it is not known; raise ProfileError."""
        if canonical not in self._shapes:
            found = self.definition(canonical)
            if found is None:
                self._shapes[canonical] = None
            elif "id" not in found:  # the core package keeps no ids
                self._shapes[canonical] = _core_shape(canonical)
            else:
                self._shapes[canonical] = compile_profile(found, self.definition)
        return self._shapes[canonical]

    def is_member(self, value_set: str, system: str, code: str) -> bool | None:
        """Tell whether a code is in a value set, None where that can't be known."""
        try:
            return is_member(value_set, system, code)
        except (UnknownCanonical, NotComputable, TooCostly):
            return None

    def systems(self, value_set: str) -> frozenset[str]:
        """Return the code systems of a value set, as far as they are known."""
        if value_set not in self._systems:
            composition = Composition()
            try:
                found = systems_of(composition, composition.value_set(value_set))
            except (UnknownCanonical, NotComputable, TooCostly):
                found = []
            self._systems[value_set] = frozenset(found)
        return self._systems[value_set]


def _looked_up() -> Known:
    """Return what was looked up before in the project at hand, with its definitions as they are."""
    _, project = active_project()
    [stamp] = fetch(_STAMP, (project, type_number("StructureDefinition")))
    key = (active_scope().schema, project, *stamp)
    with _lock:
        found = _known.setdefault(key, ({}, {}))
        _known.move_to_end(key)
        while len(_known) > _KEPT:
            _known.popitem(last=False)
    return found


@lru_cache(maxsize=256)
def _core_shape(canonical: str) -> Shape | None:
    url = split(canonical)[0]
    found = core_resource("StructureDefinition", url)
    if found is None:
        return None
    return compile_profile(found, lambda base: core_resource("StructureDefinition", split(base)[0]))
