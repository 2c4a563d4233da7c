"""The functions of FHIRPath. https://hl7.org/fhirpath/N1/#functions"""

from collections.abc import Mapping
from typing import Final

from fhir.fhirpath.functions.collections import COLLECTIONS
from fhir.fhirpath.functions.conversions import CONVERSIONS
from fhir.fhirpath.functions.fhir import FHIR
from fhir.fhirpath.functions.function import Function
from fhir.fhirpath.functions.numbers import NUMBERS
from fhir.fhirpath.functions.strings import STRINGS

__all__ = ["FUNCTIONS", "Function"]

FUNCTIONS: Final[Mapping[str, Function]] = {
    **COLLECTIONS,
    **STRINGS,
    **NUMBERS,
    **CONVERSIONS,
    **FHIR,
}
