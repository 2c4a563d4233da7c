"""CE and CWE to CodeableConcept: LOINC, SNOMED CT, and Quest's own test codes. Pure."""

from assets.sdk import Resource

from .messages import Coded

QUEST = "https://www.questdiagnostics.com"
LOCAL_CODES = f"{QUEST}/fhir/CodeSystem/test-code"
_SYSTEMS = {"LN": "http://loinc.org", "SCT": "http://snomed.info/sct", "L": LOCAL_CODES}


def concept(coded: Coded) -> Resource:
    """Return a CodeableConcept with both codings and the text."""
    codings = [
        _coding(coded.code, coded.text, coded.system),
        _coding(coded.other_code, coded.other_text, coded.other_system),
    ]
    result: Resource = {}
    kept = [coding for coding in codings if coding]
    if kept:
        result["coding"] = kept
    text = coded.text or coded.other_text or coded.key
    if text:
        result["text"] = text
    return result


def _coding(code: str, text: str, system: str) -> Resource:
    if not code:
        return {}
    url = _SYSTEMS.get(system, LOCAL_CODES)
    # The lab's wording is not LOINC's or SNOMED's display; it stays in the text.
    display = {"display": text} if text and url == LOCAL_CODES else {}
    return {"system": url, "code": code, **display}
