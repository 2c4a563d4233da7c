"""Extracts everything that searches can find a resource by. https://hl7.org/fhir/R4/search.html

The search parameters of a type are compiled, on its first use, from their FHIRPath into one plain
Python function; no FHIRPath is evaluated for a request.
"""

from functools import cache
from typing import Any

from fhir.definitions import resource_types, search_parameters
from fhir.instants import EARLIEST, LATEST, date_range
from fhir.search.extractors.compiler import Extractor, compile_extractor
from fhir.search.extractors.converters import split_reference
from fhir.search.extractors.expressions import UnsupportedExpressionError
from fhir.search.extractors.folding import fold
from fhir.search.extractors.values import (
    Composite,
    Date,
    Extracted,
    Number,
    Position,
    Quantity,
    Reference,
    String,
    Token,
    TypedIdentifier,
    Uri,
)

__all__ = [
    "EARLIEST",
    "LATEST",
    "Composite",
    "Date",
    "Extracted",
    "Extractor",
    "Number",
    "Position",
    "Quantity",
    "Reference",
    "String",
    "Token",
    "TypedIdentifier",
    "UnsupportedExpressionError",
    "Uri",
    "compile_extractor",
    "date_range",
    "extract",
    "extractor",
    "fold",
    "preload",
    "reference_extractor",
    "split_reference",
]


@cache
def extractor(resource_type: str) -> Extractor:
    """Answer the compiled extractor of a resource type (a few milliseconds the first time).

    Raises UnknownResourceTypeError.
    """
    return compile_extractor(resource_type, search_parameters(resource_type).values())


@cache
def reference_extractor(resource_type: str, code: str = "") -> Extractor:
    """Answer the extractor of one reference parameter of a type, or of all of them.

    Raises UnknownResourceTypeError.
    """
    known = search_parameters(resource_type).values()
    wanted = [p for p in known if p.type == "reference" and code in {"", p.code}]
    return compile_extractor(resource_type, wanted)


def extract(resource: dict[str, Any]) -> Extracted:
    """Extract all search values of a valid resource.

    Numbers may be int, float or Decimal; a float counts as its shortest decimal text.
    """
    return extractor(resource["resourceType"])(resource)


def preload() -> None:
    """Compile the extractors of every type, for servers that fork."""
    for resource_type in resource_types():
        extractor(resource_type)
