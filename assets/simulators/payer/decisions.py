"""How the payer decides, and the response Bundle that says it.

The end of the member id steers a request: `…-A1` certified, `-A2` in part, `-A3` not certified,
`-A4` pended and certified at the second inquiry (`-A4A3`: then not certified), `-A6` modified,
`-C` cancelled, `-CT` contact payer, `-NA` no authorization needed, `-MOREINFO` pended until a
document comes, `-AAA75` (and other numbers) an error. Without one of them: a service that needs no
authorization gets NA; a request with documents is certified, one without is not.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from assets.simulators.payer.requests import AuthorizationRequest

PAS = "http://hl7.org/fhir/us/davinci-pas/StructureDefinition"
X12 = "https://codesystem.x12.org"
LABELS = {
    "A1": "Certified in total",
    "A2": "Certified in part",
    "A3": "Not certified",
    "A4": "Pended",
    "A6": "Modified",
    "C": "Cancelled",
    "CT": "Contact payer",
    "NA": "No action required",
}
GRANTED = ("A1", "A2", "A6")
NOT_LISTED = frozenset({"99213", "99214", "80053", "85025"})
"""Office visits and routine laboratory tests: nobody authorizes these."""
VALID = timedelta(days=90)
_MAGIC = re.compile(r"-(A1|A2|A3|A4|A6|CT|C|NA|MOREINFO|AAA(\d\d))(A1|A2|A3|A6)?$", re.IGNORECASE)
_REASONS = {
    "A2": ("0V", "Part of the quantity is not supported by the documents."),
    "A3": ("0V", "Conservative therapy of at least 6 weeks not documented (policy RAD-17 s3.2)."),
    "CT": ("0L", "Call the utilization management desk about this request."),
}
Json = dict[str, Any]


@dataclass(slots=True)
class Case:
    """A request that the payer has received."""

    request: AuthorizationRequest
    reference: str
    received_at: datetime
    code: str
    later: str = "A1"
    asks_more: bool = False
    error: str = ""
    inquiries: int = 0

    def decide(self, code: str) -> None:
        """Decide a pended request."""
        self.code, self.asks_more = code, False

    def inquired(self) -> None:
        """Count an inquiry; a pended request is decided at the second."""
        self.inquiries += 1
        if self.code == "A4" and not self.asks_more and self.inquiries > 1:
            self.decide(self.later)


def new_case(request: AuthorizationRequest, number: int, now: datetime) -> Case:
    """Return the case of a request, decided as far as it is."""
    magic = _MAGIC.search(request.member)
    reference = f"PA{number:06d}"
    if magic is None:
        return Case(request, reference, now, _by_content(request))
    word, later = magic[1].upper(), (magic[3] or "A1").upper()
    if word == "MOREINFO":
        has_documents = bool(request.claim.get("supportingInfo"))
        return Case(request, reference, now, "A1" if has_documents else "A4", asks_more=True)
    if magic[2]:
        return Case(request, reference, now, "A3", error=magic[2])
    return Case(request, reference, now, word, later)


def _by_content(request: AuthorizationRequest) -> str:
    codes = {
        coding.get("code")
        for item in request.claim["item"]
        for coding in item["productOrService"]["coding"]
    }
    if codes <= NOT_LISTED:
        return "NA"
    return "A1" if request.claim.get("supportingInfo") else "A3"


def response(case: Case, now: datetime) -> Json:
    """Return the response Bundle: ClaimResponse first, then whom it refers to."""
    claim, request = case.request.claim, case.request
    parties = [claim["patient"], claim["insurer"], claim["provider"]]
    answer = _claim_response(case, now)
    entries: list[Json] = [{"fullUrl": f"{request.claim_url}-response", "resource": answer}]
    if case.code == "A4" and case.asks_more:
        asked = f"{request.claim_url}-more"
        answer["communicationRequest"] = [{"reference": asked}]
        entries.append({"fullUrl": asked, "resource": _asks_for_documents(case)})
    entries += [{"fullUrl": who["reference"], "resource": request.at(who)} for who in parties]
    return {
        "resourceType": "Bundle",
        "meta": {"profile": [f"{PAS}/profile-pas-response-bundle"]},
        "identifier": request.bundle["identifier"],
        "type": "collection",
        "timestamp": _instant(now),
        "entry": entries,
    }


def _claim_response(case: Case, now: datetime) -> Json:
    claim = case.request.claim
    answer: Json = {
        "resourceType": "ClaimResponse",
        "meta": {"profile": [f"{PAS}/profile-claimresponse"]},
        "identifier": claim["identifier"],
        "status": "active",
        "type": claim["type"],
        "use": "preauthorization",
        "patient": claim["patient"],
        "created": _instant(case.received_at),
        "insurer": claim["insurer"],
        "requestor": claim["provider"],
        "request": {"reference": case.request.claim_url},
        "outcome": "error" if case.error else "complete",
    }
    if case.error:
        answer["error"] = [{"code": _concept("005010/901", case.error)}]
        return answer
    answer["extension"] = [
        {"url": f"{PAS}/extension-administrationReferenceNumber", "valueString": case.reference}
    ]
    answer["item"] = [_item(case, item, now.date()) for item in claim["item"]]
    if case.code in GRANTED:
        answer["preAuthRef"] = _number(case)
    if case.code == "A6":
        answer["addItem"] = [_modified(case, item) for item in claim["item"]]
    if case.code in _REASONS:
        answer["processNote"] = [{"number": 1, "text": _REASONS[case.code][1]}]
    if case.code == "A3":
        answer["extension"].append(_human_review())
    return answer


def _human_review() -> Json:
    flag = {"url": "wasHumanReviewedFlag", "valueBoolean": True}
    return {"url": f"{PAS}/extension-claimResponseReviewer", "extension": [flag]}


def _item(case: Case, item: Mapping[str, Any], today: date) -> Json:
    answer: Json = {
        "itemSequence": item["sequence"],
        "adjudication": [
            {
                "extension": [_review_action(case)],
                "category": {
                    "coding": [
                        {
                            "system": "http://terminology.hl7.org/CodeSystem/adjudication",
                            "code": "submitted",
                        }
                    ]
                },
            }
        ],
    }
    if case.code in _REASONS:
        answer["noteNumber"] = [1]
    if case.code in GRANTED:
        period = {"start": today.isoformat(), "end": (today + VALID).isoformat()}
        answer["extension"] = [
            {"url": f"{PAS}/extension-itemPreAuthIssueDate", "valueDate": today.isoformat()},
            {"url": f"{PAS}/extension-itemPreAuthPeriod", "valuePeriod": period},
        ]
    return answer


def _review_action(case: Case) -> Json:
    parts: list[Json] = [
        {
            "url": f"{PAS}/extension-reviewActionCode",
            "valueCodeableConcept": _concept("005010/306", case.code, LABELS[case.code]),
        }
    ]
    if case.code in GRANTED:
        parts.append({"url": "number", "valueString": _number(case)})
    if case.code in _REASONS:
        reason = _concept("external/886", _REASONS[case.code][0])
        parts.append({"url": "reasonCode", "valueCodeableConcept": reason})
    return {"url": f"{PAS}/extension-reviewAction", "extension": parts}


def _modified(case: Case, item: Mapping[str, Any]) -> Json:
    """Return what is authorized in place of an item: one unit of it."""
    return {
        "itemSequence": [item["sequence"]],
        "productOrService": item["productOrService"],
        "quantity": {"value": 1},
        "adjudication": [
            {"extension": [_review_action(case)], "category": {"coding": [{"code": "submitted"}]}}
        ],
    }


def _asks_for_documents(case: Case) -> Json:
    return {
        "resourceType": "CommunicationRequest",
        "meta": {"profile": [f"{PAS}/profile-communicationrequest"]},
        "identifier": [{"value": f"{case.reference}-1"}],
        "status": "active",
        "category": [_concept("005010/755", "PY")],
        "payload": [{"contentString": "Send the clinical notes that support this request."}],
    }


def _number(case: Case) -> str:
    return f"AUTH{case.reference[2:]}"


def _concept(system: str, code: str, display: str = "") -> Json:
    coding = {"system": f"{X12}/{system}", "code": code}
    return {"coding": [coding | ({"display": display} if display else {})]}


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
