"""Following a request until the payer decided: when to ask again, and when its time is over."""

from datetime import datetime, timedelta

from assets.sdk import Context, Emit, Json, Result, Slot, Write, stable_id

TASKS = "https://healthcloud.dev/fhir/CodeSystem/review"
BACKOFF = (
    (timedelta(minutes=15), timedelta(minutes=15)),
    (timedelta(hours=2), timedelta(hours=1)),
    (timedelta(hours=8), timedelta(hours=4)),
)
LONGEST = timedelta(hours=12)


def follow_up(context: Context, slot: Slot, input: Json) -> Result:
    """Ask the payer for its decision; call a person when its time is over."""
    claim = f"Claim/{str(input.get('claim') or '').removeprefix('Claim/')}"
    said = slot.invoke("inquire_prior_auth", {"claim": claim}).output
    later = next_inquiry(context, said)
    action: Json = {
        "tool": f"{slot.asset_id}.inquire_prior_auth",
        "side_effect": "external_read",
        "result": said.get("state"),
    }
    result = Result({"action": "follow_up", **said, **later}, actions=[action])
    if later["overdue"]:
        _call_a_person(context, claim, said, result)
    return result


def next_inquiry(context: Context, said: Json) -> Json:
    """Return whether the payer's time is over, and after how long to ask again."""
    if said.get("decided"):
        return {"overdue": False, "inquire_after": None}
    received = datetime.fromisoformat(str(said["received_at"]))
    due = datetime.fromisoformat(str(said["due_at"]))
    fixed = context.config.get("inquiry_seconds")
    pause = timedelta(seconds=float(fixed)) if fixed else _backoff(context.now - received)
    overdue = context.now >= due
    if not overdue:
        pause = min(pause, max(due - context.now, timedelta(seconds=1)))
    return {"overdue": overdue, "inquire_after": f"{max(1, round(pause.total_seconds()))}s"}


def _backoff(waited: timedelta) -> timedelta:
    return next((pause for until, pause in BACKOFF if waited < until), LONGEST)


def _call_a_person(context: Context, claim: str, said: Json, result: Result) -> None:
    """Open one task, and tell once, that a payer let its deadline pass."""
    task_id = stable_id("prior-auth-overdue", claim)
    result.output["task"] = f"Task/{task_id}"
    if context.fhir.find("Task", task_id) is not None:
        return
    patient = context.fhir.read("Claim", claim.removeprefix("Claim/")).resource["patient"]
    task = {
        "resourceType": "Task",
        "id": task_id,
        "status": "requested",
        "intent": "order",
        "priority": "urgent",
        "code": {"coding": [{"system": TASKS, "code": "prior-auth-overdue"}]},
        "description": f"The payer has not decided by {said['due_at']}, as CMS-0057-F asks it to.",
        "focus": {"reference": claim},
        "for": patient,
    }
    result.resources.append(Write("upsert", task))
    payload: Json = {
        "patient_id": str(patient["reference"]).removeprefix("Patient/"),
        "claim": claim,
        "claim_response": said["claim_response"],
        "task_id": task_id,
    }
    result.events.append(Emit("prior_auth.action_required", payload, "warning"))
