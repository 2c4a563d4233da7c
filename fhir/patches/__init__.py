"""Patches of resources, read and applied. https://hl7.org/fhir/R4/http.html#patch

JSON Patch (RFC 6902), JSON Merge Patch (RFC 7386), XML Patch (RFC 5261) and FHIRPath Patch
(Parameters, in JSON or XML). Pure: what is patched is text and so is the result.
"""

from fhir.patches.reading import PATCH_FORMATS, Patch, read_patch
from fhir.patches.values import InvalidPatch, PatchFailed

__all__ = ["PATCH_FORMATS", "InvalidPatch", "Patch", "PatchFailed", "read_patch"]
