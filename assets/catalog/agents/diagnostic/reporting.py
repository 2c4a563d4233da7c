"""What a screening writes: assessment, report, issues, draft order, task.

Everything carries the AIAST label, is preliminary or draft, and names its evidence. The platform
adds the Device and the Provenance, from the evidence of the result.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from assets.sdk import (
    AIAST,
    Context,
    Evaluation,
    Evidence,
    Json,
    Resource,
    RuleOutcome,
    stable_id,
)

from .gathering import Gathered

SNOMED = "http://snomed.info/sct"
LOINC = "http://loinc.org"
LEVELS = "https://healthcloud.dev/fhir/CodeSystem/screening-level"
TASKS = "https://healthcloud.dev/fhir/CodeSystem/review"
RISK = "http://terminology.hl7.org/CodeSystem/risk-probability"

UTI = {"system": SNOMED, "code": "68566005", "display": "Urinary tract infectious disease"}
CYSTITIS = {"system": SNOMED, "code": "307426000", "display": "Acute infective cystitis"}
CULTURE = {
    "system": LOINC,
    "code": "630-4",
    "display": "Bacteria identified in Urine by Culture",
}
TITLES = {
    "likely": "Urinary tract infection likely",
    "possible": "Urinary tract infection possible",
    "unlikely": "Urinary tract infection unlikely",
    "asymptomatic_bacteriuria": "Asymptomatic bacteriuria",
    "contaminated": "Specimen contaminated",
    "insufficient_data": "Insufficient data",
}
QUALITATIVE = {
    "likely": ("high", "High likelihood"),
    "possible": ("moderate", "Moderate likelihood"),
    "unlikely": ("low", "Low likelihood"),
}
CULTURE_LEVELS = frozenset({"likely", "possible", "contaminated"})
PENDING = frozenset({"draft", "active", "on-hold"})
CLOSED_TASKS = frozenset({"completed", "cancelled", "rejected", "failed", "entered-in-error"})
ORDER_LOOKBACK = timedelta(days=14)
UNDECIDED = "No rule could be decided with the findings on record."


@dataclass(slots=True)
class Report:
    """The resources of one screening, and what the agent's output says of them."""

    at: str
    rationale: str
    risk_assessment: str
    diagnostic_report: str
    classification: str | None = None
    service_request: str | None = None
    task: str | None = None
    next_test: Json | None = None
    flags: list[str] = field(default_factory=list)
    flag_rules: list[str] = field(default_factory=list)
    detected_issues: list[str] = field(default_factory=list)
    resources: list[Resource] = field(default_factory=list)
    actions: list[Json] = field(default_factory=list)

    def add(self, resource: Resource) -> str:
        """Keep a resource to be written and return its reference."""
        self.resources.append(resource)
        reference = f"{resource['resourceType']}/{resource['id']}"
        self.actions.append({"tool": "fhir.write", "side_effect": "write", "result": reference})
        return reference


@dataclass(frozen=True, slots=True)
class Screening:
    """One evaluated screening; what the builders below share."""

    context: Context
    gathered: Gathered
    evaluation: Evaluation
    at: str

    @property
    def level(self) -> str:
        return self.evaluation.outputs["level"] or "insufficient_data"

    @property
    def true(self) -> Json:
        """The outputs of all true rules, by rule."""
        said: Json = self.evaluation.outputs["true"]
        return said

    @property
    def subject(self) -> Json:
        return {"reference": self.gathered.patient.reference}

    @property
    def device(self) -> Json:
        return {"reference": self.context.device}

    def rule(self, reference: str) -> RuleOutcome:
        return next(rule for rule in self.evaluation.rules if rule.id == reference)

    def base(self, resource_type: str, name: str) -> Resource:
        """Return the beginning of a resource of this screening."""
        return {
            "resourceType": resource_type,
            "id": self.context.resource_id(name),
            "meta": {"security": [dict(AIAST)]},
        }


