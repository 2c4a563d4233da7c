"""Validates FHIR R4 resources. https://hl7.org/fhir/R4/validation.html"""

from fhir.validation.issues import Issue, Severity, outcome
from fhir.validation.resources import inner_resources, is_valid, moved, preload, validate

__all__ = [
    "Issue",
    "Severity",
    "inner_resources",
    "is_valid",
    "moved",
    "outcome",
    "preload",
    "validate",
]
