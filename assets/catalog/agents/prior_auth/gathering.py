"""What a request needs of the record: the order, its patient, who pays, who asks, documents."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from assets.sdk import AssetError, Context, Json, Resource, StoredResource

from .requirements import codings

ORDERS = ("ServiceRequest", "DeviceRequest", "MedicationRequest")
CLOSED = frozenset({"revoked", "completed", "entered-in-error", "cancelled", "stopped"})
DOCUMENTS = ("DocumentReference", "DiagnosticReport", "Procedure", "Encounter")
ICD = "http://hl7.org/fhir/sid/icd-10-cm"
NEWEST = 300
_SERVICE = {
    "ServiceRequest": "code",
    "DeviceRequest": "codeCodeableConcept",
    "MedicationRequest": "medicationCodeableConcept",
}


@dataclass(slots=True)
class Gathered:
    """The record's part of a request."""

    order: StoredResource
    patient: StoredResource
    coverage: StoredResource
    insurer: StoredResource
    provider: StoredResource | None
    requester: StoredResource | None
    diagnoses: list[Json] = field(default_factory=list)
    conditions: list[StoredResource] = field(default_factory=list)
    documents: list[StoredResource] = field(default_factory=list)

    @property
    def service(self) -> Json:
        """What is ordered, empty where the order names it by no code."""
        found: Json = self.order.resource.get(_SERVICE[self.order.resource_type]) or {}
        return found

    @property
    def is_urgent(self) -> bool:
        """Whether waiting for seven days is too long, as the order says."""
        return self.order.resource.get("priority") in ("urgent", "asap", "stat")

    def read(self) -> Iterable[StoredResource]:
        """Yield everything that a request is made of."""
        yield from (self.order, self.patient, self.coverage, self.insurer)
        yield from (item for item in (self.provider, self.requester) if item is not None)
        yield from self.conditions


def gather(context: Context, order_reference: str) -> Gathered:
    """Return what a request for an order needs; AssetError says what lacks, and what to do."""
    order = _order(context, order_reference)
    subject = _reference(order.resource.get("subject"), "Patient")
    if subject is None:
        raise _lacks(order, "is not for a Patient", "Set its subject.")
    patient = _read(context, subject)
    coverage = _coverage(context, patient)
    payors = coverage.resource.get("payor", [])
    payor = next((r for r in (_reference(p, "Organization") for p in payors) if r), None)
    if payor is None:
        raise _lacks(coverage, "names no Organization as payor", "Set Coverage.payor.")
    requester = _requester(context, order)
    gathered = Gathered(
        order,
        patient,
        coverage,
        _read(context, payor),
        _provider(context, order, patient, requester),
        requester,
    )
    _add_diagnoses(context, gathered)
    query = {"patient": patient.reference, "_sort": "-_lastUpdated"}
    for resource_type in DOCUMENTS:
        gathered.documents += context.fhir.search(resource_type, query, limit=NEWEST)
    return gathered


def _order(context: Context, reference: str) -> StoredResource:
    resource_type, _, order_id = reference.partition("/")
    order = context.fhir.find(resource_type, order_id)
    if order is None:
        raise AssetError(
            "order_not_found",
            f"{reference} does not exist in this project.",
            remedy="Create the order first, or name one that exists.",
            details={"order": reference},
        )
    status = str(order.resource.get("status"))
    if status in CLOSED:
        raise AssetError(
            "order_closed",
            f"{reference} is {status}: nothing is left to authorize.",
            remedy="Name an order that is a draft or active.",
        )
    return order


def _coverage(context: Context, patient: StoredResource) -> StoredResource:
    """Return the coverage that pays first: active, in force now, lowest order."""
    query = {"beneficiary": patient.reference, "status": "active"}
    found = context.fhir.search("Coverage", query, limit=50)
    today = context.now.date().isoformat()
    in_force = [item for item in found if _is_in_force(item.resource, today)]
    if not in_force:
        expired = f" ({len(found)} active, none in force today)" if found else ""
        raise AssetError(
            "coverage_missing",
            f"{patient.reference} has no coverage in force{expired}.",
            remedy="File the patient's insurance as a Coverage with status active.",
            details={"patient": patient.reference},
        )
    return min(in_force, key=lambda item: (item.resource.get("order", 99), item.id))


def _is_in_force(coverage: Resource, today: str) -> bool:
    period = coverage.get("period") or {}
    start, end = str(period.get("start") or ""), str(period.get("end") or "9999")
    return start[:10] <= today[: len(start[:10])] and today[: len(end[:10])] <= end[:10]


def _requester(context: Context, order: StoredResource) -> StoredResource | None:
    who = order.resource.get("requester")
    reference = _reference(who, "PractitionerRole", "Practitioner", "Organization")
    return _find(context, reference)


def _provider(
    context: Context,
    order: StoredResource,
    patient: StoredResource,
    requester: StoredResource | None,
) -> StoredResource | None:
    """Return who asks: as configured, else of the requester, the encounter, the patient."""
    candidates = [{"reference": str(context.config.get("provider") or "")}]
    if requester is not None:
        is_organization = requester.resource_type == "Organization"
        own = {"reference": requester.reference} if is_organization else None
        candidates.append(own or requester.resource.get("organization") or {})
    encounter = _find(context, _reference(order.resource.get("encounter"), "Encounter"))
    if encounter is not None:
        candidates.append(encounter.resource.get("serviceProvider") or {})
    candidates.append(patient.resource.get("managingOrganization") or {})
    references = (_reference(item, "Organization") for item in candidates)
    found = (_find(context, reference) for reference in references if reference)
    return next((item for item in found if item is not None), None)


def _add_diagnoses(context: Context, gathered: Gathered) -> None:
    """Collect the ICD-10-CM codes of the order's reasons."""
    concepts = list(gathered.order.resource.get("reasonCode", []))
    for reason in gathered.order.resource.get("reasonReference", []):
        condition = _find(context, _reference(reason, "Condition"))
        if condition is not None:
            gathered.conditions.append(condition)
            concepts.append(condition.resource.get("code") or {})
    codes = dict.fromkeys(
        code for concept in concepts for system, code in sorted(codings(concept)) if system == ICD
    )
    gathered.diagnoses = [{"coding": [{"system": ICD, "code": code}]} for code in codes]


def _reference(value: object, *types: str) -> str | None:
    """Return a local reference to one of the types, None for anything else."""
    text = value.get("reference") if isinstance(value, dict) else None
    if not isinstance(text, str):
        return None
    kind, _, rest = text.partition("/")
    return f"{kind}/{rest.partition('/')[0]}" if kind in types and rest else None


def _read(context: Context, reference: str) -> StoredResource:
    resource_type, _, rid = reference.partition("/")
    return context.fhir.read(resource_type, rid)


def _find(context: Context, reference: str | None) -> StoredResource | None:
    """Return what a reference of the record leads to, None where that is not on record."""
    if reference is None:
        return None
    resource_type, _, rid = reference.partition("/")
    return context.fhir.find(resource_type, rid)


def _lacks(what: StoredResource, how: str, remedy: str) -> AssetError:
    code = "coverage_incomplete" if what.resource_type == "Coverage" else "order_incomplete"
    return AssetError(code, f"{what.reference} {how}.", remedy=remedy)
