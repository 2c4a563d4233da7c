"""The Diagnostic Agent: gather what the record says, evaluate the rules, propose what to write.

plan → gather (as of now) → evaluate → propose → the platform writes → events. Everything is decided
by the rule packs in `rules/`; the same record gives the same result to the byte. What it writes is
preliminary and addressed to a clinician; it orders and treats nothing.
"""

from collections.abc import Iterator

from assets.sdk import Agent, Context, Emit, Evaluation, Json, Probe, Result, Write, probe

from .gathering import Gathered, gather
from .reporting import Report, report

PACK = "uti-screening"
NO_LEVEL = "insufficient_data"


class DiagnosticAgent(Agent):
    """Screens one patient for urinary tract infection."""

    def check(self, context: Context) -> Iterator[Probe]:
        """Yield one probe: the rule packs can be read and give unknown where nothing is known."""

        def evaluate() -> None:
            evaluation = context.rules.evaluate(PACK, [], now=context.now)
            context.log("rules evaluated", rules=len(evaluation.rules))

        yield probe(context, "rules", evaluate, "The rule packs are valid.")

    def run(self, context: Context, input: Json) -> Result:
        """Screen `input.patient_id`; AssetError `patient_not_found` names an unknown patient."""
        gathered = gather(context, str(input["patient_id"]))
        evaluation = context.rules.evaluate(
            PACK,
            gathered.resources,
            now=context.now,
            parameters={"long_term_care": context.config.get("care_setting") == "long_term_care"},
        )
        written = report(context, gathered, evaluation)
        context.log(
            "screening finished",
            observations=sum(r.resource_type == "Observation" for r in gathered.resources),
            rules=len(evaluation.rules),
            resources=len(written.resources),
        )
        return Result(
            output=_output(context, gathered, evaluation, written),
            resources=[Write("upsert", resource) for resource in written.resources],
            events=_events(context, gathered, written),
            evidence=evaluation.evidence(),
            rules=list(evaluation.rules),
            missing=list(evaluation.missing),
            actions=[*gathered.actions, *written.actions],
        )


def _output(context: Context, gathered: Gathered, evaluation: Evaluation, written: Report) -> Json:
    outputs = evaluation.outputs
    return {
        "level": outputs["level"] or NO_LEVEL,
        "probability": outputs["probability"],
        "basis": outputs.get("basis") or None,
        "rationale": written.rationale,
        "rule": outputs["rule"],
        "citation": outputs.get("citation"),
        "classification": written.classification,
        "red_flags": written.flags,
        "patient_id": gathered.patient.id,
        "risk_assessment": written.risk_assessment,
        "diagnostic_report": written.diagnostic_report,
        "detected_issues": written.detected_issues,
        "service_request": written.service_request,
        "task": written.task,
        "next_test": written.next_test,
        "missing": [entry["input"] for entry in evaluation.missing],
        "evidence": [f"{e.reference}/_history/{e.version}" for e in evaluation.evidence()],
        "as_of": written.at,
        "review": "Preliminary: for review by a clinician.",
    }


def _events(context: Context, gathered: Gathered, written: Report) -> list[Emit]:
    payload: Json = {
        "patient_id": gathered.patient.id,
        "agent_run_id": context.run_id,
        "deployment_id": context.deployment_id,
        "asset_id": context.asset_id,
        "risk_assessment": written.risk_assessment,
        "diagnostic_report": written.diagnostic_report,
    }
    events = [Emit("diagnostic.result_ready", payload)]
    if written.task is not None:
        flagged = {**payload, "task": written.task, "flags": written.flag_rules}
        events.append(Emit("diagnostic.red_flag_raised", flagged, "critical"))
    return events
