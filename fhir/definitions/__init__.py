"""What FHIR R4 defines, loaded from the core package. https://hl7.org/fhir/R4/

Everything here is pure and read-only: types and their stable numbers, elements, search
parameters, compartments, value sets of required bindings, invariants. Data files are opened on
first use; `manage.py build_definitions` writes them.
"""

from fhir.definitions.compartments import (
    compartment_parameters,
    compartments,
    in_compartment,
)
from fhir.definitions.elements import Element, Structure, element, structure, structures
from fhir.definitions.parameters import (
    SearchParameter,
    parameter_by_url,
    reference_parameters,
    search_parameter,
    search_parameters,
)
from fhir.definitions.terminology import core_resource, core_urls
from fhir.definitions.types import (
    UnknownResourceTypeError,
    is_resource_type,
    resource_types,
    type_name,
    type_number,
)
from fhir.definitions.value_sets import implicit_system, value_set

__all__ = [
    "Element",
    "SearchParameter",
    "Structure",
    "UnknownResourceTypeError",
    "compartment_parameters",
    "compartments",
    "core_resource",
    "core_urls",
    "element",
    "implicit_system",
    "in_compartment",
    "is_resource_type",
    "parameter_by_url",
    "reference_parameters",
    "resource_types",
    "search_parameter",
    "search_parameters",
    "structure",
    "structures",
    "type_name",
    "type_number",
    "value_set",
]
