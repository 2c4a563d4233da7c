"""What an answer of the payer writes: ClaimResponse, the Claim's status, a Task if needed."""

import re
from collections.abc import Mapping
from typing import Any

from assets.sdk import Context, Emit, Json, Resource, Write, stable_id

from .answers import APPROVED, Decision
from .assembly import instant

TASKS = "https://healthcloud.dev/fhir/CodeSystem/review"
_IDENTIFIER = re.compile(r"^[\w.:/|@+,#%=-]{1,100}$")
"""What an event may carry of a payer's text: an identifier, no prose."""
_PARTIES = {"patient": "patient", "insurer": "insurer", "requestor": "provider"}


def response_id(claim: Resource) -> str:
    """Return the id of a Claim's one ClaimResponse, whose versions are the payer's answers."""
    return stable_id("claim-response", str(claim["id"]))


def claim_response(answer: Resource, claim: Resource) -> Resource:
    """Return the payer's ClaimResponse as it is stored here: its parties are those of our Claim."""
    kept = {k: v for k, v in answer.items() if k not in ("meta", "text", "id", "contained")}
    stored: Resource = _without_references(kept) or {}
    stored |= {"id": response_id(claim), "request": {"reference": f"Claim/{claim['id']}"}}
    stored |= {ours: claim[theirs] for ours, theirs in _PARTIES.items() if theirs in claim}
    for name in ("type", "identifier"):
        stored.setdefault(name, claim[name])
    stored.setdefault("use", "preauthorization")
    stored.setdefault("status", "active")
    return stored


def _without_references(value: Any) -> Any:  # noqa: ANN401  # JSON
    """Leave out references into the payer's Bundle, which is not stored."""
    if isinstance(value, list):
        kept = [item for item in (_without_references(item) for item in value) if item is not None]
        return kept or None
    if not isinstance(value, dict):
        return value
    members = {k: _without_references(v) for k, v in value.items() if k != "reference"}
    return {k: v for k, v in members.items() if v is not None} or None


def stored_response(context: Context, claim: Resource) -> Resource | None:
    """Return what was filed of earlier answers, None where there was none."""
    found = context.fhir.find("ClaimResponse", response_id(claim))
    if found is None:
        return None
    members = found.resource.items()
    return {name: value for name, value in members if name not in ("meta", "text")}


def task_for(context: Context, claim: Resource, decision: Decision) -> Write:
    """Return the task of whoever has to answer the payer; the same demand makes one task."""
    said = [*decision.requested, *decision.notes, *(_error_text(e) for e in decision.errors)]
    task: Resource = {
        "resourceType": "Task",
        "id": stable_id("prior-auth-task", str(claim["id"]), *said),
        "status": "requested",
        "intent": "order",
        "priority": "urgent" if decision.expedited else "routine",
        "code": {"coding": [{"system": TASKS, "code": "prior-auth", "display": "Answer a payer"}]},
        "description": " ".join(said) or "The payer asks to be contacted about this request.",
        "focus": {"reference": f"Claim/{claim['id']}"},
        "for": claim["patient"],
        "authoredOn": instant(decision.received_at),
        "restriction": {"period": {"end": instant(decision.due_at)}},
    }
    return Write("upsert", task)


def _error_text(error: Mapping[str, Any]) -> str:
    where = f" at {error['path']}" if error.get("path") else ""
    return f"The payer reports error {error['code']}{where}."


def output(claim: Resource, decision: Decision, task: str | None) -> Json:
    """Return what the action's caller gets."""
    return {
        "state": decision.state,
        "decided": decision.decided,
        "claim": f"Claim/{claim['id']}",
        "claim_response": f"ClaimResponse/{response_id(claim)}",
        "authorization_number": decision.authorization_number,
        "payer_reference": decision.payer_reference,
        "valid_from": decision.valid_from,
        "valid_until": decision.valid_until,
        "reasons": decision.reasons,
        "notes": decision.notes,
        "requested": decision.requested,
        "items": decision.items,
        "errors": decision.errors,
        "human_reviewed": decision.human_reviewed,
        "expedited": decision.expedited,
        "received_at": instant(decision.received_at),
        "due_at": instant(decision.due_at),
        "task": task,
    }


def events(claim: Resource, decision: Decision, *, sent: bool, task: str | None) -> list[Emit]:
    """Return the events of a new answer: that it was sent, and what the payer said."""
    payload: Json = {
        "patient_id": str(claim["patient"]["reference"]).removeprefix("Patient/"),
        "claim": f"Claim/{claim['id']}",
        "claim_response": f"ClaimResponse/{response_id(claim)}",
    }
    if decision.payer_reference and _IDENTIFIER.match(decision.payer_reference):
        payload["payer_reference"] = decision.payer_reference
    found = [Emit("prior_auth.submitted", payload)] if sent else []
    if decision.state in APPROVED:
        found.append(Emit("prior_auth.approved", payload))
    elif decision.state == "denied":
        found.append(Emit("prior_auth.denied", payload, "warning"))
    elif decision.state == "pended":
        found.append(Emit("prior_auth.pended", payload))
    elif decision.state == "action_required":
        also = {"task_id": task.removeprefix("Task/")} if task else {}
        found.append(Emit("prior_auth.action_required", payload | also, "warning"))
    return found
