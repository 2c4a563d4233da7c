"""The sections of the International Patient Summary: what each holds and how it reads.

https://hl7.org/fhir/uv/ips/STU1.1/Structure-of-the-International-Patient-Summary.html
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from fhir.documents import JsonObject

LOINC: Final = "http://loinc.org"
EMPTY: Final = "http://terminology.hl7.org/CodeSystem/list-empty-reason"
_WRONG: Final = frozenset({"entered-in-error"})
_UNDONE: Final = frozenset({"entered-in-error", "not-done"})


@dataclass(frozen=True, slots=True)
class Section:
    """A section: its LOINC code, the searches that fill it (without the patient), and its columns.

    `required` ones stand in every summary, with a reason where they are empty. `without` are
    statuses that are left out; `most` limits each search, the newest first.
    """

    code: str
    display: str
    title: str
    queries: Sequence[tuple[str, str]]
    required: bool = False
    without: frozenset[str] = _WRONG
    most: int = 100


_CLINICAL: Final = "http://terminology.hl7.org/CodeSystem/condition-clinical"
_ACTIVE: Final = ",".join(f"{_CLINICAL}|{code}" for code in ("active", "recurrence", "relapse"))
_PAST: Final = ",".join(f"{_CLINICAL}|{code}" for code in ("inactive", "remission", "resolved"))
_TAKEN: Final = "status=active,intended,unknown,on-hold"
_PREGNANCY: Final = ",".join(
    f"{LOINC}|{code}"
    for code in ("82810-3", "11778-8", "11779-6", "11780-4", "11636-8", "11637-6", "11640-0")
)

SECTIONS: Final = (
    Section(
        "48765-2",
        "Allergies and adverse reactions Document",
        "Allergies and Intolerances",
        [("AllergyIntolerance", "")],
        required=True,
    ),
    Section(
        "10160-0",
        "History of Medication use Narrative",
        "Medication Summary",
        [("MedicationStatement", _TAKEN), ("MedicationRequest", "status=active,unknown,on-hold")],
        required=True,
    ),
    Section(
        "11450-4",
        "Problem list - Reported",
        "Problem List",
        [("Condition", f"clinical-status={_ACTIVE}")],
        required=True,
    ),
    Section(
        "11369-6",
        "History of Immunization Narrative",
        "Immunizations",
        [("Immunization", "")],
        without=_UNDONE,
    ),
    Section(
        "47519-4",
        "History of Procedures Document",
        "History of Procedures",
        [("Procedure", "")],
        without=_UNDONE,
    ),
    Section(
        "46264-8", "History of medical device use", "Medical Devices", [("DeviceUseStatement", "")]
    ),
    Section(
        "30954-2",
        "Relevant diagnostic tests/laboratory data Narrative",
        "Diagnostic Results",
        [
            ("Observation", "category=laboratory&_sort=-date"),
            ("DiagnosticReport", "_sort=-date"),
        ],
        without=_WRONG | {"cancelled"},
    ),
    Section(
        "8716-3",
        "Vital signs",
        "Vital Signs",
        [("Observation", "category=vital-signs&_sort=-date")],
        without=_WRONG | {"cancelled"},
        most=50,
    ),
    Section(
        "11348-0",
        "History of Past illness Narrative",
        "History of Past Illness",
        [("Condition", f"clinical-status={_PAST}")],
    ),
    Section(
        "18776-5",
        "Plan of care note",
        "Plan of Care",
        [("CarePlan", "status=active,on-hold,unknown")],
    ),
    Section(
        "29762-2",
        "Social history Narrative",
        "Social History",
        [("Observation", "category=social-history&_sort=-date")],
        without=_WRONG | {"cancelled"},
    ),
    Section(
        "10162-6",
        "History of pregnancies Narrative",
        "Pregnancy",
        [("Observation", f"code={_PREGNANCY}&_sort=-date")],
        without=_WRONG | {"cancelled"},
    ),
    Section(
        "47420-5",
        "Functional status assessment note",
        "Functional Status",
        [("ClinicalImpression", "")],
    ),
    Section(
        "42348-3",
        "Advance directives",
        "Advance Directives",
        [("Consent", "status=active")],
    ),
)


def is_left_out(section: Section, resource: JsonObject) -> bool:
    """Tell whether a resource does not belong into a summary by its status."""
    statuses = {resource.get("status")}
    statuses |= {coding.get("code") for coding in _codings(resource.get("verificationStatus", {}))}
    return bool(statuses & section.without)


def _codings(concept: JsonObject) -> Sequence[JsonObject]:
    found: Sequence[JsonObject] = concept.get("coding", ())
    return found


def concept_text(concept: JsonObject | None) -> str:
    """Return a CodeableConcept as people read it."""
    if not concept:
        return ""
    for coding in _codings(concept):
        if coding.get("display") and not concept.get("text"):
            return str(coding["display"])
    codes = (coding["code"] for coding in _codings(concept) if "code" in coding)
    return str(concept.get("text") or next(codes, ""))


_NAMED_BY: Final = (
    *("code", "medicationCodeableConcept", "vaccineCode", "category", "provision"),
    *("description", "title", "summary"),
)


def _name(resource: JsonObject) -> str:
    for member in _NAMED_BY:
        value = resource.get(member)
        if isinstance(value, str):
            return value
        if isinstance(value, list):
            value = value[0] if value else None
        if isinstance(value, dict) and (text := concept_text(value)):
            return text
    for member in ("medicationReference", "device"):
        if member in resource:
            return str(resource[member].get("display") or resource[member].get("reference", ""))
    return str(resource["resourceType"])


def _when(resource: JsonObject) -> str:
    for member in _DATES:
        value = resource.get(member)
        if isinstance(value, dict):
            value = value.get("start")
        if isinstance(value, str):
            return value[:10]
    return ""


_DATES: Final = (
    *("effectiveDateTime", "effectivePeriod", "onsetDateTime", "onsetPeriod"),
    *("occurrenceDateTime", "performedDateTime", "performedPeriod", "timingDateTime"),
    *("authoredOn", "dateTime", "date", "period", "recordedDate", "recordedOn", "issued"),
)


def _quantity(value: JsonObject) -> str:
    unit = value.get("unit") or value.get("code") or ""
    return f"{value.get('comparator', '')}{value.get('value', '')} {unit}".strip()


def _range(value: JsonObject) -> str:
    return f"{_quantity(value.get('low', {}))} - {_quantity(value.get('high', {}))}"


_VALUES: Final[Mapping[str, Callable[[JsonObject], str]]] = {
    "valueQuantity": _quantity,
    "valueCodeableConcept": concept_text,
    "valueRange": _range,
}


def _value(resource: JsonObject) -> str:
    for member, show in _VALUES.items():
        if member in resource:
            return show(resource[member])
    for member in ("valueString", "valueInteger", "valueBoolean", "valueDateTime"):
        if member in resource:
            return str(resource[member])
    parts = [f"{_name(part)}: {_value(part)}" for part in resource.get("component", ())]
    return "; ".join(parts) or _dosage(resource)


def _dosage(resource: JsonObject) -> str:
    given = [*resource.get("dosage", ()), *resource.get("dosageInstruction", ())]
    reactions = [
        concept_text(manifestation)
        for reaction in resource.get("reaction", ())
        for manifestation in reaction.get("manifestation", ())
    ]
    texts = [
        str(dosage["text"]) for dosage in given if isinstance(dosage, dict) and "text" in dosage
    ]
    return "; ".join([*texts, *reactions])


def _state(resource: JsonObject) -> str:
    status = concept_text(resource.get("clinicalStatus")) or str(resource.get("status", ""))
    return status.replace("-", " ")


_COLUMNS: Final[Mapping[str, Callable[[JsonObject], str]]] = {
    "What": _name,
    "Value": _value,
    "Status": _state,
    "When": _when,
}


def narrative(title: str, resources: Iterable[JsonObject]) -> JsonObject:
    """Return the text of a section: a table of its resources, without the columns nobody fills."""
    rows = [{name: show(resource) for name, show in _COLUMNS.items()} for resource in resources]
    names = [name for name in _COLUMNS if any(row[name] for row in rows)]
    if not rows:
        return _text(f"<p>{escape(title)}: no information available.</p>")
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(row[name])}</td>" for name in names) + "</tr>"
        for row in rows
    )
    return _text(
        f"<table><caption>{escape(title)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )


def _text(inner: str) -> JsonObject:
    return {
        "status": "generated",
        "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{inner}</div>',
    }
