"""ServiceRequest to ORM^O01 (v2.3, field style), and what comes back with the requisition. Pure.

Layout as Quest's Quanum orders have it: `MSH PID PV1 ORC {OBR DG1* OBX*}`; the test's local code
stands in OBR-4 component 4, MSH-6 is the laboratory's business unit, MSH-11 T in tests.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assets.sdk import AssetError, Context, Json, Resource, StoredResource, Write

from .codes import LOCAL_CODES
from .mapping import IDENTIFIER_TYPES, PLACER_SYSTEM

_ESCAPES = (("\\", "\\E\\"), ("|", "\\F\\"), ("^", "\\S\\"), ("&", "\\T\\"), ("~", "\\R\\"))
_SEX = {"female": "F", "male": "M", "other": "O", "unknown": "U"}


@dataclass(frozen=True, slots=True)
class Order:
    """An ORM message and its placer order number."""

    placer: str
    text: str


def build_order(context: Context, order: StoredResource, patient: StoredResource) -> Order:
    """Return the ORM^O01 of a ServiceRequest.

    Raises AssetError `order_incomplete` that names what Quest needs and the resources lack.
    """
    code, name = _quest_test(order.resource)
    person = patient.resource
    missing = [label for label, there in _needed(person, code) if not there]
    if missing:
        raise AssetError(
            "order_incomplete",
            f"The order can't be sent: {', '.join(missing)} missing.",
            remedy="Complete the ServiceRequest or the Patient and send it again.",
        )
    placer = _placer(context, order)
    now = context.now.strftime("%Y%m%d%H%M%S")
    processing = "P" if context.environment == "production" else "T"
    account, unit = (str(context.config.get(key, "")) for key in ("account", "business_unit"))
    number = _record_number(patient)
    requester = _requester(order.resource)
    birth = str(person["birthDate"]).replace("-", "")
    sex = _SEX.get(str(person.get("gender")), "U")
    header = ["HEALTHCLOUD", _e(account), "QUEST", _e(unit), now, "", "ORM^O01", _e(placer)]
    bill_type = _e(str(context.config.get("bill_type", "C")))
    test = f"^^^{_e(code)}^{_e(name)}"
    segments = [
        ["MSH", "^~\\&", *header, processing, "2.3"],
        ["PID", "1", _e(number), _e(number), "", _name(person), "", birth, sex],
        ["PV1", "1", "O", "", "", "", "", requester],
        ["ORC", "NW", _e(placer), "", "", "", "", "", "", now, "", "", requester],
        ["OBR", "1", _e(placer), "", test, "R", "", now, *[""] * 8, requester, "", bill_type],
    ]
    segments += [["DG1", str(n), "", d] for n, d in enumerate(_diagnoses(order.resource), 1)]
    return Order(placer, "".join("|".join(segment) + "\r" for segment in segments))


def order_summary(
    context: Context, order: StoredResource, placer: str, documents: Sequence[Json]
) -> list[Write]:
    """Return the writes after an order: the placer number on it, and the requisition document."""
    changed: Resource = {**order.resource}
    identifiers = list(changed.get("identifier", []))
    if not any(item.get("system") == PLACER_SYSTEM for item in identifiers):
        placed = {"coding": [{"system": IDENTIFIER_TYPES, "code": "PLAC"}]}
        identifiers.append({"type": placed, "system": PLACER_SYSTEM, "value": placer})
        changed["identifier"] = identifiers
    if changed.get("status") == "draft":
        changed["status"] = "active"
    writes = [Write("update", changed)]
    for number, document in enumerate(documents, 1):
        data = document.get("documentData")
        if isinstance(data, str):
            kind = str(document.get("documentType", "REQ"))
            writes.append(Write("upsert", _document(context, order, kind, data, number)))
    return writes


def _document(
    context: Context, order: StoredResource, kind: str, data: str, number: int
) -> Resource:
    return {
        "resourceType": "DocumentReference",
        "id": context.resource_id(f"order-document-{order.id}-{number}"),
        "status": "current",
        "type": {"text": "Laboratory requisition" if kind == "REQ" else kind},
        "subject": order.resource["subject"],
        "date": context.now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "content": [{"attachment": {"contentType": "application/pdf", "data": data}}],
        "context": {"related": [{"reference": order.reference}]},
    }


def _needed(person: Resource, code: str) -> list[tuple[str, object]]:
    names = person.get("name") or [{}]
    return [
        ("Patient.birthDate", person.get("birthDate")),
        ("Patient.name.family", names[0].get("family")),
        ("Patient.name.given", names[0].get("given")),
        (f"a ServiceRequest.code coding of {LOCAL_CODES}", code),
    ]


def _quest_test(order: Resource) -> tuple[str, str]:
    concept = order.get("code", {})
    for coding in concept.get("coding", []):
        if coding.get("system") == LOCAL_CODES:
            return coding.get("code", ""), coding.get("display") or concept.get("text", "")
    return "", ""


def _placer(context: Context, order: StoredResource) -> str:
    for identifier in order.resource.get("identifier", []):
        if identifier.get("system") == PLACER_SYSTEM:
            return str(identifier["value"])
    return f"HC-{context.resource_id('placer-' + order.id)[:12].upper()}"


def _record_number(patient: StoredResource) -> str:
    for identifier in patient.resource.get("identifier", []):
        for coding in identifier.get("type", {}).get("coding", []):
            if coding.get("code") == "MR" and identifier.get("value"):
                return str(identifier["value"])
    return patient.id


def _requester(order: Resource) -> str:
    requester: Mapping[str, object] = order.get("requester", {})
    identifier = requester.get("identifier")
    number = identifier.get("value", "") if isinstance(identifier, dict) else ""
    given, _, family = str(requester.get("display", "")).rpartition(" ")
    return f"{_e(str(number))}^{_e(family)}^{_e(given)}" if number or family else ""


def _diagnoses(order: Resource) -> list[str]:
    codes = []
    for concept in order.get("reasonCode", []):
        for coding in concept.get("coding", []):
            if "icd-10" in coding.get("system", ""):
                codes.append(f"{_e(coding['code'])}^{_e(coding.get('display', ''))}^I10")
    return codes


def _name(person: Resource) -> str:
    name = person["name"][0]
    return "^".join(_e(part) for part in [name["family"], *name["given"][:2]])


def _e(text: str) -> str:
    for character, escape in _ESCAPES:
        text = text.replace(character, escape)
    return text.replace("\r", " ").replace("\n", " ")