def report(context: Context, gathered: Gathered, evaluation: Evaluation) -> Report:
    """Return what a screening writes. Pure but for reading an earlier task for the same flags."""
    screening = Screening(context, gathered, evaluation, instant(context.now))
    classes = [output["class"] for output in screening.true.values() if "class" in output]
    flags = {rule: output["flag"] for rule, output in screening.true.items() if "flag" in output}
    written = Report(
        at=screening.at,
        rationale=evaluation.outputs.get("rationale") or UNDECIDED,
        risk_assessment=f"RiskAssessment/{context.resource_id('risk_assessment')}",
        diagnostic_report=f"DiagnosticReport/{context.resource_id('diagnostic_report')}",
        classification=classes[0] if classes else None,
        flags=list(flags.values()),
        flag_rules=list(flags),
        next_test=_next_test(evaluation),
    )
    _add_order(screening, written)
    written.add(_risk_assessment(screening, written))
    written.add(_diagnostic_report(screening, written))
    written.detected_issues = [written.add(issue) for issue in _issues(screening)]
    if flags:
        _add_task(screening, written)
    return written


def instant(at: datetime) -> str:
    """Write a time as a FHIR instant in UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _next_test(evaluation: Evaluation) -> Json | None:
    """Return the cheapest test that could change the level, or else complete the picture."""
    return next((dict(entry["next_test"]) for entry in evaluation.missing), None)


def _risk_assessment(screening: Screening, written: Report) -> Resource:
    outputs = screening.evaluation.outputs
    evidence = _evidence(screening)
    resource = screening.base("RiskAssessment", "risk_assessment") | {
        "status": "preliminary",
        "method": {"text": f"HealthCloud guideline engine: {_packs(screening)}"},
        "code": {"coding": [dict(UTI)]},
        "subject": screening.subject,
        "occurrenceDateTime": screening.at,
        "performer": screening.device,
    }
    if evidence:
        resource["basis"] = _references(evidence)
    outcome = CYSTITIS if written.classification == "cystitis" else UTI
    prediction: Resource = {"outcome": {"coding": [dict(outcome)]}}
    if outputs["probability"] is not None:
        prediction["probabilityDecimal"] = outputs["probability"]
    if screening.level in QUALITATIVE:
        code, display = QUALITATIVE[screening.level]
        prediction["qualitativeRisk"] = _concept(RISK, code, display)
    prediction["rationale"] = written.rationale
    resource["prediction"] = [prediction]
    resource["mitigation"] = _mitigation(screening, written)
    resource["note"] = [{"text": f"Level: {screening.level}. {_unknowns(screening)}".strip()}]
    return resource


def _mitigation(screening: Screening, written: Report) -> str:
    said = []
    if written.service_request is not None:
        said.append("Send urine culture (LOINC 630-4).")
    elif written.next_test is not None and screening.level == "insufficient_data":
        said.append(f"Next: {written.next_test['text']}.")
    said.extend(written.flags)
    return " ".join([*said, "Clinician review required."])


def _unknowns(screening: Screening) -> str:
    decisive = [e["title"] for e in screening.evaluation.missing if e["decisive"]]
    return f"Not on record: {', '.join(decisive)}." if decisive else ""


def _diagnostic_report(screening: Screening, written: Report) -> Resource:
    results = [
        reference
        for reference in _references(_evidence(screening))
        if reference["reference"].startswith("Observation/")
    ]
    conclusion = [f"{TITLES[screening.level]}. {written.rationale}", *_notes(screening)]
    resource = screening.base("DiagnosticReport", "diagnostic_report") | {
        "status": "preliminary",
        "category": [
            _concept("http://terminology.hl7.org/CodeSystem/v2-0074", "LAB", "Laboratory")
        ],
        "code": {"text": "Urinary tract infection screening"},
        "subject": screening.subject,
        "effectiveDateTime": screening.at,
        "issued": screening.at,
        "conclusion": " ".join([*conclusion, "Preliminary: for review by a clinician."]),
        "conclusionCode": [_conclusion_code(screening.level)],
    }
    if results:
        resource["result"] = results
    if written.service_request is not None:
        resource["basedOn"] = [{"reference": written.service_request}]
    return resource


def _notes(screening: Screening) -> Iterable[str]:
    for output in screening.true.values():
        yield from (output[key] for key in ("flag", "note", "issue") if key in output)


def _conclusion_code(level: str) -> Json:
    coding: list[Json] = [{"system": LEVELS, "code": level, "display": TITLES[level]}]
    if level == "likely":
        coding.append(dict(UTI))
    return {"coding": coding, "text": TITLES[level]}


def _issues(screening: Screening) -> Iterable[Resource]:
    for reference, output in screening.true.items():
        if "issue" not in output:
            continue
        rule = screening.rule(reference)
        implicated = [{"reference": _unversioned(item)} for item in rule.inputs]
        issue = screening.base("DetectedIssue", f"issue {reference}") | {
            "status": "preliminary",
            "code": {"text": output["issue"]},
            "severity": output["severity"],
            "patient": screening.subject,
            "identifiedDateTime": screening.at,
            "author": screening.device,
            "detail": rule.title,
            "reference": rule.citation["url"],
        }
        if implicated:
            issue["implicated"] = implicated
            issue["evidence"] = [{"code": [{"text": rule.title}], "detail": implicated}]
        yield issue


def _add_order(screening: Screening, written: Report) -> None:
    """Draft a urine culture where one would decide and none is known or on order."""
    if screening.level not in CULTURE_LEVELS or not screening.context.config.get(
        "draft_culture_orders", True
    ):
        return
    if screening.level != "contaminated" and not _lacks(screening, "culture_cfu"):
        return
    pending = _pending_culture(screening)
    if pending is not None:
        written.actions.append({"tool": "fhir.write", "side_effect": "none", "result": pending})
        return
    order = screening.base("ServiceRequest", "culture") | {
        "status": "draft",
        "intent": "proposal",
        "priority": "routine",
        "code": {"coding": [dict(CULTURE)], "text": "Urine culture"},
        "subject": screening.subject,
        "authoredOn": screening.at,
        "requester": screening.device,
        "reasonCode": [{"text": TITLES[screening.level]}],
        "supportingInfo": [{"reference": written.risk_assessment}],
        "note": [{"text": "Drafted by the Diagnostic Agent; a clinician decides."}],
    }
    written.service_request = written.add(order)


def _lacks(screening: Screening, name: str) -> bool:
    return any(entry["input"] == name for entry in screening.evaluation.missing)


def _pending_culture(screening: Screening) -> str | None:
    since = instant(screening.context.now - ORDER_LOOKBACK)
    for order in screening.gathered.of_type("ServiceRequest"):
        codes = {c.get("code") for c in (order.resource.get("code") or {}).get("coding", [])}
        authored = str(order.resource.get("authoredOn") or screening.at)
        is_open = order.resource.get("status") in PENDING and authored[:10] >= since[:10]
        if CULTURE["code"] in codes and is_open:
            return order.reference
    return None


def _add_task(screening: Screening, written: Report) -> None:
    """Ask a person to look at the red flags now; the same flags open one task, not many."""
    context = screening.context
    patient = screening.gathered.patient.id
    shared = stable_id("red-flags", context.deployment_id, patient, *sorted(written.flag_rules))
    status = _task_status(context, shared)
    if status is not None and status not in CLOSED_TASKS:
        written.task = f"Task/{shared}"
        return
    task = screening.base("Task", "task") | {
        "status": "requested",
        "intent": "order",
        "priority": "urgent",
        "code": _concept(TASKS, "red-flag", "Review a red flag"),
        "description": " ".join(written.flags),
        "focus": {"reference": written.risk_assessment},
        "for": screening.subject,
        "authoredOn": screening.at,
        "requester": screening.device,
    }
    if status is None:
        task["id"] = shared
    written.task = written.add(task)


def _task_status(context: Context, task_id: str) -> str | None:
    found = context.fhir.find("Task", task_id)
    return None if found is None else str(found.resource.get("status"))


def _decided(screening: Screening) -> list[RuleOutcome]:
    return [rule for rule in screening.evaluation.rules if rule.result is not None]


def _packs(screening: Screening) -> str:
    labels = {f"{rule.id.partition('/')[0]}@{rule.version}": None for rule in _decided(screening)}
    return "; ".join(labels) or "no rule decided"


def _evidence(screening: Screening) -> list[Evidence]:
    """Return the evidence of the conclusion: its rule's inputs, or all of it where none is."""
    found = screening.evaluation.evidence()
    concluded = screening.evaluation.outputs["rule"]
    used = [item for item in found if concluded in item.used_by]
    return used or found


def _references(evidence: Sequence[Evidence]) -> list[Json]:
    return [{"reference": item.reference} for item in evidence]


def _unversioned(reference: str) -> str:
    return reference.partition("/_history/")[0]


def _concept(system: str, code: str, display: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code, "display": display}]}
