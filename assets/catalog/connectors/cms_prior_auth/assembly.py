"""A Claim of the project as a PAS request Bundle, with what it refers to and no more.

https://build.fhir.org/ig/HL7/davinci-pas/StructureDefinition-profile-pas-request-bundle.html

Only what the Claim names goes along, and the coverage's payer; references of those to anything else
of the record are left out (minimum necessary, 45 CFR 164.502(b)).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from assets.sdk import AssetError, Context, Evidence, Json, Resource

PAS = "http://hl7.org/fhir/us/davinci-pas/StructureDefinition"
NPI = "http://hl7.org/fhir/sid/us-npi"
IDENTIFIER_TYPES = "http://terminology.hl7.org/CodeSystem/v2-0203"
PROFILES = {
    "Claim": "profile-claim",
    "Patient": "profile-beneficiary",
    "Coverage": "profile-coverage",
    "ServiceRequest": "profile-servicerequest",
    "DeviceRequest": "profile-devicerequest",
    "MedicationRequest": "profile-medicationrequest",
    "Practitioner": "profile-practitioner",
    "PractitionerRole": "profile-practitionerrole",
}
REQUIRED = ("type", "created", "patient", "insurer", "provider", "priority", "insurance", "item")
_LOCAL = re.compile(r"^([A-Z][A-Za-z]+)/([A-Za-z0-9._-]{1,64})(?:/_history/[^/]+)?$")
_R4_ID = re.compile(r"^[A-Za-z0-9.-]{1,64}$")


@dataclass(slots=True)
class Assembly:
    """A bundle on its way to the payer, and what was read for it."""

    bundle: Resource
    claim: Resource
    problems: list[Json] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)

    @property
    def resources(self) -> list[str]:
        """The types of what is sent, in order."""
        return [entry["resource"]["resourceType"] for entry in self.bundle["entry"]]


def assemble(context: Context, claim: Resource) -> Assembly:
    """Return the request Bundle of a Claim, and what is wrong with it."""
    problems = list(_missing(claim))
    found, evidence = _gather(context, claim, problems)
    _complete(claim, found, problems)
    urls = {reference: _url(context, reference) for reference in found}
    entries = [_entry(_url(context, _own(claim)), {**claim, "status": "active"}, urls)]
    entries += [_entry(urls[name], resource, urls, claim=claim) for name, resource in found.items()]
    problems += _unsendable(found)
    bundle: Resource = {
        "resourceType": "Bundle",
        "meta": {"profile": [f"{PAS}/profile-pas-request-bundle"]},
        "identifier": {
            "system": "https://healthcloud.dev/transaction",
            "value": context.resource_id("transaction"),
        },
        "type": "collection",
        "timestamp": instant(context.now),
        "entry": entries,
    }
    return Assembly(bundle, claim, problems, evidence)


def inquiry(assembly: Assembly) -> Resource:
    """Return the Bundle that asks about a request: the Claim and the parties, no evidence."""
    first, *others = assembly.bundle["entry"]
    parties = {"Patient", "Organization", "Coverage"}
    kept = [entry for entry in others if entry["resource"]["resourceType"] in parties]
    dropped = ("supportingInfo", "item", "diagnosis", "careTeam", "related")
    claim = {name: value for name, value in first["resource"].items() if name not in dropped}
    claim["meta"] = {"profile": [f"{PAS}/profile-claim-inquiry"]}
    return {
        **assembly.bundle,
        "meta": {"profile": [f"{PAS}/profile-pas-inquiry-request-bundle"]},
        "entry": [{"fullUrl": first["fullUrl"], "resource": claim}, *kept],
    }


def instant(at: datetime) -> str:
    """Write a time as a FHIR instant in UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _own(claim: Resource) -> str:
    return f"Claim/{claim.get('id', 'new')}"


def _url(context: Context, reference: str) -> str:
    name = f"https://healthcloud.dev/{context.organization_id}/{context.project_id}/{reference}"
    return f"urn:uuid:{uuid5(NAMESPACE_URL, name)}"


def _problem(expression: str, text: str) -> Json:
    return {"expression": expression, "text": text}


def _missing(claim: Resource) -> Iterator[Json]:
    if claim.get("use") != "preauthorization":
        yield _problem("Claim.use", "Claim.use must be preauthorization")
    for name in REQUIRED:
        if not claim.get(name):
            yield _problem(f"Claim.{name}", f"Claim.{name} is required")
    if not any(item.get("value") for item in claim.get("identifier", [])):
        yield _problem("Claim.identifier", "Claim.identifier is required: it names the request")
    for number, item in enumerate(claim.get("item", [])):
        if not (item.get("productOrService") or {}).get("coding"):
            at = f"Claim.item[{number}].productOrService"
            yield _problem(at, f"{at} has no code")


