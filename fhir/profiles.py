"""Profiles and value sets of the project at hand, for validation.

https://hl7.org/fhir/R4/profiling.html -- Runs inside a `tenant_scope` that names a project; the
project's own StructureDefinitions come before those of the core package.
"""

from functools import lru_cache
from typing import Any

from fhir.definitions import core_resource
from fhir.terminology import NotComputable, TooCostly, UnknownCanonical, is_member
from fhir.terminology.canonical import find_resource, split
from fhir.terminology.value_sets import Composition, systems_of
from fhir.validation.profiles import Shape, compile_profile


class ProjectLibrary:
    """What one call looks up, each canonical once."""

    def __init__(self) -> None:
        self._definitions: dict[str, dict[str, Any] | None] = {}
        self._shapes: dict[str, Shape | None] = {}
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


@lru_cache(maxsize=256)
def _core_shape(canonical: str) -> Shape | None:
    url = split(canonical)[0]
    found = core_resource("StructureDefinition", url)
    if found is None:
        return None
    return compile_profile(found, lambda base: core_resource("StructureDefinition", split(base)[0]))
