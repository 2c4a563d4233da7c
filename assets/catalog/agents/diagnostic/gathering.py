"""What the record says about a patient, and what the laboratory has that is not filed yet."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from assets.sdk import AssetError, Context, Json, Resource, StoredResource

NEWEST = 500
LOOKBACK = timedelta(days=14)
TYPES = (
    "Condition",
    "Procedure",
    "Encounter",
    "ServiceRequest",
    "Specimen",
    "Device",
    "DeviceUseStatement",
)
SERVER_SET = frozenset({"meta", "text"})


@dataclass(slots=True)
class Gathered:
    """The patient, the resources to evaluate, and what was done to get them."""

    patient: StoredResource
    resources: list[StoredResource]
    actions: list[Json] = field(default_factory=list)

    def of_type(self, resource_type: str) -> list[StoredResource]:
        """Return the gathered resources of one type."""
        return [item for item in self.resources if item.resource_type == resource_type]


def gather(context: Context, patient_id: str) -> Gathered:
    """Return the record of a patient; AssetError `patient_not_found` names an unknown one."""
    patient = _patient(context, patient_id.removeprefix("Patient/"))
    found = [*_observations(context, patient)]
    for resource_type in TYPES:
        query = {"patient": patient.reference, "_sort": "-_lastUpdated"}
        found.extend(context.fhir.search(resource_type, query, limit=NEWEST))
    gathered = Gathered(patient, [patient, *found])
    arrived, action = _from_laboratory(context, patient)
    gathered.actions.extend(action)
    _join(gathered, arrived)
    return gathered


def _patient(context: Context, patient_id: str) -> StoredResource:
    patient = context.fhir.find("Patient", patient_id)
    if patient is None:
        raise AssetError(
            "patient_not_found",
            f"Patient/{patient_id} does not exist in this project.",
            remedy="Create the Patient first, or pass the id of one that exists.",
            details={"patient_id": patient_id},
        )
    return patient


def _observations(context: Context, patient: StoredResource) -> Iterable[StoredResource]:
    """Return the newest observations; in a long record also all dated within the look-back."""
    newest = {"patient": patient.reference, "_sort": "-_lastUpdated"}
    found = context.fhir.search("Observation", newest, limit=NEWEST)
    if len(found) < NEWEST:
        return found
    since = (context.now - LOOKBACK).strftime("%Y-%m-%d")
    dated = {"patient": patient.reference, "date": f"ge{since}"}
    recent = context.fhir.search("Observation", dated, limit=10 * NEWEST)
    return {item.id: item for item in (*found, *recent)}.values()


def _from_laboratory(
    context: Context, patient: StoredResource
) -> tuple[Sequence[Resource], list[Json]]:
    """Ask the laboratory slot, where one is filled, for results that wait.

    A laboratory that can't be reached is noted, not fatal: the record is screened as it stands.
    """
    slot = context.slots.get("labs")
    if slot is None or not context.config.get("retrieve_results", True):
        return [], []
    action: Json = {"tool": f"{slot.asset_id}.retrieve_results", "side_effect": "external_read"}
    try:
        answer = slot.invoke("retrieve_results", {"patient_id": patient.id})
    except AssetError as error:
        context.log("laboratory not reached", code=error.code)
        return [], [{**action, "result": "failed", "error": error.as_dict()}]
    filed = answer.output.get("filed")
    return answer.resources, [{**action, "result": "succeeded", "filed": filed}]


def _join(gathered: Gathered, arrived: Sequence[Resource]) -> None:
    """Add resources that will be stored with this result, under the version they will have."""
    known = {item.reference: position for position, item in enumerate(gathered.resources)}
    for resource in arrived:
        if not _is_about(resource, gathered.patient):
            continue
        reference = f"{resource['resourceType']}/{resource['id']}"
        position = known.get(reference)
        if position is None:
            gathered.resources.append(_arriving(resource, 1))
            continue
        stored = gathered.resources[position]
        if _content(stored.resource) != _content(resource):
            gathered.resources[position] = _arriving(resource, stored.version + 1)


def _arriving(resource: Resource, version: int) -> StoredResource:
    return StoredResource(resource["resourceType"], resource["id"], version, resource)


def _is_about(resource: Resource, patient: StoredResource) -> bool:
    who = resource.get("subject") or resource.get("patient") or {}
    is_named = "id" in resource and isinstance(who, dict)
    return is_named and who.get("reference") == patient.reference


def _content(resource: Resource) -> Json:
    return {key: value for key, value in resource.items() if key not in SERVER_SET}
