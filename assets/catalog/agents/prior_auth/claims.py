"""The Claim of a request, by the profile of Da Vinci PAS; the same record makes the same Claim.

https://build.fhir.org/ig/HL7/davinci-pas/StructureDefinition-profile-claim.html
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from assets.sdk import AIAST, Context, Json, Resource, StoredResource, stable_id

from .gathering import Gathered

PAS = "http://hl7.org/fhir/us/davinci-pas/StructureDefinition"
X12 = "https://codesystem.x12.org/005010"
IDENTIFIERS = "https://healthcloud.dev/prior-auth"


def claim_id(context: Context, gathered: Gathered) -> str:
    """Return the id of the request for this version of an order under this coverage."""
    return stable_id(
        "prior-auth",
        context.deployment_id,
        gathered.order.versioned_reference,
        gathered.coverage.reference,
    )


def build_claim(
    context: Context, gathered: Gathered, documents: Sequence[StoredResource]
) -> Resource:
    """Return the draft Claim of a request; what is not on record is left out."""
    own = claim_id(context, gathered)
    claim: Resource = {
        "resourceType": "Claim",
        "id": own,
        "meta": {"security": [dict(AIAST)]},
        "identifier": [{"system": IDENTIFIERS, "value": f"HC-{own[:20].upper()}"}],
        "status": "draft",
        "type": _concept("http://terminology.hl7.org/CodeSystem/claim-type", "professional"),
        "use": "preauthorization",
        "patient": {"reference": gathered.patient.reference},
        "created": instant(context.now),
        "insurer": {"reference": gathered.insurer.reference},
        "priority": _concept(
            "http://terminology.hl7.org/CodeSystem/processpriority",
            "stat" if gathered.is_urgent else "normal",
        ),
        "insurance": [
            {
                "sequence": 1,
                "focal": True,
                "coverage": {"reference": gathered.coverage.reference},
            }
        ],
        "item": [_item(gathered, own)],
    }
    if gathered.is_urgent:
        claim["extension"] = [_coded("extension-levelOfServiceCode", f"{X12}/1338", "U")]
    if gathered.provider is not None:
        claim["provider"] = {"reference": gathered.provider.reference}
    if gathered.requester is not None and gathered.requester.resource_type != "Organization":
        requester = {"reference": gathered.requester.reference}
        claim["careTeam"] = [{"sequence": 1, "provider": requester}]
    if gathered.diagnoses:
        claim["diagnosis"] = [
            {"sequence": number, "diagnosisCodeableConcept": concept}
            for number, concept in enumerate(gathered.diagnoses, 1)
        ]
    if documents:
        claim["supportingInfo"] = [
            _supporting(number, document) for number, document in enumerate(documents, 1)
        ]
    return claim


def _item(gathered: Gathered, own: str) -> Json:
    order = gathered.order.resource
    trace = {"system": IDENTIFIERS, "value": f"HC-{own[:20].upper()}-1"}
    ordered = {"reference": gathered.order.reference}
    item: Json = {
        "extension": [
            {"url": f"{PAS}/extension-itemTraceNumber", "valueIdentifier": trace},
            _coded("extension-serviceItemRequestType", f"{X12}/1525", "HS"),
            _coded("extension-certificationType", f"{X12}/1322", "I"),
            {"url": f"{PAS}/extension-requestedService", "valueReference": ordered},
        ],
        "sequence": 1,
        "productOrService": gathered.service or {"text": "not coded"},
    }
    if gathered.diagnoses:
        item["diagnosisSequence"] = list(range(1, len(gathered.diagnoses) + 1))
    occurrence = order.get("occurrenceDateTime") or (order.get("occurrencePeriod") or {}).get(
        "start"
    )
    if isinstance(occurrence, str) and len(occurrence) >= 10:
        item["servicedDate"] = occurrence[:10]
    quantity = order.get("quantityQuantity")
    if quantity:
        item["quantity"] = quantity
    return item


def _supporting(number: int, document: StoredResource) -> Json:
    category = _concept(
        "http://hl7.org/fhir/us/davinci-pas/CodeSystem/PASTempCodes", "additionalInformation"
    )
    return {
        "sequence": number,
        "category": category,
        "valueReference": {"reference": document.reference},
    }


def keep_stored(claim: Resource, stored: Resource) -> Resource:
    """Return the stored draft where it says the same, so that preparing again changes nothing."""
    return stored if digest(claim) == digest(stored) else claim


def digest(claim: Resource) -> str:
    """Return what identifies the content of a Claim that a person approves."""
    content = {k: v for k, v in claim.items() if k not in ("meta", "text", "created", "status")}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def _plain(value: Any) -> float:  # noqa: ANN401  # a decimal
    return float(value)


def instant(at: datetime) -> str:
    """Write a time as a FHIR instant in UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _concept(system: str, code: str) -> Json:
    return {"coding": [{"system": system, "code": code}]}


def _coded(extension: str, system: str, code: str) -> Json:
    return {"url": f"{PAS}/{extension}", "valueCodeableConcept": _concept(system, code)}
