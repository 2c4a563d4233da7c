"""Turns places in JSON into simple FHIRPath. https://hl7.org/fhir/R4/fhirpath.html#simple"""

from collections.abc import Sequence
from functools import cache

from fhir.definitions import structure

Place = Sequence[str | int]

_INLINE = {"BackboneElement", "Element"}


def expression_at(resource_type: str, place: Place) -> str:
    """Answer the path of a place below a resource: `Observation.component[0].value`.

    The JSON names of choices (`valueQuantity`) and of extensions of primitives (`_status`)
    become the names of their elements.
    """
    parts = [resource_type]
    owner, inside = resource_type, ""
    for step in place:
        if isinstance(step, int):
            parts.append(f"[{step}]")
            continue
        name, owner, inside = _named(owner, inside).get(
            step, (step.removeprefix("_"), "Element", "")
        )
        parts.append(f".{name}")
    return "".join(parts)


@cache
def _named(owner: str, inside: str) -> dict[str, tuple[str, str, str]]:
    """Map JSON names below a structure to (element name, next structure, path in it)."""
    found = structure(owner)
    names: dict[str, tuple[str, str, str]] = {}
    for element in found.children(inside) if found else ():
        for key, kind in element.json_names():
            if element.content_of is not None:
                below = (owner, element.content_of)
            else:
                below = (owner, element.path) if kind in _INLINE else (kind, "")
            names[key] = (element.name, *below)
            names[f"_{key}"] = (element.name, "Element", "")
    return names
