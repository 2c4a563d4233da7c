"""Search parameters by resource type. https://hl7.org/fhir/R4/searchparameter-registry.html"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, Literal

from fhir.definitions.elements import structure
from fhir.definitions.files import read_data
from fhir.definitions.types import resource_types, type_number

ParameterType = Literal[
    "number",
    "date",
    "string",
    "token",
    "reference",
    "composite",
    "quantity",
    "uri",
    "special",
]


@dataclass(frozen=True, slots=True)
class Component:
    """A part of a composite parameter: its definition, and the path from the composite's focus.

    `parameter` is the definition itself where it is none of R4's.
    """

    definition: str
    expression: str
    parameter: "SearchParameter | None" = None


@dataclass(frozen=True, slots=True)
class SearchParameter:
    """A search parameter of one resource type.

    `base` is the type that declares it (the resource type, DomainResource or Resource).
    `expression` is the FHIRPath of this base only, or None for the ones that need special code
    (`_content`, `_text`, `_filter`, `_query`). `targets` are the types a reference may point to.
    """

    code: str
    type: ParameterType
    base: str
    url: str
    expression: str | None
    targets: tuple[str, ...]
    components: tuple[Component, ...]
    multiple_or: bool
    multiple_and: bool


@cache
def _data() -> dict[str, Any]:
    return read_data("search_parameters")


@cache
def search_parameters(resource_type: str) -> Mapping[str, SearchParameter]:
    """Answer the parameters of a type by code, with those of DomainResource and Resource.

    Raises UnknownResourceTypeError.
    """
    type_number(resource_type)
    found: dict[str, SearchParameter] = {}
    for base in _lineage(resource_type):
        for code, facts in _data().get(base, {}).items():
            found[code] = _parameter(code, base, facts)
    return MappingProxyType(dict(sorted(found.items())))


def search_parameter(resource_type: str, code: str) -> SearchParameter | None:
    """Answer one parameter of a type, or None where the type has no such code."""
    return search_parameters(resource_type).get(code)


@cache
def _urls() -> dict[str, tuple[str, str]]:
    return {
        facts["url"]: (base, code)
        for base, entries in _data().items()
        for code, facts in entries.items()
    }


def parameter_by_url(url: str) -> SearchParameter | None:
    """Answer the parameter that a canonical url names, for the first of its base types."""
    known = _urls().get(url)
    return _parameter(known[1], known[0], _data()[known[0]][known[1]]) if known else None


@cache
def reference_parameters(target: str) -> tuple[tuple[str, str], ...]:
    """Answer (resource type, code) of every reference parameter that may point to a type.

    This is the reverse lookup of `_has`, `_revinclude=*` and compartments.
    """
    return tuple(
        (resource_type, parameter.code)
        for resource_type in resource_types()
        for parameter in search_parameters(resource_type).values()
        if parameter.type == "reference" and (not parameter.targets or target in parameter.targets)
    )


@cache
def _lineage(resource_type: str) -> tuple[str, ...]:
    """The type with its ancestors, the most general first."""
    found = structure(resource_type)
    above = _lineage(found.base) if found and found.base else ()
    return (*above, resource_type)


def _parameter(code: str, base: str, facts: dict[str, Any]) -> SearchParameter:
    return SearchParameter(
        code=code,
        type=facts["type"],
        base=base,
        url=facts["url"],
        expression=facts.get("expression"),
        targets=tuple(facts.get("targets", ())),
        components=tuple(Component(*part) for part in facts.get("components", ())),
        # R4 says false for composites only, in contradiction to its own text on search, which
        # lets every parameter repeat and carry alternatives.
        multiple_or=True,
        multiple_and=True,
    )
