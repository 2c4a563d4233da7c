"""The TerminologyCapabilities: what the terminology operations know and take.

https://hl7.org/fhir/R4/terminologycapabilities.html
"""

from functools import lru_cache

from fhir.api.capability import DATE, VERSION
from fhir.definitions.terminology import core_urls
from fhir.documents import JsonObject
from fhir.operations.registry import named


@lru_cache(maxsize=8)
def terminology_capabilities(base: str) -> JsonObject:
    """Return the statement; a project's own code systems come besides those of R4."""
    return {
        "resourceType": "TerminologyCapabilities",
        "id": "healthcloud-terminology",
        "url": f"{base}/metadata?mode=terminology",
        "version": VERSION,
        "name": "HealthCloudTerminology",
        "title": "HealthCloud FHIR R4 terminology",
        "status": "active",
        "date": DATE,
        "publisher": "HealthCloud",
        "description": (
            "The code systems, value sets and concept maps of R4, those that a project stores, and"
            " releases of LOINC, SNOMED CT, RxNorm and others that were imported."
        ),
        "kind": "instance",
        "software": {"name": "HealthCloud", "version": VERSION},
        "implementation": {"description": "HealthCloud", "url": base},
        "lockedDate": False,
        "codeSystem": [
            {"uri": url, "version": [{"code": "4.0.1", "isDefault": True, "compositional": False}]}
            for url in core_urls("CodeSystem")
        ],
        "expansion": {
            "hierarchical": False,
            "paging": True,
            "incomplete": True,
            "parameter": [{"name": name} for name in _inputs("expand", "ValueSet")],
            "textFilter": "Each word begins a word of the display, of a designation or the code.",
        },
        "codeSearch": "explicit",
        "validateCode": {"translations": True},
        "translation": {"needsMap": True},
        "closure": {"translation": False},
    }


def _inputs(name: str, resource_type: str) -> list[str]:
    """Return the parameters of an operation of a type."""
    return sorted(
        given
        for operation in named(name)
        if operation.serves(resource_type)
        for given in operation.inputs
    )
