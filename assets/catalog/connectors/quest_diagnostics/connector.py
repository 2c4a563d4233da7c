"""Quest Diagnostics: retrieve results and submit orders through Quanum Hub."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from assets.sdk import (
    AssetError,
    Connector,
    Context,
    Emit,
    Evidence,
    Json,
    Probe,
    Result,
    Step,
    StoredResource,
    Write,
    probes,
    stable_id,
    unreachable,
)

from .mapping import PLACER_SYSTEM, map_group, report_id
from .matching import match_patient
from .messages import (
    MessageError,
    OruMessage,
    ReportGroup,
    acknowledgement,
    fhir_datetime,
    parse_oru,
)
from .orders import build_order, order_summary
from .quanum import Batch, Delivery, Quanum
from .review import review_task


@dataclass(slots=True)
class _Retrieval:
    """What one batch of results comes to."""

    writes: list[Write] = field(default_factory=list)
    filed: list[Json] = field(default_factory=list)
    unmatched: list[Json] = field(default_factory=list)
    rejected: list[Json] = field(default_factory=list)
    superseded: list[Json] = field(default_factory=list)
    acks: list[Json] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    seen: dict[str, str] = field(default_factory=dict)


class QuestConnector(Connector):
    """`retrieve_results`, `submit_order`; results are acknowledged only after they are stored."""

    def check(self, context: Context) -> Iterator[Probe]:
        """Yield dns and connection, token, and one read of results that acknowledges nothing."""
        quanum = Quanum(context)
        steps: list[Step] = [
            ("connection", "The host answers.", lambda: _connect(context)),
            ("token", "The credentials are accepted.", quanum.token),
            ("results", "Results can be read.", lambda: _read_one(quanum)),
        ]
        yield from probes(context, steps)

    def invoke(self, context: Context, action: str, input: Json) -> Result:
        """Run `retrieve_results` or `submit_order`."""
        if action == "submit_order":
            return _submit_order(context, input)
        return _retrieve_results(context, input)

    def acknowledge(self, context: Context, receipt: Json) -> None:
        """Send the acknowledgements of a stored batch; repeating them is harmless."""
        messages = [
            (
                item["control_id"],
                acknowledgement(
                    control_id=item["control_id"],
                    code=item["code"],
                    reason=item["reason"],
                    now=context.now,
                ),
            )
            for item in receipt["acks"]
        ]
        Quanum(context).acknowledge(receipt["request_id"], messages)
        context.log("results acknowledged", count=len(messages))


def _connect(context: Context) -> int | None:
    """Ask the host for its root: any HTTP answer means that it is there."""
    base = str(context.config["base_url"]).rstrip("/")
    try:
        return context.http.request("GET", f"{base}/", timeout=5).status
    except AssetError as error:
        raise unreachable(base, error) from error


def _read_one(quanum: Quanum) -> int:
    quanum.get_results(maximum=1)
    return 200


# --- results ---------------------------------------------------------------------------------


def _retrieve_results(context: Context, input: Json) -> Result:
    """Fetch one batch, file what matches, and put the rest before a person."""
    maximum = int(input.get("max_messages") or context.config.get("max_messages", 50))
    batch = Quanum(context).get_results(maximum=maximum)
    found = _Retrieval()
    for delivery in batch.deliveries:
        code, reason = _take(context, delivery, found)
        found.acks.append({"control_id": delivery.control_id, "code": code, "reason": reason})
    context.log(
        "results retrieved",
        messages=len(batch.deliveries),
        filed=len(found.filed),
        unmatched=len(found.unmatched),
        rejected=len(found.rejected),
    )
    return _result(batch, found, maximum, input.get("patient_id"))


def _result(batch: Batch, found: _Retrieval, maximum: int, patient_id: str | None) -> Result:
    filed = found.filed
    if patient_id is not None:
        wanted = f"Patient/{patient_id.removeprefix('Patient/')}"
        filed = [item for item in filed if item["patient"] == wanted]
    output: Json = {
        "received": len(batch.deliveries),
        "filed": len(found.filed),
        "more": len(batch.deliveries) >= maximum,
        "reports": filed,
        "unmatched": found.unmatched,
        "rejected": found.rejected,
        "superseded": found.superseded,
    }
    events = [Emit("diagnostic.report_received", dict(item)) for item in found.filed]
    receipts: list[Json] = []
    if found.acks:
        receipts.append({"request_id": batch.request_id, "acks": found.acks})
    return Result(output, found.writes, events=events, evidence=found.evidence, receipts=receipts)


def _take(context: Context, delivery: Delivery, found: _Retrieval) -> tuple[str, str]:
    """File one message, or put it before a person; return the acknowledgement's code and reason."""
    try:
        if delivery.text is None:
            raise MessageError("the message is not base64")
        message = parse_oru(delivery.text)
    except MessageError as error:
        _ask_person(context, delivery, found, "unusable", str(error))
        found.rejected.append({"control_id": delivery.control_id, "reason": str(error)})
        return "AE", str(error)
    match = match_patient(context, message.patient)
    if match.patient is None:
        task = _ask_person(context, delivery, found, match.reason, "", match.candidates)
        found.unmatched.append(
            {"control_id": delivery.control_id, "reason": match.reason, "task": task}
        )
        return "AE", f"patient not matched: {match.reason}"
    found.evidence.append(Evidence.of(match.patient, "patient_match"))
    for group in message.groups:
        _file(context, message, group, match.patient, found)
    return "CA", ""


