"""Where R4's definitions and the examples that R4 itself publishes contradict each other.

The examples are normative enough to be stored by every server and faulty enough to be refused:
here the wider reading of the two is accepted, and the narrower one is a warning.
https://hl7.org/fhir/R4/observation-example-clinical-gender.html and the pages named below
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

TARGETS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    # https://hl7.org/fhir/R4/observation-example-clinical-gender.html
    ("Observation", "performer"): ("Encounter",),
    # https://hl7.org/fhir/R4/deviceusestatement-example.html; R5 allows it.
    ("DeviceUseStatement", "reasonReference"): ("Procedure",),
    # https://hl7.org/fhir/R4/devicemetric-example.html
    ("DeviceMetric", "parent"): ("DeviceDefinition",),
    # https://hl7.org/fhir/R4/medicationrequest0301.html
    ("MedicationRequest", "dispenseRequest.performer"): ("Practitioner",),
}
"""Reference targets by (type, path) that an official example uses beside those of the element."""

EXTENDED_SETS: Final = frozenset({"http://hl7.org/fhir/ValueSet/guide-parameter-code"})
"""Value sets of required bindings that HL7's own publisher adds codes to (`copyrightyear`): the
ImplementationGuide of every guide for R4, US Core first, has some.
"""


def names_no_display(questionnaire: Mapping[str, Any]) -> bool:
    """Say whether a questionnaire gives none of its several display items a linkId.

    https://hl7.org/fhir/R4/questionnaire-qs1.html does so: nothing refers to a display. A single
    display without linkId, among others that have one, is a fault.
    """
    displays = [item for item in _items(questionnaire) if item.get("type") == "display"]
    return len(displays) > 1 and not any("linkId" in item for item in displays)


def _items(owner: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    items = owner.get("item")
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict):
            yield item
            yield from _items(item)
