"""What arrives at `Claim/$submit` and `Claim/$inquire`: read, and judged as a payer would.

https://build.fhir.org/ig/HL7/davinci-pas/specification.html (bundles: Claim first, type
collection, every referenced resource inside, once).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assets.simulators.payer.outcomes import Issue

NPI = "http://hl7.org/fhir/sid/us-npi"
MEMBER = "MB"
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A bundle that can be worked with."""

    bundle: Json
    claim: Json
    claim_url: str
    resources: Mapping[str, Json]
    member: str

    @property
    def key(self) -> tuple[str, str]:
        """The Claim's identifier, by which a request is known."""
        identifier = self.claim["identifier"][0]
        return str(identifier.get("system", "")), str(identifier["value"])

    @property
    def expedited(self) -> bool:
        """Whether the decision is due within 72 hours."""
        codings = self.claim.get("priority", {}).get("coding", [])
        return any(coding.get("code") == "stat" for coding in codings)

    def at(self, reference: Mapping[str, Any]) -> Json:
        """Return the resource that a reference of the bundle names."""
        return self.resources[reference["reference"]]


def parse(body: bytes, *, inquiry: bool) -> AuthorizationRequest | list[Issue]:
    """Return the request, or what is wrong with it."""
    try:
        bundle = json.loads(body)
    except ValueError:
        return [Issue("structure", "The body is not JSON")]
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        return [Issue("structure", "The body is not a Bundle", "Bundle")]
    entries = bundle.get("entry")
    if (
        not isinstance(entries, list)
        or not all(_is_entry(entry) for entry in entries)
        or not entries
    ):
        return [Issue("required", "Each entry has fullUrl and resource", "Bundle.entry")]
    claim = entries[0]["resource"]
    if claim["resourceType"] != "Claim":
        return [Issue("invalid", "First entry must be a Claim", "Bundle.entry[0].resource")]
    resources = {entry["fullUrl"]: entry["resource"] for entry in entries}
    issues = [*_of_bundle(bundle, resources), *_of_claim(claim, inquiry)]
    issues += [] if issues else _of_references(entries, resources)
    issues += [] if issues else _of_parties(claim, resources)
    if issues:
        return issues
    member = _member(resources[claim["insurance"][0]["coverage"]["reference"]])
    return AuthorizationRequest(bundle, claim, entries[0]["fullUrl"], resources, member)


def _is_entry(entry: object) -> bool:
    resource = entry.get("resource") if isinstance(entry, dict) else None
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("fullUrl"), str)
        and isinstance(resource, dict)
        and isinstance(resource.get("resourceType"), str)
    )


def _of_bundle(bundle: Json, resources: Mapping[str, Json]) -> Iterator[Issue]:
    if bundle.get("type") != "collection":
        yield Issue("value", "Bundle.type must be collection", "Bundle.type")
    for name in ("identifier", "timestamp"):
        if not bundle.get(name):
            yield Issue("required", f"Bundle.{name} is required", f"Bundle.{name}")
    if len(resources) != len(bundle["entry"]):
        yield Issue("duplicate", "Two entries have the same fullUrl", "Bundle.entry")
    if sum(resource["resourceType"] == "Claim" for resource in resources.values()) != 1:
        yield Issue("invalid", "One request holds one Claim", "Bundle.entry")


def _of_claim(claim: Json, inquiry: bool) -> Iterator[Issue]:
    for name, wanted in (("status", "active"), ("use", "preauthorization")):
        if claim.get(name) != wanted:
            yield Issue("value", f"Claim.{name} must be {wanted}", f"Claim.{name}")
    present = {name: claim.get(name) for name in ("created", "priority", "type")}
    present |= {name: _reference(claim.get(name)) for name in ("patient", "insurer", "provider")}
    present["identifier"] = _first(claim, "identifier").get("value")
    present["insurance"] = _reference(_first(claim, "insurance").get("coverage"))
    for name, value in present.items():
        if not value:
            yield Issue("required", f"Claim.{name} is required", f"Claim.{name}")
    if not inquiry:
        yield from _of_items(claim.get("item"))


