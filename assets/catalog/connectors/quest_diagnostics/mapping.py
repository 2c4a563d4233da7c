"""From a parsed result message to FHIR: DiagnosticReport, Observation, Specimen, ServiceRequest.

Follows the HL7 v2-to-FHIR implementation guide (ORU_R01, segment maps OBR, OBX, NTE, SPM). Ids are
hashes of the filler number and what was measured, so a message that comes twice, or is corrected,
lands on the same resources. Pure.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from assets.sdk import Resource, stable_id

from .codes import QUEST, concept
from .messages import (
    OruMessage,
    PersonName,
    ReportGroup,
    ResultLine,
    fhir_datetime,
)
from .values import result_value

FILLER_SYSTEM = f"{QUEST}/fhir/sid/filler-number"
PLACER_SYSTEM = f"{QUEST}/fhir/sid/placer-number"
IDENTIFIER_TYPES = "http://terminology.hl7.org/CodeSystem/v2-0203"
INTERPRETATION = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
_REPORT_STATUS = {
    "O": "registered",
    "I": "registered",
    "S": "registered",
    "A": "partial",
    "R": "partial",
    "P": "preliminary",
    "F": "final",
    "C": "corrected",
    "X": "cancelled",
}
_OBSERVATION_STATUS = {
    "I": "registered",
    "O": "registered",
    "S": "preliminary",
    "R": "preliminary",
    "P": "preliminary",
    "F": "final",
    "C": "corrected",
    "W": "entered-in-error",
    "D": "entered-in-error",
    "X": "cancelled",
    "N": "cancelled",
    "U": "final",
}
_FLAGS = {
    "L": "Low",
    "H": "High",
    "LL": "Critical low",
    "HH": "Critical high",
    "<": "Off scale low",
    ">": "Off scale high",
    "N": "Normal",
    "A": "Abnormal",
    "AA": "Critical abnormal",
    "S": "Susceptible",
    "R": "Resistant",
    "I": "Intermediate",
    "POS": "Positive",
    "NEG": "Negative",
}
_RANGE = re.compile(r"^\s*(-?\d+(?:\.\d+)?)\s*-\s*(-?\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class MappedGroup:
    """The resources of one OBR."""

    report: Resource
    observations: tuple[Resource, ...]
    specimen: Resource | None
    order: Resource | None

    def all(self) -> list[Resource]:
        """Return them, those that others refer to first."""
        first = [item for item in (self.order, self.specimen) if item is not None]
        return [*first, *self.observations, self.report]


def map_group(
    message: OruMessage, group: ReportGroup, patient: str, *, order: str | None
) -> MappedGroup:
    """Return the resources of one OBR for `patient` (`Patient/…`).

    `order` is the ServiceRequest here that the placer number names; when the order was not placed
    here, one is made from the ORC and OBR so that the report has what it is based on.
    """
    specimen = _specimen(group, patient)
    made_order = None if order or not group.placer else _order(group, patient)
    based_on = order or (f"ServiceRequest/{made_order['id']}" if made_order else None)
    observations = tuple(
        _observation(group, line, identity, patient, specimen)
        for line, identity in _identified(group)
    )
    report = _report(message, group, patient, observations)
    if specimen is not None:
        report["specimen"] = [{"reference": f"Specimen/{specimen['id']}"}]
    if based_on:
        report["basedOn"] = [{"reference": based_on}]
    return MappedGroup(report, observations, specimen, made_order)


def _report(
    message: OruMessage, group: ReportGroup, patient: str, observations: Sequence[Resource]
) -> Resource:
    report: Resource = {
        "resourceType": "DiagnosticReport",
        "id": report_id(group),
        "identifier": _identifiers(group),
        "status": _REPORT_STATUS.get(group.status, "unknown"),
        "category": [_category("LAB", "Laboratory", "v2-0074")],
        "code": concept(group.code),
        "subject": {"reference": patient},
        "performer": [{"display": _laboratory(message, group)}],
    }
    _set(report, "effectiveDateTime", fhir_datetime(group.collected))
    _set(report, "issued", _instant(group.reported_at) or _instant(message.sent_at))
    results = [{"reference": f"Observation/{item['id']}"} for item in observations]
    _set(report, "result", results)
    _set(report, "presentedForm", [_attachment(line) for line in group.lines if _is_pdf(line)])
    _set(report, "conclusion", "\n".join(group.notes))
    return report


def _identified(group: ReportGroup) -> list[tuple[ResultLine, str]]:
    """Return the result lines with their ids; what is measured twice in one report has two."""
    seen: dict[tuple[str, str], int] = {}
    found = []
    for line in group.lines:
        if line.value_type == "ED":
            continue
        key = (line.code.key, line.sub_id)
        seen[key] = seen.get(key, 0) + 1
        again = [str(seen[key])] if seen[key] > 1 else []
        found.append((line, stable_id("quest", group.filler, *key, *again)))
    return found


def _observation(
    group: ReportGroup, line: ResultLine, identity: str, patient: str, specimen: Resource | None
) -> Resource:
    observation: Resource = {
        "resourceType": "Observation",
        "id": identity,
        "identifier": [{"system": FILLER_SYSTEM, "value": f"{group.filler}/{line.code.key}"}],
        "status": _OBSERVATION_STATUS.get(line.status, "unknown"),
        "category": [_category("laboratory", "Laboratory", "observation-category")],
        "code": concept(line.code),
        "subject": {"reference": patient},
    }
    _set(
        observation,
        "effectiveDateTime",
        fhir_datetime(line.observed_at) or fhir_datetime(group.collected),
    )
    _set(observation, "issued", _instant(group.reported_at))
    observation |= result_value(line)
    _set(observation, "interpretation", [_flag(flag) for flag in line.flags])
    _set(observation, "referenceRange", _reference_range(line))
    _set(observation, "method", concept(line.method) if line.method.key else None)
    _set(observation, "note", [{"text": note} for note in line.notes if note])
    if line.performer.key:
        observation["performer"] = [{"display": line.performer.text or line.performer.key}]
    if specimen is not None:
        observation["specimen"] = {"reference": f"Specimen/{specimen['id']}"}
    return observation


def report_id(group: ReportGroup) -> str:
    """Return the id of the DiagnosticReport of an OBR."""
    return stable_id("quest", group.filler, group.code.key)


def _order(group: ReportGroup, patient: str) -> Resource:
    order: Resource = {
        "resourceType": "ServiceRequest",
        "id": stable_id("quest-order", group.placer),
        "identifier": [_identifiers(group)[0]],
        "status": "completed",
        "intent": "order",
        "code": concept(group.code),
        "subject": {"reference": patient},
    }
    _set(order, "requester", _requester(group.orderer))
    return order


def _specimen(group: ReportGroup, patient: str) -> Resource | None:
    source = group.specimen
    if source is None:
        return None
    specimen: Resource = {
        "resourceType": "Specimen",
        "id": stable_id("quest-specimen", group.filler),
        "type": concept(source.type),
        "subject": {"reference": patient},
    }
    collected = fhir_datetime(source.collected) or fhir_datetime(group.collected)
    if collected:
        specimen["collection"] = {"collectedDateTime": collected}
    if source.identifier:
        specimen["accessionIdentifier"] = {"system": FILLER_SYSTEM, "value": source.identifier}
    return specimen


def _identifiers(group: ReportGroup) -> list[Resource]:
    pairs = [("PLAC", PLACER_SYSTEM, group.placer), ("FILL", FILLER_SYSTEM, group.filler)]
    return [
        {
            "type": {"coding": [{"system": IDENTIFIER_TYPES, "code": kind}]},
            "system": system,
            "value": value,
        }
        for kind, system, value in pairs
        if value
    ]


def _category(code: str, display: str, system: str) -> Resource:
    url = f"http://terminology.hl7.org/CodeSystem/{system}"
    return {"coding": [{"system": url, "code": code, "display": display}]}


def _laboratory(message: OruMessage, group: ReportGroup) -> str:
    for line in group.lines:
        if line.performer.text:
            return line.performer.text
    return f"Quest Diagnostics {message.sending_facility}".strip()


def _requester(person: PersonName) -> Resource | None:
    if not person.family:
        return None
    requester: Resource = {"display": f"{person.given} {person.family}".strip()}
    if person.identifier:
        npi = "http://hl7.org/fhir/sid/us-npi"
        requester["identifier"] = {"system": npi, "value": person.identifier}
    return requester


def _flag(flag: str) -> Resource:
    display = _FLAGS.get(flag)
    if display is None:
        return {"text": flag}
    return {"coding": [{"system": INTERPRETATION, "code": flag, "display": display}]}


def _reference_range(line: ResultLine) -> list[Resource]:
    text = line.reference_range
    if not text:
        return []
    entry: Resource = {"text": text}
    match = _RANGE.match(text)
    if match and line.value_type in ("NM", "SN"):
        low, high = float(match[1]), float(match[2])
        unit = {"unit": line.units.key} if line.units.key else {}
        entry |= {"low": {"value": low, **unit}, "high": {"value": high, **unit}}
    return [entry]


def _is_pdf(line: ResultLine) -> bool:
    return line.value_type == "ED" and bool(line.components) and bool(line.components[0][4])


def _attachment(line: ResultLine) -> Resource:
    subtype = line.components[0][2].upper() or "PDF"
    kind = "application/pdf" if subtype in ("PDF", "AP") else "application/octet-stream"
    data = re.sub(r"\s+", "", line.components[0][4])
    return {"contentType": kind, "data": data, "title": line.code.text or "Laboratory report"}


def _instant(stamp: str) -> str | None:
    """Return a FHIR instant, or None when the stamp has no time of day."""
    moment = fhir_datetime(stamp)
    return moment if moment and "T" in moment else None


def _set(resource: Resource, name: str, value: object) -> None:
    if value:
        resource[name] = value
