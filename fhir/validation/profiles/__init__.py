"""Validates resources against profiles. https://hl7.org/fhir/R4/profiling.html

A StructureDefinition becomes a tree of shapes (`compiling`), which items of a resource are held
against (`checking`). What must be looked up, other profiles and value sets, is asked of a Library.
"""

from fhir.validation.profiles.compiling import ProfileError, compile_profile
from fhir.validation.profiles.extensions import extension_issues
from fhir.validation.profiles.library import Library
from fhir.validation.profiles.profile_check import profile_issues
from fhir.validation.profiles.shapes import Shape

__all__ = [
    "Library",
    "ProfileError",
    "Shape",
    "compile_profile",
    "extension_issues",
    "profile_issues",
]
