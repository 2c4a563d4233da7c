"""The trail as FHIR AuditEvents, in the form of IHE's Basic Audit Log Patterns.

Both halves of the trail are read as one: reads (`fhir.accesses`) and writes (`fhir.auditing`).
https://profiles.ihe.net/ITI/BALP/ https://hl7.org/fhir/R4/auditevent.html
"""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from django.conf import settings

from fhir.definitions import resource_types, type_number
from fhir.documents import JsonObject, instant, scope_tags
from fhir.hashes import self_hash
from fhir.sql import Row, fetch
from healthcloud.tenancy.scope import active_project, active_scope

_TRAIL: Final = """
SELECT * FROM (
    SELECT 'acc-' || a.id AS id, a.at, a.interaction, a.outcome, a.rtype, a.rid, a.query,
        a.purpose, a.actor_kind, a.actor_id, a.actor_label, a.request_id, '{}'::text AS details
    FROM fhir_access a WHERE a.project = %s::integer
    UNION ALL
    SELECT replace(w.event_id, '_', '-'), w.created_at, replace(w.action, 'fhir.', ''), w.outcome,
        w.target_type, w.target_id, '', '', w.actor_kind, w.actor_id, w.actor_label, w.request_id,
        w.details::text
    FROM audit_auditevent w WHERE w.project_id = %s::text AND w.action LIKE 'fhir.%%'
) t WHERE
"""
_PATIENT: Final = (
    "(t.rtype = 'Patient' AND t.rid = %s::text OR strpos(t.query, %s::text) > 0"
    " OR EXISTS (SELECT 1 FROM fhir_resource r JOIN unnest(%s::text[], %s::smallint[])"
    " AS k(name, number) ON k.number = r.rtype WHERE r.project = %s::integer"
    " AND k.name = t.rtype AND r.rid = t.rid AND r.patient = %s::bigint))"
)
ACTIONS: Final = {
    "create": "C",
    "update": "U",
    "patch": "U",
    "delete": "D",
    "write": "E",
    "read": "R",
    "vread": "R",
    "history-instance": "R",
    "history-type": "R",
    "history-system": "R",
    "search": "E",
    "operation": "E",
    "batch": "E",
}
_SUBTYPES: Final = {"write": "transaction", "search": "search-type"}
_OUTCOMES: Final = {"success": "0", "failure": "4", "denied": "8"}
_DICOM: Final = "http://dicom.nema.org/resources/ontology/DCM"
_OBJECT: Final = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ROLE: Final = "http://terminology.hl7.org/CodeSystem/object-role"
_BALP: Final = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
# The patterns that exist, and whose resource they are about; others are none of BALP's.
_PATTERNS: Final = {
    "create": "Create",
    "update": "Update",
    "patch": "Update",
    "delete": "Delete",
    "read": "Read",
    "vread": "Read",
    "search": "Query",
}
_SOURCE: Final = {"system": _DICOM, "code": "110153", "display": "Source Role ID"}
_DESTINATION: Final = {"system": _DICOM, "code": "110152", "display": "Destination Role ID"}
_PERSON: Final = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType",
    "code": "IRCP",
    "display": "information recipient",
}
_UNKNOWN: Final = {
    "_address": {
        "extension": [
            {
                "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
                "valueCode": "unknown",
            }
        ]
    }
}


@dataclass(slots=True)
class TrailQuery:
    """Conditions on the trail, joined by and."""

    conditions: list[str] = field(default_factory=lambda: ["true"])
    params: list[object] = field(default_factory=list)

    def add(self, condition: str, *params: object) -> None:
        """Add a condition with its parameters."""
        self.conditions.append(condition)
        self.params.extend(params)

    def about_patient(self, rid: str) -> None:
        """Keep what touched a patient's record."""
        _, project = active_project()
        names = list(resource_types())
        numbers = [type_number(name) for name in names]
        self.add(_PATIENT, rid, rid, names, numbers, project, self_hash("Patient", rid))


def read_trail(query: TrailQuery, *, limit: int) -> list[JsonObject]:
    """Return AuditEvents, newest first, in the active scope's project."""
    project_id, project = active_project()
    sql = _TRAIL + " AND ".join(query.conditions) + " ORDER BY t.at DESC, t.id DESC LIMIT %s::int"
    rows = fetch(sql, [project, project_id, *query.params, limit], prepare=False)
    return [_audit_event(row) for row in rows]


