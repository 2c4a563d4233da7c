"""Compartments. https://hl7.org/fhir/R4/compartmentdefinition.html"""

from functools import cache
from typing import Any

from fhir.definitions.files import read_data


@cache
def _data() -> dict[str, Any]:
    return read_data("compartments")


@cache
def compartments() -> tuple[str, ...]:
    """Name the types that are a compartment: Device, Encounter, Patient, Practitioner, …"""
    return tuple(sorted(_data()))


@cache
def compartment_parameters(compartment: str) -> dict[str, tuple[str, ...]]:
    """Answer {resource type: parameter codes that put a resource into the compartment}.

    The resource type of the compartment itself may carry the pseudo parameter `{def}`, which R4
    uses to say "the resource itself"; it is left out here.
    """
    return {
        resource_type: tuple(code for code in codes if code != "{def}")
        for resource_type, codes in _data().get(compartment, {}).items()
    }


def in_compartment(compartment: str, resource_type: str) -> bool:
    """Say whether resources of a type can be in a compartment."""
    return resource_type in compartment_parameters(compartment)
