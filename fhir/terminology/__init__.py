"""Terminology: code systems, value sets, concept maps. https://hl7.org/fhir/R4/terminologies.html

What other rooms ask is here; `fhir.operations` has the operations. All of it runs inside a
`tenant_scope` that names a project.
"""

from fhir.terminology.canonical import find_system, require_system
from fhir.terminology.errors import NotComputable, TooCostly, UnknownCanonical, UnknownCode
from fhir.terminology.membership import ancestors, codes_in, descendants, is_member, subsumes

__all__ = [
    "NotComputable",
    "TooCostly",
    "UnknownCanonical",
    "UnknownCode",
    "ancestors",
    "codes_in",
    "descendants",
    "find_system",
    "is_member",
    "require_system",
    "subsumes",
]