def _audit_event(row: Row) -> JsonObject:
    rid, at, *texts = row
    decoded = [value.decode() if isinstance(value, bytes) else value for value in texts]
    interaction, outcome, rtype, target, query, purpose, kind, actor, label, request, details = (
        decoded
    )
    action = ACTIONS.get(interaction, "E")
    entities = list(_entities(rtype, target, query, orjson.loads(details)))
    coding = {
        "system": "http://hl7.org/fhir/restful-interaction",
        "code": _SUBTYPES.get(interaction, interaction),
    }
    event: JsonObject = {
        "resourceType": "AuditEvent",
        "id": rid.decode(),
        "meta": {
            "versionId": "1",
            "lastUpdated": instant(at),
            **_profile(interaction, outcome, entities),
            "tag": scope_tags(active_scope().metadata()),
        },
        "type": {
            "system": "http://terminology.hl7.org/CodeSystem/audit-event-type",
            "code": "rest",
            "display": "RESTful Operation",
        },
        "subtype": [coding],
        "action": action,
        "recorded": instant(at),
        "outcome": _OUTCOMES[outcome],
        "agent": _agents(kind, actor, label, reads=action == "R"),
        "source": {"observer": {"display": "HealthCloud"}},
    }
    if purpose:
        event["purposeOfEvent"] = [_break_glass(purpose)]
    if request:
        entities.append(_transaction(request))
    if entities:
        event["entity"] = entities
    return event


def _profile(interaction: str, outcome: str, entities: list[JsonObject]) -> dict[str, list[str]]:
    """Return the pattern that an event follows: a success of one of those that BALP has."""
    pattern = _PATTERNS.get(interaction)
    if pattern is None or outcome != "success" or not entities:
        return {}
    of_patient = any(entity["type"]["code"] == "1" for entity in entities)
    return {"profile": [f"{_BALP}{'Patient' if of_patient else ''}{pattern}"]}


def _agents(kind: str, actor: str, label: str, *, reads: bool) -> list[JsonObject]:
    """Return who acted, first, and the two ends: what is read flows from the server."""
    who = {"identifier": {"value": actor}, "display": label or actor}
    client, server = (_DESTINATION, _SOURCE) if reads else (_SOURCE, _DESTINATION)
    host = urlsplit(settings.BASE_URL).hostname or "localhost"
    ends: list[JsonObject] = [
        {
            "type": {"coding": [client]},
            "who": {"display": label or actor} if kind == "user" else who,
            "requestor": kind != "user",
            "network": _UNKNOWN,
        },
        {
            "type": {"coding": [server]},
            "who": {"identifier": {"value": settings.BASE_URL}, "display": "HealthCloud"},
            "requestor": False,
            "network": {"address": host, "type": "1"},
        },
    ]
    if kind != "user":
        return ends
    person = {"type": {"coding": [_PERSON]}, "who": who, "requestor": True, "name": label or actor}
    return [person, *ends]


def _break_glass(reason: str) -> JsonObject:
    return {
        "coding": [
            {
                "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason",
                "code": "BTG",
                "display": "break the glass",
            }
        ],
        "text": reason,
    }


def _entities(rtype: str, target: str, query: str, details: JsonObject) -> Iterator[JsonObject]:
    references = list(_references(rtype, target, details))
    asked = base64.b64encode(f"{rtype}?{query}".encode()).decode() if query else ""
    for reference in references:
        yield {
            "what": {"reference": reference},
            "type": {"system": _OBJECT, "code": "2", "display": "System Object"},
            "role": {"system": _ROLE, "code": "4", "display": "Domain Resource"},
            **({"query": asked} if asked else {}),
        }
        if reference.startswith("Patient/"):
            yield {
                "what": {"reference": reference.partition("/_history")[0]},
                "type": {"system": _OBJECT, "code": "1", "display": "Person"},
                "role": {"system": _ROLE, "code": "1", "display": "Patient"},
            }
    if not references:
        yield {
            "type": {"system": _OBJECT, "code": "2", "display": "System Object"},
            "role": {"system": _ROLE, "code": "24", "display": "Query"},
            "query": asked or base64.b64encode((rtype or "/").encode()).decode(),
        }


def _references(rtype: str, target: str, details: JsonObject) -> Iterator[str]:
    several: Sequence[Any] = [
        reference
        for value in details.values()
        if isinstance(value, list)
        for reference in value
        if isinstance(reference, str)
    ]
    if several:
        yield from several
    elif rtype and target and rtype != "Bundle":
        version = details.get("version")
        yield f"{rtype}/{target}" + (f"/_history/{version}" if version else "")


def _transaction(request_id: str) -> JsonObject:
    return {
        "what": {"identifier": {"value": request_id}},
        "type": {
            "system": "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType",
            "code": "XrequestId",
        },
    }


def older_than(query: TrailQuery, at: datetime, rid: str) -> None:
    """Keep what comes after a place in the trail, newest first."""
    query.add("(t.at, t.id) < (%s::timestamptz, %s::text)", at, rid)
