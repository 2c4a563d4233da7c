"""Invariants of clinical and administrative resources. https://hl7.org/fhir/R4/resourcelist.html"""

from fhir.instants import date_range
from fhir.validation.invariants.rule import (
    Context,
    Node,
    Rule,
    has,
    has_any,
    has_choice,
    has_code,
    implies,
    items,
    number,
)

_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem/"
_ALLERGY_STATUS = _TERMINOLOGY + "allergyintolerance-verification"
_CONDITION_STATUS = _TERMINOLOGY + "condition-ver-status"
_CONDITION_CLINICAL = _TERMINOLOGY + "condition-clinical"
_ERROR = "entered-in-error"


def _components_differ(node: Node, _: Context) -> bool:
    """obs-7: with a value of its own, no component has the code of the observation."""
    if "component" not in node or not has_choice(node, "value"):
        return True
    own = {_coding(coding) for coding in items(node, "code", "coding")}
    return not any(_coding(coding) in own for coding in items(node, "component", "code", "coding"))


def _coding(coding: Node) -> tuple[object, ...]:
    return tuple(coding.get(key) for key in ("system", "code", "version", "display"))


def _is_problem_resolved(node: Node, _: Context) -> bool:
    return not has_choice(node, "abatement") or has_code(
        node, "clinicalStatus", _CONDITION_CLINICAL, "resolved", "remission", "inactive"
    )


def _has_problem_status(node: Node, _: Context) -> bool:
    return (
        has(node, "clinicalStatus")
        or has_code(node, "verificationStatus", _CONDITION_STATUS, _ERROR)
        or not any(c.get("code") == "problem-list-item" for c in items(node, "category", "coding"))
    )


def _is_modified_after(node: Node, _: Context) -> bool:
    return _in_order(node.get("authoredOn"), node.get("lastModified"))


def _in_order(first: str | None, second: str | None) -> bool:
    """Say whether two dates may be in order, as far as their precision tells."""
    if first is None or second is None:
        return True
    try:
        return date_range(first)[0] < date_range(second)[1]
    except ValueError:
        return True  # the schema has said so already


def _times_fit_status(node: Node, _: Context) -> bool:
    timed = has(node, "start", "end")
    return timed or node.get("status") in {"proposed", "cancelled", "waitlist"}


def _is_percent(node: Node, _: Context) -> bool:
    """ras-1: the bounds of a Range of probability are in percent."""
    return all(
        bound.get("code") == "%" and bound.get("system") == "http://unitsofmeasure.org"
        for bound in (*items(node, "low"), *items(node, "high"))
    )


def _probability_is_possible(node: Node, _: Context) -> bool:
    value = node.get("probabilityDecimal")
    return value is None or number(value) <= 100


def _speaks_for(node: Node, _: Context) -> bool:
    """ctm-1: only a practitioner acts on behalf of an organization."""
    member = node.get("member", {}).get("reference", "")
    return implies(
        "onBehalfOf" in node and "/" in member, member.rpartition("/")[0].endswith("Practitioner")
    )


def _needs_patient(scope: str) -> Rule:
    """ppc-2 to ppc-5; `something` is the code system that R4 writes there."""

    def holds(node: Node, _: Context) -> bool:
        return has(node, "patient") or not has_code(node, "scope", "something", scope)

    return Rule(holds, "A consent of this scope needs its patient.")


def _lacks_home(node: Node, _: Context) -> bool:
    return node.get("use") != "home"


