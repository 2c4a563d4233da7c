"""Questions of search and validation: `:in`, `:not-in`, `:above`, `:below`, required codes."""

from typing import Any, Final

from fhir.terminology.canonical import require_system
from fhir.terminology.system import CodeSystem
from fhir.terminology.value_sets import Composition

MAX_BELOW: Final = 20_000
"""How many codes `:below` may stand for."""


def codes_in(value_set: str | dict[str, Any]) -> frozenset[tuple[str, str]]:
    """Return `(system, code)` of all that is in a value set, by canonical url or as a resource.

    Raises UnknownCanonical, NotComputable, and TooCostly above 50,000 codes.
    """
    composition = Composition()
    resource = composition.value_set(value_set) if isinstance(value_set, str) else value_set
    return frozenset(composition.members(resource))


def is_member(value_set: str | dict[str, Any], system: str, code: str) -> bool:
    """Tell whether a code is in a value set; large sets are not expanded for it."""
    composition = Composition()
    resource = composition.value_set(value_set) if isinstance(value_set, str) else value_set
    return composition.find(resource, system, code) is not None


def descendants(system: str, code: str, *, limit: int = MAX_BELOW) -> frozenset[str]:
    """Return a code and all codes below it, for `:below`. Raises UnknownCanonical, TooCostly."""
    known = require_system(system)
    return known.descendants(_spelled(known, code), limit=limit) | {code}


def ancestors(system: str, code: str) -> frozenset[str]:
    """Return a code and all codes above it, for `:above`. Raises UnknownCanonical."""
    known = require_system(system)
    return known.ancestors(_spelled(known, code)) | {code}


def subsumes(system: CodeSystem, first: str, second: str) -> str:
    """Return how the first code stands to the second, as `$subsumes` names it."""
    if first == second:
        return "equivalent"
    if first in system.ancestors(second):
        return "subsumes"
    if second in system.ancestors(first):
        return "subsumed-by"
    return "not-subsumed"


def _spelled(system: CodeSystem, code: str) -> str:
    found = system.find(code)
    return found.code if found else code
