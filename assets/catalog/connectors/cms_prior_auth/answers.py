"""The payer's ClaimResponse in our words: state, reasons, authorization, deadlines.

https://build.fhir.org/ig/HL7/davinci-pas/StructureDefinition-profile-claimresponse.html
Deadlines: 42 CFR 422.568(b)(1) and 422.572(a), as amended by CMS-0057-F: 72 hours for expedited
requests, seven calendar days for the others, from receipt.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from assets.sdk import AssetError, Json, Resource

from .assembly import PAS

STATES = {
    "A1": "approved",
    "A2": "partially_approved",
    "A3": "denied",
    "A4": "pended",
    "A6": "approved_modified",
    "C": "cancelled",
    "CT": "action_required",
    "NA": "not_required",
}
"""What X12 306 (HCR01) comes to; the texts of X12 are its own, only codes are kept."""
APPROVED = ("approved", "partially_approved", "approved_modified")
OPEN = ("pended", "action_required")
RETRY_CODES = frozenset({"42", "80"})
"""X12 901: the payer's system could not answer now."""
EXPEDITED, STANDARD = timedelta(hours=72), timedelta(days=7)


@dataclass(slots=True)
class Decision:
    """What a payer said about a request."""

    state: str
    received_at: datetime
    due_at: datetime
    expedited: bool
    authorization_number: str | None = None
    payer_reference: str | None = None
    valid_from: str | None = None
    valid_until: str | None = None
    human_reviewed: bool | None = None
    reasons: list[Json] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)
    items: list[Json] = field(default_factory=list)
    errors: list[Json] = field(default_factory=list)

    @property
    def decided(self) -> bool:
        """Whether the payer has nothing more to say, unless asked anew."""
        return self.state not in OPEN


def read_decision(bundle: Resource, claim: Resource, now: datetime) -> tuple[Decision, Resource]:
    """Return the decision in a response Bundle, and its ClaimResponse as it came."""
    resources = [entry.get("resource") or {} for entry in bundle.get("entry", [])]
    answer = next((r for r in resources if r.get("resourceType") == "ClaimResponse"), None)
    if answer is None:
        raise _rubbish("its Bundle holds no ClaimResponse")
    if answer.get("use", "preauthorization") != "preauthorization":
        raise _rubbish("its ClaimResponse is no preauthorization")
    received_at = _received(answer, now)
    expedited = is_expedited(claim)
    decision = Decision(
        state="pended",
        received_at=received_at,
        due_at=received_at + (EXPEDITED if expedited else STANDARD),
        expedited=expedited,
        notes=[str(note["text"]) for note in answer.get("processNote", []) if note.get("text")],
        requested=list(_requested(resources)),
        errors=[_error(item) for item in answer.get("error", [])],
        payer_reference=_string(answer, "extension-administrationReferenceNumber"),
        human_reviewed=_human_reviewed(answer),
    )
    _add_items(decision, answer)
    decision.state = _state(decision, answer)
    decision.authorization_number = decision.authorization_number or answer.get("preAuthRef")
    return decision, answer


def is_expedited(claim: Resource) -> bool:
    """Whether a Claim asks for a decision within 72 hours."""
    codings = (claim.get("priority") or {}).get("coding", [])
    return any(item.get("code") == "stat" for item in codings)


def _received(answer: Resource, now: datetime) -> datetime:
    """Return when the payer received the request: the clocks run from there."""
    try:
        at = datetime.fromisoformat(str(answer.get("created")))
    except ValueError:
        return now
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _add_items(decision: Decision, answer: Resource) -> None:
    for item in [*answer.get("item", []), *answer.get("addItem", [])]:
        for adjudication in item.get("adjudication", []):
            action = _extension(adjudication, "extension-reviewAction")
            if action is not None:
                _add_item(decision, item, action)


def _add_item(decision: Decision, item: Resource, action: Json) -> None:
    code = _code(_extension(action, "extension-reviewActionCode"))
    number = _value(_extension(action, "number"), "valueString")
    period = _value(_extension(item, "extension-itemPreAuthPeriod"), "valuePeriod") or {}
    reasons = [_coding(part) for part in action["extension"] if part.get("url") == "reasonCode"]
    is_added = not isinstance(item.get("itemSequence"), int)
    entry: Json = {
        "sequence": item.get("itemSequence"),
        "code": code,
        "state": STATES.get(code, "action_required"),
        "authorization_number": number,
        "valid_from": period.get("start"),
        "valid_until": period.get("end"),
        "reasons": reasons,
    }
    if is_added:
        entry["service"] = item.get("productOrService")
        entry["quantity"] = item.get("quantity")
    decision.items.append(entry)
    decision.reasons += [reason for reason in reasons if reason not in decision.reasons]
    decision.authorization_number = decision.authorization_number or number
    decision.valid_from = decision.valid_from or entry["valid_from"]
    decision.valid_until = decision.valid_until or entry["valid_until"]


def _state(decision: Decision, answer: Resource) -> str:
    """Return the state of the whole: that of its items, or what several come to together."""
    if decision.errors or answer.get("outcome") == "error":
        return "action_required"
    states = {item["state"] for item in decision.items}
    if not states:
        return "approved" if answer.get("preAuthRef") else "pended"
    if "action_required" in states or (decision.requested and "pended" in states):
        return "action_required"
    if "pended" in states:
        return "pended"
    if len(states) == 1:
        return str(states.pop())
    return "partially_approved" if states & {*APPROVED} else "denied"


def retry_code(decision: Decision) -> str | None:
    """Return the code of an error that the payer says to try again after."""
    return next((e["code"] for e in decision.errors if e["code"] in RETRY_CODES), None)


def _error(item: Json) -> Json:
    coding = _coding({"valueCodeableConcept": item.get("code")})
    path = _value(_extension(item, "extension-errorPath"), "valueString")
    return coding | ({"path": path} if path else {})


def _requested(resources: list[Resource]) -> Iterator[str]:
    for resource in resources:
        if resource.get("resourceType") == "CommunicationRequest":
            for payload in resource.get("payload", []):
                if payload.get("contentString"):
                    yield str(payload["contentString"])


def _human_reviewed(answer: Resource) -> bool | None:
    reviewer = _extension(answer, "extension-claimResponseReviewer")
    found = _value(_extension(reviewer or {}, "wasHumanReviewedFlag"), "valueBoolean")
    return found if isinstance(found, bool) else None


def _string(resource: Resource, name: str) -> str | None:
    found = _value(_extension(resource, name), "valueString")
    return found if isinstance(found, str) else None


def _extension(holder: Mapping[str, Any], name: str) -> Json | None:
    """Return an extension by its local name or its full address: PAS mixes both."""
    for extension in holder.get("extension", []):
        if extension.get("url") in (name, f"{PAS}/{name}"):
            found: Json = extension
            return found
    return None


def _value(extension: Json | None, name: str) -> Any:  # noqa: ANN401  # JSON
    return (extension or {}).get(name)


def _code(extension: Json | None) -> str:
    return str(_coding(extension or {})["code"] or "")


def _coding(holder: Json) -> Json:
    """Return system and code of a CodeableConcept, or of a plain code."""
    concept = holder.get("valueCodeableConcept") or {}
    coding = (concept.get("coding") or [{}])[0]
    code = coding.get("code") or holder.get("valueCode") or concept.get("text")
    return {"system": coding.get("system"), "code": code}


def _rubbish(what: str) -> AssetError:
    return AssetError(
        "vendor_rubbish",
        f"The payer's answer can't be used: {what}.",
        remedy="Tell the payer's support; the request itself may have been taken in.",
    )
