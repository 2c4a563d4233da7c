"""Validates FHIR R4 resources. https://hl7.org/fhir/R4/validation.html"""

from fhir.validation.issues import Issue, Severity, outcome
from fhir.validation.resources import is_valid, preload, validate

__all__ = ["Issue", "Severity", "is_valid", "outcome", "preload", "validate"]
