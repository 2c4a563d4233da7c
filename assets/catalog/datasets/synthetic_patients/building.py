"""FHIR R4 resources from plain values. Pure; the caller gives every id and time."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import NamedTuple

from assets.sdk import Json, Resource

SNOMED = "http://snomed.info/sct"
LOINC = "http://loinc.org"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
ICD10 = "http://hl7.org/fhir/sid/icd-10-cm"
UCUM = "http://unitsofmeasure.org"
HL7 = "http://terminology.hl7.org/CodeSystem"
RECORD_NUMBERS = "https://synthetic.healthcloud.dev/mrn"


class Code(NamedTuple):
    """A coding."""

    system: str
    code: str
    display: str

    def concept(self, *more: "Code") -> Json:
        """Return a CodeableConcept with this coding first."""
        codings = [code._asdict() for code in (self, *more)]
        return {"coding": codings, "text": self.display}


def hl7(system: str, code: str, display: str) -> Json:
    """Return a concept of an HL7 code system."""
    return Code(f"{HL7}/{system}", code, display).concept()


def instant(at: datetime) -> str:
    """Write a time in UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def reference(resource: Resource) -> Json:
    """Return a reference to a resource, with its name where it has one."""
    return {"reference": f"{resource['resourceType']}/{resource['id']}"}


class Chart:
    """The resources of one patient, built around the Patient."""

    def __init__(self, patient: Resource, doctor: Resource, clinic: Resource) -> None:
        self.patient = patient
        self.doctor = doctor
        self.clinic = clinic
        self.resources: list[Resource] = [patient]
        self._counts: dict[str, int] = {}

    @property
    def subject(self) -> Json:
        """The patient's reference."""
        return reference(self.patient)

    def add(self, resource_type: str, short: str, body: Mapping[str, object]) -> Resource:
        """Add a resource under the next id of its kind and return it."""
        number = self._counts[short] = self._counts.get(short, 0) + 1
        resource = {
            "resourceType": resource_type,
            "id": f"{self.patient['id']}-{short}-{number}",
            **{name: value for name, value in body.items() if value is not None},
        }
        self.resources.append(resource)
        return resource

    def encounter(self, at: datetime, minutes: int, type_: Code, reason: Code | None) -> Resource:
        """Add a finished visit."""
        end = at.timestamp() + 60 * minutes
        return self.add(
            "Encounter",
            "enc",
            {
                "status": "finished",
                "class": {
                    "system": f"{HL7}/v3-ActCode",
                    "code": "AMB",
                    "display": "ambulatory",
                },
                "type": [type_.concept()],
                "subject": self.subject,
                "participant": [{"individual": reference(self.doctor)}],
                "period": {
                    "start": instant(at),
                    "end": instant(datetime.fromtimestamp(end, tz=UTC)),
                },
                "reasonCode": [reason.concept()] if reason else None,
                "serviceProvider": reference(self.clinic),
            },
        )

    def condition(
        self,
        code: Code,
        *,
        onset: date,
        category: str = "problem-list-item",
        more: Sequence[Code] = (),
        encounter: Resource | None = None,
    ) -> Resource:
        """Add an active, confirmed condition."""
        display = "Problem List Item" if category == "problem-list-item" else "Encounter Diagnosis"
        return self.add(
            "Condition",
            "cond",
            {
                "clinicalStatus": hl7("condition-clinical", "active", "Active"),
                "verificationStatus": hl7("condition-ver-status", "confirmed", "Confirmed"),
                "category": [hl7("condition-category", category, display)],
                "code": code.concept(*more),
                "subject": self.subject,
                "encounter": reference(encounter) if encounter else None,
                "onsetDateTime": onset.isoformat(),
                "recordedDate": (encounter["period"]["start"] if encounter else onset.isoformat()),
            },
        )

    def observation(
        self,
        code: Code,
        value: Mapping[str, object],
        *,
        at: datetime,
        category: str,
        encounter: Resource | None = None,
        **more: object,
    ) -> Resource:
        """Add a final observation; `value` holds `value[x]`, or components."""
        title = {"vital-signs": "Vital Signs", "laboratory": "Laboratory", "survey": "Survey"}
        return self.add(
            "Observation",
            "obs",
            {
                "status": "final",
                "category": [hl7("observation-category", category, title[category])],
                "code": code.concept(),
                "subject": self.subject,
                "encounter": reference(encounter) if encounter else None,
                "effectiveDateTime": instant(at),
                "issued": instant(at) if category == "laboratory" else None,
                **value,
                **more,
            },
        )

    def report(
        self,
        code: Code,
        results: Iterable[Resource],
        *,
        at: datetime,
        encounter: Resource | None,
        specimen: Resource | None = None,
        category: tuple[str, str] = ("LAB", "Laboratory"),
    ) -> Resource:
        """Add a final laboratory report."""
        return self.add(
            "DiagnosticReport",
            "rep",
            {
                "status": "final",
                "category": [hl7("v2-0074", *category)],
                "code": code.concept(),
                "subject": self.subject,
                "encounter": reference(encounter) if encounter else None,
                "effectiveDateTime": instant(at),
                "issued": instant(at),
                "specimen": [reference(specimen)] if specimen else None,
                "result": [reference(result) for result in results],
            },
        )


def quantity(value: float, unit: str, code: str | None = None) -> Json:
    """Return a `valueQuantity` in UCUM."""
    amount = {"value": value, "unit": unit, "system": UCUM, "code": code or unit}
    return {"valueQuantity": amount}
