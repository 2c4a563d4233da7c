"""A result that can't be filed becomes a Task for a person, with the message attached. Pure."""

import base64
from datetime import datetime

from assets.sdk import Resource, stable_id

REVIEW_CODES = "https://healthcloud.dev/fhir/CodeSystem/review"
CONTROL_ID_SYSTEM = "https://www.questdiagnostics.com/fhir/sid/control-id"
REASONS = {
    "no_record_number": "The result carries no medical record number.",
    "not_found": "No patient of this project has the medical record number of the result.",
    "mismatch": "The record number is known, but birth date or name disagree.",
    "ambiguous": "More than one patient agrees with the result.",
    "unusable": "The message can't be read as an HL7 v2 result.",
}


def review_task(
    *,
    control_id: str,
    reason: str,
    message: str | None,
    detail: str,
    candidates: tuple[str, ...],
    now: datetime,
) -> Resource:
    """Return the Task that asks a person to file a result; the same message, the same Task."""
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    inputs: list[Resource] = [
        _input("candidate", {"valueReference": {"reference": item}}) for item in candidates
    ]
    if message is not None:
        attachment = {
            "contentType": "x-application/hl7-v2+er7",
            "data": base64.b64encode(message.encode()).decode(),
            "title": f"Quest result {control_id}",
        }
        inputs.append(_input("message", {"valueAttachment": attachment}))
    task: Resource = {
        "resourceType": "Task",
        "id": stable_id("quest-review", control_id),
        "identifier": [{"system": CONTROL_ID_SYSTEM, "value": control_id}],
        "status": "requested",
        "intent": "order",
        "priority": "urgent",
        "code": {
            "coding": [
                {"system": REVIEW_CODES, "code": "match-patient", "display": "Match a result"}
            ]
        },
        "description": " ".join(part for part in (REASONS[reason], detail) if part),
        "authoredOn": stamp,
        "statusReason": {"coding": [{"system": REVIEW_CODES, "code": reason}]},
    }
    if inputs:
        task["input"] = inputs
    return task


def _input(code: str, value: Resource) -> Resource:
    return {"type": {"coding": [{"system": REVIEW_CODES, "code": code}]}, **value}
