"""The Prior Auth Agent: prepare a request, submit it once a person approved it, follow it.

prepare: gather → assess by cited lists → build the Claim → have the payer's connector validate it →
draft, with the list of what is missing. submit: only with a person's approval of that very Claim.
follow_up: ask for the decision, and call a person when the payer's time is over. It decides nothing
in a payer's place, and never denies.
"""

from collections.abc import Callable, Iterator, Mapping

from assets.sdk import (
    Agent,
    AssetError,
    Context,
    Evidence,
    Json,
    Probe,
    Resource,
    Result,
    Slot,
    Write,
    probe,
    stable_id,
)

from .claims import build_claim, claim_id, digest, instant, keep_stored
from .following import follow_up, next_inquiry
from .gathering import ORDERS, Gathered, gather
from .requirements import Assessment, assess, load

TASKS = "https://healthcloud.dev/fhir/CodeSystem/review"
SLOT = "payer_api"
REVIEW = "Draft: a person approves the request before it is sent."
_CODE_GAP = {
    "id": "service_code",
    "title": "Code of what is ordered",
    "how": "Code the order with CPT or HCPCS.",
    "rule": None,
}
_PROVIDER_GAP = {
    "id": "provider",
    "title": "Organization that asks",
    "how": "Set `provider` in the agent's configuration, or the requester's organization.",
    "rule": None,
}
_DIAGNOSIS_GAP = {
    "id": "diagnosis",
    "title": "Diagnosis with an ICD-10-CM code",
    "how": "Give the order a reasonCode or a reasonReference to a Condition coded in ICD-10-CM.",
    "rule": None,
}


class PriorAuthAgent(Agent):
    """Prepares, submits and follows the prior authorization of one order."""

    def check(self, context: Context) -> Iterator[Probe]:
        """Yield one probe: the lists of services can be read."""

        def read() -> None:
            context.log("requirement lists read", lists=len(load()))

        yield probe(context, "rules", read, "The requirement lists are valid.")

    def run(self, context: Context, input: Json) -> Result:
        """Do `input.action`; AssetError names what lacks, and what to do."""
        actions: Mapping[str, Callable[[Context, Json], Result]] = {
            "prepare": _prepare,
            "submit": _submit,
            "follow_up": lambda context, input: follow_up(context, _slot(context), input),
        }
        return actions[str(input.get("action", "prepare"))](context, input)


def _slot(context: Context) -> Slot:
    slot = context.slots.get(SLOT)
    if slot is None:
        raise AssetError(
            "missing_slot",
            "The agent has no payer to talk to.",
            remedy=f'Deploy it with "config": {{"{SLOT}": "cms_prior_auth"}}.',
        )
    return slot


# --- prepare ---------------------------------------------------------------------------------


def _prepare(context: Context, input: Json) -> Result:
    """Draft the request for an order, and say what it lacks."""
    gathered = gather(context, _order_reference(input))
    found = assess(
        gathered.service,
        gathered.coverage,
        gathered.insurer,
        gathered.documents,
        order=gathered.order,
        now=context.now,
    )
    said = _said(context, gathered, found)
    evidence = [Evidence.of(item, "request") for item in gathered.read()] + found.evidence
    result = Result(said, evidence=evidence, rules=found.rules)
    if found.needed is False:
        return result
    filed = context.fhir.find("Claim", claim_id(context, gathered))
    stored = None if filed is None else filed.resource
    if stored is not None and stored.get("status") != "draft":
        said |= {"status": "submitted", "claim": f"Claim/{stored['id']}", "ready": False}
        return result
    _draft(context, gathered, found, stored, result)
    return result


def _order_reference(input: Json) -> str:
    reference = str(input.get("order") or "")
    if reference.partition("/")[0] not in ORDERS:
        raise AssetError(
            "order_invalid",
            "`order` is missing: it names the order to be authorized.",
            remedy=f"Send a reference such as ServiceRequest/abc (or {', '.join(ORDERS[1:])}).",
        )
    return reference