def _gather(
    context: Context, claim: Resource, problems: list[Json]
) -> tuple[dict[str, Resource], list[Evidence]]:
    """Read what the Claim names, and the coverage's payers."""
    found: dict[str, Resource] = {}
    evidence: list[Evidence] = []
    waiting = list(references(claim))
    while waiting:
        path, reference = waiting.pop(0)
        if reference in found:
            continue
        match = _LOCAL.match(reference)
        if match is None:
            problems.append(_problem(path, f"{path} must refer to a resource of this project"))
            continue
        try:
            stored = context.fhir.read(match[1], match[2])
        except AssetError as error:
            if error.code not in ("resource_not_found", "not_permitted"):
                raise
            problems.append(_problem(path, error.message))
            continue
        found[reference] = stored.resource
        evidence.append(Evidence.of(stored, "request"))
        if match[1] == "Coverage":
            payors = stored.resource.get("payor", [])
            waiting += [("Coverage.payor", p["reference"]) for p in payors if "reference" in p]
    return found, evidence


def references(value: object, path: str = "Claim") -> Iterator[tuple[str, str]]:
    """Yield where each reference of a resource stands, and what it refers to."""
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield path, value["reference"]
        for name, member in value.items():
            yield from references(member, f"{path}.{name}")
    elif isinstance(value, list):
        for number, member in enumerate(value):
            yield from references(member, f"{path}[{number}]")


def _complete(claim: Resource, found: Mapping[str, Resource], problems: list[Json]) -> None:
    """Check the parties: the member id, whose coverage it is, the provider's NPI."""
    provider = found.get((claim.get("provider") or {}).get("reference", ""), {})
    numbers = [i for i in provider.get("identifier", []) if i.get("system") == NPI]
    if provider and not any(is_npi(str(item.get("value", ""))) for item in numbers):
        problems.append(_problem("Claim.provider", "The provider has no valid NPI"))
    for insurance in claim.get("insurance", [])[:1]:
        coverage = found.get((insurance.get("coverage") or {}).get("reference", ""), {})
        if not coverage:
            continue
        at = "Claim.insurance[0].coverage"
        if not member_id(coverage):
            problems.append(_problem(at, "The coverage names no member id (subscriberId)"))
        if coverage.get("status") != "active":
            problems.append(_problem(at, f"The coverage is {coverage.get('status')}"))
        whose = (coverage.get("beneficiary") or {}).get("reference")
        if whose != (claim.get("patient") or {}).get("reference"):
            problems.append(_problem(at, "The coverage is not that of Claim.patient"))


def member_id(coverage: Resource) -> str:
    """Return the member id of a coverage, empty where it names none."""
    for identifier in coverage.get("identifier", []):
        codings = (identifier.get("type") or {}).get("coding", [])
        if any(item.get("code") == "MB" for item in codings) and identifier.get("value"):
            return str(identifier["value"])
    return str(coverage.get("subscriberId") or "")


def is_npi(number: str) -> bool:
    """Whether the check digit of a National Provider Identifier is right (45 CFR 162.406)."""
    if len(number) != 10 or not (number.isascii() and number.isdigit()):
        return False
    total = 24  # the prefix 80840 of a health application card
    for position, digit in enumerate(reversed(number)):
        doubled = int(digit) * (2 if position % 2 else 1)
        total += doubled // 10 + doubled % 10
    return total % 10 == 0


def _unsendable(found: Mapping[str, Resource]) -> Iterator[Json]:
    for reference, resource in found.items():
        if resource["resourceType"] != "DocumentReference":
            continue
        for content in resource.get("content", []):
            if not content.get("attachment", {}).get("data"):
                text = f"{reference} has no inline data: a payer can't fetch documents from here"
                yield _problem("Claim.supportingInfo", text)


def _entry(
    url: str, resource: Resource, urls: Mapping[str, str], *, claim: Resource | None = None
) -> Json:
    kept = {k: v for k, v in resource.items() if k not in ("meta", "text", "contained")}
    if not _R4_ID.match(str(kept.get("id", ""))):
        kept.pop("id", None)
    sent: Resource = _rewritten(kept, urls) or {}
    profile = _profile(resource, claim)
    if profile:
        sent["meta"] = {"profile": [f"{PAS}/{profile}"]}
    return {"fullUrl": url, "resource": sent}


def _profile(resource: Resource, claim: Resource | None) -> str | None:
    kind = resource["resourceType"]
    if kind != "Organization":
        return PROFILES.get(kind)
    insurer = (claim or {}).get("insurer", {}).get("reference", "")
    return "profile-insurer" if insurer.endswith(f"/{resource.get('id')}") else "profile-requestor"


def _rewritten(value: Any, urls: Mapping[str, str]) -> Any:  # noqa: ANN401  # JSON
    """Return a value whose references lead into the bundle; None where nothing of it is left."""
    if isinstance(value, list):
        kept = [item for item in (_rewritten(item, urls) for item in value) if item is not None]
        return kept or None
    if not isinstance(value, dict):
        return value
    members = {name: _rewritten(member, urls) for name, member in value.items()}
    if isinstance(value.get("reference"), str):
        members["reference"] = urls.get(value["reference"])
    kept_members = {name: member for name, member in members.items() if member is not None}
    return kept_members or None