def _reference(value: object) -> object:
    return value.get("reference") if isinstance(value, dict) else None


def _first(claim: Json, name: str) -> Json:
    found = claim.get(name)
    first = found[0] if isinstance(found, list) and found else {}
    return first if isinstance(first, dict) else {}


def _of_items(items: object) -> Iterator[Issue]:
    if not isinstance(items, list) or not items:
        yield Issue("required", "Claim.item is required", "Claim.item")
        return
    for number, item in enumerate(items):
        at = f"Claim.item[{number}]"
        if not isinstance(item, dict) or not isinstance(item.get("sequence"), int):
            yield Issue("required", f"{at}.sequence is required", f"{at}.sequence")
        elif not (item.get("productOrService") or {}).get("coding"):
            yield Issue("required", f"{at}.productOrService has no code", f"{at}.productOrService")


def _of_references(
    entries: Sequence[Mapping[str, Any]], resources: Mapping[str, Json]
) -> Iterator[Issue]:
    for number, entry in enumerate(entries):
        for path, reference in _references(entry["resource"], entry["resource"]["resourceType"]):
            if reference not in resources and not reference.startswith("#"):
                text = f"{path} refers to {reference}, which is not in the bundle"
                yield Issue("not-found", text, f"Bundle.entry[{number}].resource")
        for attachment in _attachments(entry["resource"]):
            if not attachment.get("data"):
                text = "A document is sent inline: attachment.data is required"
                yield Issue("required", text, f"Bundle.entry[{number}].resource.content")


def _references(value: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield path, value["reference"]
        for name, member in value.items():
            yield from _references(member, f"{path}.{name}")
    elif isinstance(value, list):
        for number, member in enumerate(value):
            yield from _references(member, f"{path}[{number}]")


def _attachments(resource: Json) -> Iterator[Json]:
    if resource["resourceType"] == "DocumentReference":
        for content in resource.get("content", []):
            yield content.get("attachment", {})


def _of_parties(claim: Json, resources: Mapping[str, Json]) -> Iterator[Issue]:
    wanted = {"patient": "Patient", "insurer": "Organization", "provider": "Organization"}
    for name, kind in wanted.items():
        if resources[claim[name]["reference"]]["resourceType"] != kind:
            yield Issue("invalid", f"Claim.{name} must be a {kind}", f"Claim.{name}")
            return
    provider = resources[claim["provider"]["reference"]]
    numbers = [i.get("value") for i in provider.get("identifier", []) if i.get("system") == NPI]
    if not any(is_npi(str(number)) for number in numbers):
        yield Issue("invalid", "The provider has no valid NPI", "Claim.provider")
    coverage = resources[claim["insurance"][0]["coverage"]["reference"]]
    if coverage["resourceType"] != "Coverage" or not _member(coverage):
        yield Issue("required", "The coverage names no member id", "Claim.insurance[0].coverage")
    elif coverage.get("status") != "active":
        yield Issue("business-rule", "The coverage is not active", "Claim.insurance[0].coverage")
    elif coverage.get("beneficiary", {}).get("reference") != claim["patient"]["reference"]:
        text = "The coverage is not that of the patient"
        yield Issue("business-rule", text, "Claim.insurance[0].coverage")


def _member(coverage: Json) -> str:
    for identifier in coverage.get("identifier", []):
        codes = {c.get("code") for c in (identifier.get("type") or {}).get("coding", [])}
        if MEMBER in codes and identifier.get("value"):
            return str(identifier["value"])
    return str(coverage.get("subscriberId", ""))


def is_npi(number: str) -> bool:
    """Whether the check digit of a National Provider Identifier is right (45 CFR 162.406)."""
    if len(number) != 10 or not number.isdigit():
        return False
    digits = [int(digit) for digit in "80840" + number]
    doubled = [d if i % 2 else sum(divmod(2 * d, 10)) for i, d in enumerate(reversed(digits), 1)]
    return sum(doubled) % 10 == 0
