"""The clinical store: FHIR R4 (4.0.1), https://hl7.org/fhir/R4/.

The PyPI package fhir.resources lives in a package of the same name; extending the path lets
agents and tests import its R4B models beside the store's own modules.
"""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
