"""SMART's scopes on clinical data: `system/Observation.rs`, `user/*.cruds`, and version 1's forms.

https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html. Pure.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

EVERY_TYPE: Final = "*"
VERBS: Final = "cruds"
_FORM: Final = re.compile(
    r"(?:system|user)/(\*|[A-Z][A-Za-z]{1,63})\.(\*|read|write|(?=[cruds])c?r?u?d?s?)"
)
_FIRST_VERSION: Final = {"*": VERBS, "read": "rs", "write": "cud"}
_COARSE: Final = {"read": "rs", "write": "cud"}


class ClinicalScope(NamedTuple):
    """A type, or `*`, and the verbs: create, read, update, delete, search."""

    resource_type: str
    verbs: str


@lru_cache(maxsize=4096)
def parse_scope(text: str) -> ClinicalScope | None:
    """Return a clinical scope of SMART, None for anything else."""
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    return ClinicalScope(match[1], _FIRST_VERSION.get(match[2], match[2]))


def coarse_of(verb: str) -> str:
    """Return the platform's word for a verb: read or write."""
    return "read" if verb in _COARSE["read"] else "write"


def grants(scopes: Iterable[str], resource_type: str, verbs: str) -> bool:
    """Tell whether SMART's scopes among these grant any of the verbs on a type."""
    return any(
        found.resource_type in {EVERY_TYPE, resource_type} and any(v in found.verbs for v in verbs)
        for found in map(parse_scope, scopes)
        if found is not None
    )


def grants_coarsely(scopes: Iterable[str], scope: str) -> bool:
    """Tell whether SMART's scopes grant something of `Observation:read`, or `fhir:write`.

    Which verbs exactly is asked where the interaction is known.
    """
    name, _, access = scope.partition(":")
    verbs = _COARSE.get(access)
    if verbs is None or not (name == "fhir" or name[:1].isupper()):
        return False
    return grants(scopes, EVERY_TYPE if name == "fhir" else name, verbs)


def platform_scopes(scope: ClinicalScope) -> set[str]:
    """Return the platform's scopes that include a clinical scope."""
    name = "fhir" if scope.resource_type == EVERY_TYPE else scope.resource_type
    return {f"{name}:{coarse_of(verb)}" for verb in scope.verbs}