RULES: dict[str, Rule] = {
    "ait-1": Rule(
        lambda n, c: (
            has_code(n, "verificationStatus", _ALLERGY_STATUS, _ERROR) or has(n, "clinicalStatus")
        ),
        "Give a clinicalStatus, unless verificationStatus is entered-in-error.",
    ),
    "ait-2": Rule(
        lambda n, c: (
            not has_code(n, "verificationStatus", _ALLERGY_STATUS, _ERROR)
            or not has(n, "clinicalStatus")
        ),
        "What was entered in error has no clinicalStatus: remove it.",
    ),
    "app-1": Rule(
        lambda n, c: has_any(n, "type", "actor"), "Give the participant's type or actor."
    ),
    "app-2": Rule(
        lambda n, c: has(n, "start") == has(n, "end"), "Give start and end together, or neither."
    ),
    "app-3": Rule(
        _times_fit_status, "Only a proposed, cancelled or waitlist appointment lacks start and end."
    ),
    "app-4": Rule(
        lambda n, c: "cancelationReason" not in n or n.get("status") in {"no-show", "cancelled"},
        "A cancelationReason needs the status no-show or cancelled.",
    ),
    "apr-1": Rule(
        lambda n, c: has_any(n, "participantType", "actor"), "Give a participantType or an actor."
    ),
    "ces-1": Rule(
        lambda n, c: has(n, "category") != has(n, "productOrService"),
        "Give either category or productOrService.",
    ),
    "cmp-1": Rule(
        lambda n, c: has_any(n, "text", "entry", "section"),
        "A section needs a text, an entry or a section of its own.",
    ),
    "cmp-2": Rule(
        lambda n, c: not has(n, "emptyReason") or "entry" not in n,
        "A section with entries is not empty: remove emptyReason.",
    ),
    "con-1": Rule(
        lambda n, c: has_any(n, "summary", "assessment"), "A stage needs a summary or assessment."
    ),
    "con-2": Rule(lambda n, c: has_any(n, "code", "detail"), "Evidence needs a code or a detail."),
    "con-3": Rule(
        _has_problem_status, "A problem-list-item should have a clinicalStatus.", "warning"
    ),
    "con-4": Rule(
        _is_problem_resolved,
        "An abated condition has the clinicalStatus inactive, resolved or remission: correct it.",
    ),
    "con-5": Rule(
        lambda n, c: (
            not has_code(n, "verificationStatus", _CONDITION_STATUS, _ERROR)
            or not has(n, "clinicalStatus")
        ),
        "What was entered in error has no clinicalStatus: remove it.",
    ),
    "cpl-3": Rule(
        lambda n, c: "detail" not in n or "reference" not in n,
        "Give the activity's detail or a reference, not both.",
    ),
    "ctm-1": Rule(_speaks_for, "onBehalfOf is only for a member who is a Practitioner."),
    "fhs-1": Rule(
        lambda n, c: not has_choice(n, "age") or not has_choice(n, "born"),
        "Give age or born, not both.",
    ),
    "fhs-2": Rule(
        lambda n, c: has_choice(n, "age") or not has(n, "estimatedAge"),
        "estimatedAge needs an age.",
    ),
    "gol-1": Rule(
        lambda n, c: not has_choice(n, "detail") or has(n, "measure"),
        "A target with a detail needs its measure.",
    ),
    "grp-1": Rule(
        lambda n, c: "member" not in n or n.get("actual") is True,
        "Only an actual group has members: set actual to true.",
    ),
    "imm-1": Rule(
        lambda n, c: has_any(n, "documentType", "reference"), "Give documentType or reference."
    ),
    "imr-1": Rule(
        lambda n, c: has_any(n, "vaccineCode", "targetDisease"),
        "Give a vaccineCode or a targetDisease.",
    ),
    "ipn-1": Rule(lambda n, c: has_any(n, "identifier", "name"), "Give an identifier or a name."),
    "lst-1": Rule(
        lambda n, c: not has(n, "emptyReason") or "entry" not in n,
        "A list with entries is not empty: remove emptyReason.",
    ),
    "lst-2": Rule(
        lambda n, c: (
            n.get("mode") == "changes"
            or not any(has(entry, "deleted") for entry in items(n, "entry"))
        ),
        "entry.deleted is only for lists of mode changes.",
    ),
    "lst-3": Rule(
        lambda n, c: (
            n.get("mode") == "working" or not any(has(entry, "date") for entry in items(n, "entry"))
        ),
        "entry.date is only for lists of mode working.",
    ),
    "mad-1": Rule(
        lambda n, c: has(n, "dose") or has_choice(n, "rate"), "Give the dosage's dose or rate."
    ),
    "mdd-1": Rule(
        lambda n, c: _in_order(n.get("whenPrepared"), n.get("whenHandedOver")),
        "whenHandedOver is before whenPrepared: correct them.",
    ),
    "nor-1": Rule(
        lambda n, c: has_any(n, "oralDiet", "supplement", "enteralFormula"),
        "A nutrition order should hold an oralDiet, a supplement or an enteralFormula.",
        "warning",
    ),
    "obs-3": Rule(
        lambda n, c: has_any(n, "low", "high", "text"), "A reference range needs low, high or text."
    ),
    "obs-6": Rule(
        lambda n, c: "dataAbsentReason" not in n or not has_choice(n, "value"),
        "dataAbsentReason is only for an observation without value: remove one of them.",
    ),
    "obs-7": Rule(
        _components_differ,
        "A component has the code of the observation, which has a value: keep one of the values.",
    ),
    "org-1": Rule(lambda n, c: has_any(n, "identifier", "name"), "Give an identifier or a name."),
    "org-2": Rule(_lacks_home, "An organization has no home address: choose another use."),
    "org-3": Rule(_lacks_home, "An organization has no home contact: choose another use."),
    "pat-1": Rule(
        lambda n, c: has_any(n, "name", "telecom", "address", "organization"),
        "A contact needs a name, telecom, address or organization.",
    ),
    "ppc-1": Rule(lambda n, c: has_any(n, "policy", "policyRule"), "Give a policy or policyRule."),
    "prr-1": Rule(
        lambda n, c: "orderDetail" not in n or has(n, "code"), "orderDetail needs a code."
    ),
    "qrs-1": Rule(
        lambda n, c: "answer" not in n or "item" not in n,
        "Items below an answered item belong into its answer: move them.",
    ),
    "ras-1": Rule(_is_percent, "A range of probability is in UCUM %."),
    "ras-2": Rule(_probability_is_possible, "A probability in percent is at most 100."),
    "rqg-1": Rule(
        lambda n, c: has(n, "resource") != has(n, "action"), "Give either a resource or actions."
    ),
    "sev-1": Rule(
        lambda n, c: not has(n, "name") or not has(n, "query"), "Give name or query, not both."
    ),
    "Task.inv-1": Rule(_is_modified_after, "lastModified is before authoredOn: correct them."),
    "lnk-1": Rule(lambda n, c: len(n.get("item", ())) > 1, "A linkage needs at least two items."),
}
RULES |= {
    f"ppc-{place}": _needs_patient(scope)
    for place, scope in enumerate(("patient-privacy", "research", "adr", "treatment"), start=2)
}
