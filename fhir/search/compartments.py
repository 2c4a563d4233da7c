"""Compartments: what belongs to a patient, encounter, device, practitioner or related person.

https://hl7.org/fhir/R4/compartmentdefinition.html. Pure.
"""

from fhir.definitions import compartment_parameters, compartments, search_parameter
from fhir.search.errors import SearchRefused
from fhir.search.request import AnyCriterion, ParameterCriterion


def in_compartment(compartment: str, rid: str, resource_type: str) -> AnyCriterion:
    """Return the criterion that a resource of a type is in the compartment of an id.

    Raises SearchRefused when there is no such compartment, or the type is never in it.
    """
    if compartment not in compartments():
        raise SearchRefused(f"{compartment} is no compartment: {', '.join(compartments())} are.")
    codes = compartment_parameters(compartment).get(resource_type, ())
    parameters = [search_parameter(resource_type, code) for code in codes]
    alternatives = tuple(
        ParameterCriterion(resource_type, parameter, "", (f"{compartment}/{rid}",))
        for parameter in parameters
        if parameter is not None and parameter.type == "reference"
    )
    if not alternatives:
        raise SearchRefused(f"{resource_type} is never in the compartment of a {compartment}.")
    return AnyCriterion(resource_type, alternatives)
