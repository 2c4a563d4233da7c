"""Reads FHIR resources for people: names, ages, codes, values, ranges and dates. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from textwrap import shorten
from typing import Any

from studio.charts import Spark, spark

Resource = Mapping[str, Any]
"""A FHIR R4 resource as parsed JSON."""

DATE_FIELDS = (
    "effectiveDateTime",
    "effectiveInstant",
    "onsetDateTime",
    "recordedDate",
    "authoredOn",
    "occurrenceDateTime",
    "performedDateTime",
    "issued",
    "date",
    "created",
    "authored",
    "start",
    "birthDate",
)
PERIOD_FIELDS = ("period", "effectivePeriod", "performedPeriod", "onsetPeriod", "occurrencePeriod")
CODE_FIELDS = ("code", "medicationCodeableConcept", "vaccineCode", "type", "class", "method")


def name_of(resource: Resource) -> str:
    """Return a person's or organization's name: official first, then whatever there is."""
    names = resource.get("name")
    if isinstance(names, str):
        return names
    if not isinstance(names, list) or not names:
        return f"{resource.get('resourceType', 'Resource')} {resource.get('id', '')}".strip()
    best = next((name for name in names if name.get("use") == "official"), names[0])
    parts = [*best.get("given", []), best.get("family", "")]
    return best.get("text") or " ".join(part for part in parts if part) or "Unnamed"


def birth_date(patient: Resource) -> date | None:
    """Return the birth date when the day is known."""
    try:
        return date.fromisoformat(str(patient.get("birthDate", "")))
    except ValueError:
        return None


def age_of(patient: Resource, today: date) -> int | None:
    """Return the age in whole years on a day, or None when the birth date is unknown."""
    born = birth_date(patient)
    if born is None:
        return None
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))


def text_of(concept: object) -> str:
    """Return a CodeableConcept or Coding for people: text, display, or the bare code."""
    if isinstance(concept, list):
        return ", ".join(filter(None, (text_of(item) for item in concept)))
    if not isinstance(concept, Mapping):
        return str(concept) if concept else ""
    codings: Sequence[Resource] = concept.get("coding") or [concept]
    shown = next((item["display"] for item in codings if item.get("display")), None)
    return concept.get("text") or shown or next((c["code"] for c in codings if c.get("code")), "")


def title_of(resource: Resource) -> str:
    """Return what a resource is about, in a few words."""
    if resource.get("resourceType") in {"Patient", "Practitioner", "Organization", "Location"}:
        return name_of(resource)
    for field in CODE_FIELDS:
        if text := text_of(resource.get(field)):
            return text
    return str(resource.get("resourceType", "Resource"))


def when_of(resource: Resource) -> str | None:
    """Return the clinically relevant moment as FHIR wrote it: a date, or a date with time."""
    for field in DATE_FIELDS:
        if value := resource.get(field):
            return str(value)
    for field in PERIOD_FIELDS:
        if value := (resource.get(field) or {}).get("start"):
            return str(value)
    return None


def moment_of(resource: Resource) -> datetime | date | None:
    """Return `when_of` as a datetime or, where FHIR gives only a day, a date."""
    text = when_of(resource)
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text) if "T" in text else date.fromisoformat(text)
    except ValueError:
        return None


def value_of(observation: Resource) -> str:
    """Return an observation's value with its unit, or those of its components."""
    quantity = observation.get("valueQuantity")
    if quantity:
        value = quantity.get("value")
        shown = f"{value:g}" if isinstance(value, int | float) else str(value)
        return f"{quantity.get('comparator', '')}{shown} {quantity.get('unit', '')}".strip()
    for field in ("valueCodeableConcept", "valueString", "valueDateTime", "valueInteger"):
        if field in observation:
            return text_of(observation[field])
    if "valueBoolean" in observation:
        return "Yes" if observation["valueBoolean"] else "No"
    return " / ".join(filter(None, (value_of(part) for part in observation.get("component", []))))


def status_of(resource: Resource) -> str:
    """Return the status that matters clinically: clinicalStatus before status."""
    return text_of(resource.get("clinicalStatus")) or str(resource.get("status", ""))


def sort_key(resource: Resource) -> str:
    """Return text that orders resources by time; what has no date comes last when reversed."""
    return when_of(resource) or ""


@dataclass(frozen=True, slots=True)
class LabSeries:
    """One laboratory test over time, oldest value first, with the latest for display."""

    title: str
    latest: Resource
    value: str
    interpretation: str
    range_text: str
    chart: Spark | None
    count: int


def lab_series(observations: Iterable[Resource]) -> list[LabSeries]:
    """Group laboratory observations by what they measure; the latest measured come first."""
    groups: dict[str, list[Resource]] = {}
    for observation in observations:
        groups.setdefault(title_of(observation), []).append(observation)
    series = [_series(title, sorted(group, key=sort_key)) for title, group in groups.items()]
    return sorted(series, key=lambda item: sort_key(item.latest), reverse=True)


def _series(title: str, observations: list[Resource]) -> LabSeries:
    latest = observations[-1]
    ranges = latest.get("referenceRange") or [{}]
    low, high = (_number(ranges[0].get(side)) for side in ("low", "high"))
    numbers = [n for o in observations if (n := _number(o.get("valueQuantity"))) is not None]
    return LabSeries(
        title=title,
        latest=latest,
        value=value_of(latest),
        interpretation=text_of(latest.get("interpretation")),
        range_text=ranges[0].get("text") or _range_text(low, high),
        chart=spark(numbers[-24:], low=low, high=high),
        count=len(observations),
    )


def _number(quantity: Resource | None) -> float | None:
    value = (quantity or {}).get("value")
    return float(value) if isinstance(value, int | float) else None


def _range_text(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"{low:g}–{high:g}"
    if high is not None:
        return f"up to {high:g}"
    return f"from {low:g}" if low is not None else ""


def record_number(patient: Resource) -> str:
    """Return the medical record number (type MR), else the first identifier."""
    identifiers = patient.get("identifier") or []
    numbered = [i for i in identifiers if _is_record_number(i.get("type"))]
    return next((str(i["value"]) for i in [*numbered, *identifiers] if i.get("value")), "")


def _is_record_number(concept: Resource | None) -> bool:
    return any(coding.get("code") == "MR" for coding in (concept or {}).get("coding", []))


def patient_id_of(resource: Resource) -> str:
    """Return the id of the patient whom a resource is about, or an empty text."""
    if resource.get("resourceType") == "Patient":
        return str(resource.get("id", ""))
    for field in ("subject", "patient"):
        reference = str((resource.get(field) or {}).get("reference", ""))
        if reference.startswith("Patient/"):
            return reference.split("/")[1]
    return ""


def detail_of(resource: Resource) -> str:
    """Return what adds to the title: a value, a prediction, a reason, a class."""
    kind = resource.get("resourceType")
    if kind == "Observation":
        return value_of(resource)
    if kind == "RiskAssessment":
        predictions = resource.get("prediction") or [{}]
        return text_of(predictions[0].get("qualitativeRisk")) or text_of(
            predictions[0].get("outcome")
        )
    if kind == "Encounter":
        return text_of(resource.get("reasonCode")) or text_of(resource.get("class"))
    if kind == "DiagnosticReport":
        return shorten(str(resource.get("conclusion", "")), 120, placeholder=" …")
    return ""
