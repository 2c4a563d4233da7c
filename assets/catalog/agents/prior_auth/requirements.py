"""Which services need prior authorization and with what: cited lists, read from YAML.

Three-valued: a service on a list that applies needs it, one that an exhaustive list leaves out does
not, and where no list applies nobody knows. What is not on record is missing, never denied.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from assets.sdk import Evidence, Json, Resource, RuleOutcome, StoredResource

FILE = Path(__file__).parent / "requirements" / "services.yaml"
TYPOLOGIES = ("https://nahdo.org/sopt", "urn:oid:2.16.840.1.113883.3.221.5")
_SYNONYMS = {
    "urn:oid:2.16.840.1.113883.6.285": "https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets",
    "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets": (
        "https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
    ),
    "urn:oid:2.16.840.1.113883.6.12": "http://www.ama-assn.org/go/cpt",
}
_DATES = ("effectiveDateTime", "performedDateTime", "date", "issued", "onsetDateTime", "authored")
_PERIODS = ("period", "effectivePeriod", "performedPeriod")
_VOID = frozenset(
    {"entered-in-error", "cancelled", "not-done", "draft", "superseded", "planned", "registered"}
)
Coding = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Documentation:
    """What a request must be documented with, and what on record counts as that."""

    id: str
    title: str
    how: str
    types: tuple[str, ...]
    codes: frozenset[Coding]
    lookback: timedelta


@dataclass(frozen=True, slots=True)
class Service:
    """A service of a list."""

    id: str
    title: str
    codes: frozenset[Coding]
    documentation: tuple[Documentation, ...]


@dataclass(frozen=True, slots=True)
class RequirementList:
    """A published list of services that need prior authorization."""

    id: str
    version: str
    title: str
    citation: Mapping[str, str]
    coverage_types: tuple[str, ...]
    payers: frozenset[str]
    exhaustive: bool
    services: tuple[Service, ...]

    def applies(self, coverage: Resource, insurer: Resource) -> bool:
        """Whether the list is that of a coverage's type, or of its payer."""
        numbers = {item.get("value") for item in insurer.get("identifier", [])}
        if self.payers & numbers:
            return True
        codings = (coverage.get("type") or {}).get("coding", [])
        codes = [str(c.get("code")) for c in codings if c.get("system") in TYPOLOGIES]
        return any(code.startswith(self.coverage_types) for code in codes)


@dataclass(slots=True)
class Assessment:
    """Whether authorization is needed, by which rule, with what, and what is missing."""

    needed: bool | None = None
    rule: str | None = None
    citation: Mapping[str, str] | None = None
    rules: list[RuleOutcome] = field(default_factory=list)
    gaps: list[Json] = field(default_factory=list)
    documents: list[StoredResource] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)


@lru_cache(maxsize=1)
def load() -> tuple[RequirementList, ...]:
    """Return the lists of the package; KeyError or ValueError where the file is at fault."""
    document = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    systems = document["systems"]
    kinds = {
        name: Documentation(
            id=name,
            title=entry["title"],
            how=entry["how"],
            types=tuple(entry["types"]),
            codes=frozenset(_split(code, systems) for code in entry["codes"]),
            lookback=timedelta(days=entry["lookback_days"]),
        )
        for name, entry in document["documentation"].items()
    }
    return tuple(_list(entry, systems, kinds) for entry in document["lists"])


def _list(
    entry: Mapping[str, Any], systems: Mapping[str, str], kinds: Mapping[str, Documentation]
) -> RequirementList:
    services = tuple(
        Service(
            id=item["id"],
            title=item["title"],
            codes=frozenset(_split(code, systems) for code in item["codes"]),
            documentation=tuple(kinds[name] for name in item["documentation"]),
        )
        for item in entry["services"]
    )
    return RequirementList(
        id=entry["id"],
        version=entry["version"],
        title=entry["title"],
        citation=entry["citation"],
        coverage_types=tuple(entry.get("coverage_types", ())),
        payers=frozenset(entry.get("payers", ())),
        exhaustive=entry["exhaustive"],
        services=services,
    )