def _draft(
    context: Context,
    gathered: Gathered,
    found: Assessment,
    stored: Resource | None,
    result: Result,
) -> None:
    """Add the Claim, and the task for what is missing, to a result."""
    claim = build_claim(context, gathered, found.documents)
    if stored is not None:
        claim = keep_stored(claim, stored)
    gaps = [*_data_gaps(gathered), *found.gaps]
    answer = _slot(context).invoke("validate_prior_auth", {"claim": claim})
    problems = list(answer.output.get("problems", []))
    complete = not gaps and not problems
    result.resources.append(Write("upsert", claim))
    result.missing = [
        {"input": gap["id"], "title": gap["title"], "next_test": {"text": gap["how"]}}
        for gap in gaps
    ]
    task = None if complete else _task(gathered, claim, gaps, problems)
    if task is not None and context.fhir.find("Task", task["id"]) is None:
        result.resources.append(Write("upsert", task))
    result.output |= {
        "status": "ready" if complete else "incomplete",
        "ready": not problems,
        "claim": f"Claim/{claim['id']}",
        "claim_digest": digest(claim),
        "gaps": gaps,
        "problems": problems,
        "task": f"Task/{task['id']}" if task else None,
    }
    context.log("request prepared", claim=claim["id"], gaps=len(gaps), problems=len(problems))


def _data_gaps(gathered: Gathered) -> Iterator[Json]:
    if not gathered.service.get("coding"):
        yield dict(_CODE_GAP)
    if gathered.provider is None:
        yield dict(_PROVIDER_GAP)
    if not gathered.diagnoses:
        yield dict(_DIAGNOSIS_GAP)


def _said(context: Context, gathered: Gathered, found: Assessment) -> Json:
    return {
        "action": "prepare",
        "status": "not_required",
        "ready": False,
        "pa_needed": found.needed,
        "rule": found.rule,
        "citation": dict(found.citation) if found.citation else None,
        "order": gathered.order.reference,
        "patient_id": gathered.patient.id,
        "coverage": gathered.coverage.reference,
        "insurer": gathered.insurer.reference,
        "expedited": gathered.is_urgent,
        "claim": None,
        "claim_digest": None,
        "gaps": [],
        "problems": [],
        "documents": [item.versioned_reference for item in found.documents],
        "task": None,
        "as_of": instant(context.now),
        "review": REVIEW,
    }


def _task(gathered: Gathered, claim: Resource, gaps: list[Json], problems: list[Json]) -> Resource:
    """Return the task to complete a request; the same gaps make one task."""
    lines = [f"{gap['title']}: {gap['how']}" for gap in gaps]
    lines += [str(item["text"]) for item in problems]
    return {
        "resourceType": "Task",
        "id": stable_id("prior-auth-gaps", str(claim["id"]), *lines),
        "status": "requested",
        "intent": "order",
        "priority": "urgent" if gathered.is_urgent else "routine",
        "code": {"coding": [{"system": TASKS, "code": "prior-auth-gaps"}]},
        "description": " ".join(lines),
        "focus": {"reference": f"Claim/{claim['id']}"},
        "for": {"reference": gathered.patient.reference},
    }


# --- submit ----------------------------------------------------------------------------------


def _submit(context: Context, input: Json) -> Result:
    """Send a Claim that a person approved; what the connector files joins this run."""
    identity = str(input.get("claim") or "").removeprefix("Claim/")
    filed = context.fhir.find("Claim", identity) if identity else None
    if filed is None:
        raise AssetError(
            "claim_not_found",
            f"Claim/{identity} does not exist in this project.",
            remedy='Prepare the request first: {"action": "prepare", "order": "ServiceRequest/…"}.',
        )
    claim = filed.resource
    approval = input.get("approval") or {}
    if approval.get("decision") != "approved" or not approval.get("decided_by"):
        raise AssetError(
            "approval_missing",
            "A request is sent only when a person approved it.",
            remedy="Send `approval` with decision approved and decided_by, or run the workflow "
            "prior_authorization, which asks for it.",
        )
    approved = input.get("claim_digest")
    if approved != digest(claim):
        raise AssetError(
            "claim_changed",
            f"Claim/{identity} is not what was approved.",
            remedy="Send the `claim_digest` of what was prepared, or prepare and approve it anew.",
        )
    slot = _slot(context)
    answer = slot.invoke("submit_prior_auth", {"claim": f"Claim/{identity}"})
    actions: list[Json] = [
        {"tool": "approval", "side_effect": "none", "by": _who(approval["decided_by"])},
        {
            "tool": f"{slot.asset_id}.submit_prior_auth",
            "side_effect": "external_submit",
            "idempotency_key": digest(claim),
            "result": answer.output.get("state"),
        },
    ]
    return Result(_followed(context, "submit", answer.output), actions=actions)


def _who(decided_by: object) -> str:
    """Return the id of who decided: an approval step names an actor, a caller may give the id."""
    return str(decided_by.get("id") if isinstance(decided_by, dict) else decided_by)


def _followed(context: Context, action: str, said: Json) -> Json:
    return {"action": action, **said, **next_inquiry(context, said)}
