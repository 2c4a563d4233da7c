"""Release files of large code systems into the tenant's tables.

LOINC, SNOMED CT (RF2 snapshot), RxNorm (RRF) and CodeSystem resources. The files are their
owners': each organization brings those it is licensed for, and no other tenant sees them.
"""

from fhir.terminology.importing.files import MissingFile
from fhir.terminology.importing.loading import Loaded, Release, load
from fhir.terminology.importing.readers import FORMATS, read_release

__all__ = ["FORMATS", "Loaded", "MissingFile", "Release", "load", "read_release"]