def _split(code: str, systems: Mapping[str, str]) -> Coding:
    alias, _, value = code.partition("|")
    return systems[alias], value


def codings(concept: Mapping[str, Any] | None) -> set[Coding]:
    """Return system and code of a CodeableConcept, with one address for each system."""
    found = set()
    for coding in (concept or {}).get("coding", []):
        system = str(coding.get("system", ""))
        found.add((_SYNONYMS.get(system, system), str(coding.get("code", ""))))
    return found


def assess(
    service: Mapping[str, Any],
    coverage: StoredResource,
    insurer: StoredResource,
    candidates: Sequence[StoredResource],
    *,
    order: StoredResource,
    now: datetime,
) -> Assessment:
    """Return what the lists say about a service, given what is on record."""
    found = Assessment()
    wanted = codings(service)
    inputs = (order.versioned_reference, coverage.versioned_reference, insurer.versioned_reference)
    for listed in load():
        if not listed.applies(coverage.resource, insurer.resource):
            continue
        hits = [item for item in listed.services if item.codes & wanted]
        for hit in hits:
            name = f"{listed.id}/{hit.id}"
            found.rules.append(_rule(listed, name, hit.title, True, inputs))
            found.needed, found.rule, found.citation = True, name, listed.citation
            for document in hit.documentation:
                _document(found, listed, f"{name}.{document.id}", document, candidates, now)
        if not hits and listed.exhaustive and found.needed is None:
            name = f"{listed.id}/not_listed"
            found.rules.append(_rule(listed, name, "Services off the list need none", True, inputs))
            found.needed, found.rule, found.citation = False, name, listed.citation
    return found


def _rule(
    listed: RequirementList, name: str, title: str, result: bool | None, inputs: Iterable[str]
) -> RuleOutcome:
    return RuleOutcome(name, listed.version, result, title, listed.citation, tuple(inputs))


def _document(
    found: Assessment,
    listed: RequirementList,
    name: str,
    document: Documentation,
    candidates: Sequence[StoredResource],
    now: datetime,
) -> None:
    """Note what on record counts as a document, or that nothing does."""
    counts = [item for item in candidates if _counts(item, document, now)]
    inputs = [item.versioned_reference for item in counts]
    found.rules.append(_rule(listed, name, document.title, True if counts else None, inputs))
    if not counts:
        found.gaps.append(
            {"id": document.id, "title": document.title, "how": document.how, "rule": name}
        )
    known = {item.reference for item in found.documents}
    found.documents += [item for item in counts if item.reference not in known]
    found.evidence += [Evidence.of(item, name) for item in counts]


def _counts(item: StoredResource, document: Documentation, now: datetime) -> bool:
    resource = item.resource
    if item.resource_type not in document.types or resource.get("status") in _VOID:
        return False
    if document.codes and not _codes_of(resource) & document.codes:
        return False
    if item.resource_type == "DocumentReference" and not _is_inline(resource):
        return False
    dated = dated_at(resource)
    return dated is not None and now.date() - document.lookback <= dated <= now.date()


def _codes_of(resource: Resource) -> set[Coding]:
    found = codings(resource.get("code")) | codings(resource.get("type"))
    categories = resource.get("category", [])
    for category in categories if isinstance(categories, list) else [categories]:
        found |= codings(category)
    return found


def _is_inline(resource: Resource) -> bool:
    contents = resource.get("content", [])
    return all(item.get("attachment", {}).get("data") for item in contents) and bool(contents)


def dated_at(resource: Resource) -> date | None:
    """Return the day of what a resource tells, None where it is not dated to the day."""
    texts = [resource.get(name) for name in _DATES]
    texts += [(resource.get(name) or {}).get("start") for name in _PERIODS]
    for text in texts:
        try:
            return date.fromisoformat(str(text)[:10])
        except ValueError:
            continue
    return None
