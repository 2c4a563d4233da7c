"""`Patient/$summary`: the International Patient Summary.

https://hl7.org/fhir/uv/ips/OperationDefinition-summary.html
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from fhir import store
from fhir.bundles import document
from fhir.documents import JsonObject, instant, new_id
from fhir.operations.ips_sections import EMPTY, LOINC, SECTIONS, Section, is_left_out, narrative
from fhir.operations.keeping import keep_document
from fhir.operations.operation import Answer, Call, Operation
from fhir.search.includes import included
from fhir.search.request import Include, SearchRequest
from fhir.search.service import search
from fhir.stored import StoredResource
from healthcloud.errors import Conflict, NotFound
from healthcloud.tenancy.scope import active_project

_PROFILE: Final = "http://hl7.org/fhir/uv/ips/StructureDefinition/"
_URL: Final = "http://hl7.org/fhir/uv/ips/OperationDefinition/summary"
_LINKED: Final = frozenset(
    {
        *("Device", "Location", "Medication", "Organization", "Practitioner"),
        *("PractitionerRole", "Specimen", "Substance"),
    }
)


class UnknownPatient(NotFound):
    """No patient has the identifier."""

    issue_code = "not-found"


class SeveralPatients(Conflict):
    """The identifier belongs to more than one patient."""

    issue_code = "multiple-matches"


@dataclass(frozen=True, slots=True)
class _Filled:
    section: Section
    resources: list[StoredResource]


def summary(call: Call) -> Answer | bytes:
    """Answer the summary as a document: Composition, patient, sections, and who is named in them.

    Sections that the guide requires stand in it even when empty, with the reason. On the type
    level `identifier` (system|value) names the patient. With `persist` it is stored as a Bundle.
    """
    persist = call.parameters.truth("persist")
    call.require(*sorted({f"{name}:read" for s in SECTIONS for name, _ in s.queries}))
    patient = _patient(call)
    filled = [_fill(section, patient, call) for section in SECTIONS]
    kept = [one for one in filled if one.resources or one.section.required]
    entries = [resource for one in kept for resource in one.resources]
    _, project = active_project()
    linked = included(
        SearchRequest("Patient", includes=(Include("", "", ""),)), [patient, *entries], project
    ).resources
    author = _made(call, _author())
    composition = _made(call, _composition(call, patient, author, kept))
    others = [
        other
        for other in linked
        if other.resource_type in _LINKED and call.can(f"{other.resource_type}:read")
    ]
    made = document(
        [composition, patient, author, *_once([*entries, *others])],
        base=call.base,
        now=call.now,
        profile=f"{_PROFILE}Bundle-uv-ips",
    )
    return keep_document(call, made) if persist else made


def _patient(call: Call) -> StoredResource:
    if call.id:
        return store.read(resource_type="Patient", id=call.id)
    identifier = call.parameters.required("identifier")
    pairs = [("identifier", identifier), ("_count", "2")]
    found = search(resource_type="Patient", query=pairs, now=call.now, strict=True).entries
    if not found:
        raise UnknownPatient(f"No patient has the identifier `{identifier[:100]}`.")
    if len(found) > 1:
        raise SeveralPatients("Several patients have this identifier: name one by its id.")
    return found[0]


def _fill(section: Section, patient: StoredResource, call: Call) -> _Filled:
    found: list[StoredResource] = []
    for resource_type, query in section.queries:
        criteria = f"patient={patient.id}&_count={section.most}&{query}".rstrip("&")
        page = search(resource_type=resource_type, query=criteria, now=call.now, strict=True)
        found += [one for one in page.entries if not is_left_out(section, one.resource)]
    return _Filled(section, found)


def _once(resources: Sequence[StoredResource]) -> list[StoredResource]:
    return list({resource.reference: resource for resource in resources}.values())


def _author() -> JsonObject:
    """Return the author: this software, since nobody else has read the summary."""
    return {
        "resourceType": "Device",
        "deviceName": [{"name": "HealthCloud", "type": "user-friendly-name"}],
        "type": {"text": "Software that puts patient summaries together"},
    }


def _composition(
    call: Call, patient: StoredResource, author: StoredResource, filled: Sequence[_Filled]
) -> JsonObject:
    return {
        "resourceType": "Composition",
        "meta": {"profile": [f"{_PROFILE}Composition-uv-ips"]},
        "text": narrative("Patient summary", [one.resource for f in filled for one in f.resources]),
        "status": "final",
        "type": _loinc("60591-5", "Patient summary Document"),
        "subject": {"reference": f"{call.base}/{patient.reference}"},
        "date": instant(call.now),
        "author": [{"reference": f"{call.base}/{author.reference}"}],
        "title": f"Patient summary as of {call.now:%Y-%m-%d}",
        "confidentiality": "N",
        "section": [_section(call, one) for one in filled],
    }


def _section(call: Call, filled: _Filled) -> JsonObject:
    section = filled.section
    answer: JsonObject = {
        "title": section.title,
        "code": _loinc(section.code, section.display),
        "text": narrative(section.title, [one.resource for one in filled.resources]),
    }
    if filled.resources:
        urls = (f"{call.base}/{one.reference}" for one in filled.resources)
        answer["entry"] = [{"reference": url} for url in urls]
    else:
        reason = {"system": EMPTY, "code": "unavailable", "display": "Unavailable"}
        answer["emptyReason"] = {"coding": [reason]}
    return answer


def _loinc(code: str, display: str) -> JsonObject:
    return {"coding": [{"system": LOINC, "code": code, "display": display}]}


def _made(call: Call, resource: JsonObject) -> StoredResource:
    """Return a resource that is made for this document and stored nowhere."""
    rid = new_id()
    head = {"resourceType": resource["resourceType"], "id": rid}
    content = orjson.dumps({**head, **resource})
    return StoredResource(str(resource["resourceType"]), rid, 1, call.now, content)


OPERATION = Operation(
    name="summary",
    run=summary,
    levels=frozenset({"type", "instance"}),
    types=frozenset({"Patient"}),
    summary="Answer the International Patient Summary.",
    inputs=frozenset({"identifier", "profile", "persist"}),
    definition=_URL,
    weight=5,
)
