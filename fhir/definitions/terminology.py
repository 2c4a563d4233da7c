"""Code systems, value sets, concept maps and profiles of the core package, without their prose.

https://hl7.org/fhir/R4/terminologies-systems.html
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, Literal

from fhir.definitions.files import read_data

Kind = Literal["CodeSystem", "ValueSet", "ConceptMap", "StructureDefinition"]

_FILES: Final[Mapping[Kind, str]] = {
    "CodeSystem": "code_systems",
    "ValueSet": "value_set_definitions",
    "ConceptMap": "concept_maps",
    "StructureDefinition": "profiles",
}


@cache
def _data(kind: Kind) -> dict[str, Any]:
    return read_data(_FILES[kind])


def core_resource(kind: Kind, url: str) -> dict[str, Any] | None:
    """Answer a code system, value set, concept map or profile of R4 by url, None without one."""
    facts = _data(kind).get(url)
    return None if facts is None else {"resourceType": kind, "url": url, **facts}


@cache
def core_urls(kind: Kind) -> tuple[str, ...]:
    """Name every resource of a kind by its url, sorted."""
    return tuple(_data(kind))