def _file(
    context: Context,
    message: OruMessage,
    group: ReportGroup,
    patient: StoredResource,
    found: _Retrieval,
) -> None:
    """Add the writes of one OBR, unless what is stored is newer (messages may overtake)."""
    identity = report_id(group)
    summary = {
        "diagnostic_report": f"DiagnosticReport/{identity}",
        "patient": patient.reference,
        "control_id": message.control_id,
    }
    mapped = map_group(
        message, group, patient.reference, order=_order_reference(context, group, patient)
    )
    issued = str(mapped.report.get("issued", fhir_datetime(message.sent_at) or ""))
    known = found.seen.get(identity) or _stored_issued(context, identity)
    if known is not None and issued and known > issued:
        found.superseded.append(summary)
        return
    found.seen[identity] = issued
    found.writes.extend(Write("upsert", resource) for resource in mapped.all())
    found.filed.append(
        summary
        | {
            "status": mapped.report["status"],
            "observations": [f"Observation/{item['id']}" for item in mapped.observations],
        }
    )


def _stored_issued(context: Context, identity: str) -> str | None:
    stored = context.fhir.find("DiagnosticReport", identity)
    issued = None if stored is None else stored.resource.get("issued")
    return str(issued) if issued else None


def _order_reference(context: Context, group: ReportGroup, patient: StoredResource) -> str | None:
    if not group.placer:
        return None
    query = {"identifier": f"{PLACER_SYSTEM}|{group.placer}", "subject": patient.reference}
    order = context.fhir.first("ServiceRequest", query)
    own = stable_id("quest-order", group.placer)
    return None if order is None or order.id == own else order.reference


def _ask_person(
    context: Context,
    delivery: Delivery,
    found: _Retrieval,
    reason: str,
    detail: str,
    candidates: tuple[str, ...] = (),
) -> str:
    task = review_task(
        control_id=delivery.control_id,
        reason=reason,
        message=delivery.text,
        detail=detail,
        candidates=candidates,
        now=context.now,
    )
    if context.fhir.find("Task", task["id"]) is None:  # else a person has this message already
        found.writes.append(Write("upsert", task))
    return f"Task/{task['id']}"


# --- orders ----------------------------------------------------------------------------------


def _submit_order(context: Context, input: Json) -> Result:
    """Send a ServiceRequest as ORM^O01; store the requisition and the placer number."""
    order = context.fhir.read("ServiceRequest", input["service_request_id"])
    subject = str(order.resource["subject"].get("reference", ""))
    patient = context.fhir.read("Patient", subject.removeprefix("Patient/"))
    message = build_order(context, order, patient)
    documents = Quanum(context).submit_order(message.text, document_types=["REQ"])
    writes = order_summary(context, order, message.placer, documents)
    context.log("order submitted", service_request=order.id, documents=len(documents))
    return Result(
        output={
            "service_request": order.reference,
            "placer_number": message.placer,
            "documents": [
                f"DocumentReference/{write.resource['id']}"
                for write in writes
                if write.resource["resourceType"] == "DocumentReference"
            ],
        },
        resources=writes,
        evidence=[Evidence.of(order, "order"), Evidence.of(patient, "order")],
    )
