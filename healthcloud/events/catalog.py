"""The catalog of event types: what each means, and the ids and facts its payload carries.

`publish` validates against it. Payloads hold ids, counts and codes, never PHI: text with spaces
is taken only where a field is declared as `text`, and names of personal data are refused.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from healthcloud.errors import ValidationFailed

Severity: TypeAlias = Literal["info", "warning", "error", "critical"]
Kind: TypeAlias = Literal["id", "ids", "text", "number", "flag", "list"]

CUSTOM_PREFIX: Final = "custom."
PERSONAL: Final = frozenset(
    {
        "address",
        "birth_date",
        "birthdate",
        "dob",
        "email",
        "family",
        "first_name",
        "given",
        "last_name",
        "mrn",
        "name",
        "phone",
        "ssn",
        "telecom",
    }
)
MAX_PAYLOAD_MEMBERS: Final = 50
MAX_TEXT: Final = 4000
_TYPE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+){1,4}")
_MEMBER = re.compile(r"[a-z][a-z0-9_]{0,59}")
_IDENTIFIER = re.compile(r"[\w.:/|@+,#%=-]{0,300}")

_SCHEMAS: Final[Mapping[Kind, Mapping[str, object]]] = {
    "id": {"type": "string", "maxLength": 300, "pattern": rf"^{_IDENTIFIER.pattern}$"},
    "ids": {"type": "array", "items": {"type": "string"}},
    "text": {"type": "string", "maxLength": MAX_TEXT},
    "number": {"type": "number"},
    "flag": {"type": "boolean"},
    "list": {"type": "array"},
}


class UnknownEventType(ValidationFailed):
    """The type is neither in the catalog nor one of the caller's own (`custom.…`)."""

    def __init__(self, type_: str) -> None:
        super().__init__(
            f"{type_!r} is not an event type of this platform. GET /v1/event-types lists them; "
            "types of your own begin with `custom.`.",
            param="type",
        )


class InvalidPayload(ValidationFailed):
    """The payload lacks a declared member, or holds something that is not an id or a fact."""


@dataclass(frozen=True, slots=True)
class EventType:
    """One type of event. `required` members are always there; `text` members may hold prose."""

    name: str
    summary: str
    severity: Severity
    required: Mapping[str, Kind]
    optional: Mapping[str, Kind]
    on_request: bool = False
    """Sent only to those whose filter names it (`fhir.*`), because of its volume."""

    @property
    def source(self) -> str:
        """The part of the platform that emits it: the first word of the name."""
        return self.name.partition(".")[0]

    def as_dict(self) -> dict[str, object]:
        """Return the JSON form used in the API and the documentation."""
        return {
            "type": self.name,
            "source": self.source,
            "severity": self.severity,
            "summary": self.summary,
            "on_request": self.on_request,
            "payload": {"required": dict(self.required), "optional": dict(self.optional)},
            "schema": self.schema(),
        }

    def schema(self) -> dict[str, object]:
        """Return the JSON Schema of the payload; further ids and facts may stand in it."""
        required = {name: _SCHEMAS[kind] for name, kind in self.required.items()}
        optional = {
            name: {"anyOf": [_SCHEMAS[kind], {"type": "null"}]}
            for name, kind in self.optional.items()
        }
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": self.name,
            "description": self.summary,
            "type": "object",
            "properties": {**required, **optional},
            "required": list(self.required),
            "maxProperties": MAX_PAYLOAD_MEMBERS,
        }


_ERROR: Final[Mapping[str, Kind]] = {"code": "id", "message": "text", "remedy": "text"}
_RUN: Final[Mapping[str, Kind]] = {"duration_ms": "number", "trigger": "id", "version": "number"}


def _fields(spec: str) -> dict[str, Kind]:
    """Read `a b:ids c:number`; a member without a kind is an id."""
    kinds: dict[str, Kind] = {}
    for word in spec.split():
        member, _, kind = word.partition(":")
        kinds[member] = kind or "id"  # type: ignore[assignment]  # checked by the catalog's test
    return kinds


def _type(
    name: str,
    summary: str,
    required: str,
    optional: str = "",
    *,
    severity: Severity = "info",
    also: Mapping[str, Kind] | None = None,
) -> EventType:
    return EventType(
        name=name,
        summary=summary,
        severity=severity,
        required=_fields(required),
        optional={**_fields(optional), **(also or {})},
        on_request=name.startswith("fhir."),
    )


_DEPLOYMENT = "deployment_id asset_id"
_AGENT_RUN = "agent_run_id asset_id"
_PRIOR_AUTH = "agent_run_id run_id deployment_id asset_id claim claim_response payer_reference"
_TYPES: Final = (
    _type("organization.created", "An organization was created.", "organization_id", "slug"),
    _type("project.created", "A project was created.", "project_id", "slug"),
    _type("project.updated", "A project was changed.", "project_id", "slug fields:ids"),
    _type("project.archived", "A project was archived.", "project_id", "slug"),
    _type("project.restored", "A project was restored.", "project_id", "slug"),
    _type("member.invited", "Someone was invited.", "invitation_id", "role"),
    _type("member.joined", "Someone accepted an invitation.", "user_id", "role membership_id"),
    _type("member.updated", "A member's role changed.", "user_id", "role"),
    _type("member.removed", "A member was removed.", "user_id", "role"),
    _type("api_key.created", "An API key was created.", "key_id", "name:text last4"),
    _type("api_key.rotated", "An API key was rotated.", "key_id", "name:text last4"),
    _type("api_key.revoked", "An API key was revoked.", "key_id", "name:text last4"),
    _type(
        "consent.overridden",
        "Someone broke the glass: consents were set aside for one request.",
        "actor_id",
        "purpose",
        severity="warning",
    ),
    _type("asset.installed", "An asset was installed.", "installation_id asset_id", "version"),
    _type(
        "asset.upgraded",
        "An installed asset changed its version.",
        "installation_id asset_id",
        "version from_version",
    ),
    _type("asset.configured", "An installation was configured.", "installation_id asset_id"),
    _type("asset.uninstalled", "An asset was uninstalled.", "installation_id asset_id"),
    _type(
        "integration.connected",
        "All probes of a connection test succeeded.",
        "installation_id asset_id",
        "duration_ms:number",
    ),
    _type(
        "integration.failed",
        "A probe of a connection test failed.",
        "installation_id asset_id",
        "probe:text",
        severity="error",
        also=_ERROR,
    ),
    _type("deployment.created", "A deployment was asked for.", _DEPLOYMENT, "release:number"),
    _type("deployment.active", "A deployment is running.", _DEPLOYMENT, "release:number"),
    _type(
        "deployment.degraded",
        "A running deployment fails its health check.",
        _DEPLOYMENT,
        "release:number probes:list",
        severity="warning",
        also=_ERROR,
    ),
    _type("deployment.stopped", "A deployment was stopped.", _DEPLOYMENT, "release:number"),
    _type(
        "deployment.failed",
        "A deployment encountered an error; `remedy` says what to do.",
        _DEPLOYMENT,
        "release:number probes:list slot",
        severity="error",
        also=_ERROR,
    ),
    _type(
        "deployment.rolled_back",
        "A deployment went back to an earlier release.",
        _DEPLOYMENT,
        "release:number from_release:number",
        severity="warning",
    ),
    _type("agent.run.started", "An agent began a task.", _AGENT_RUN, "deployment_id run_id"),
    _type(
        "agent.run.completed",
        "An agent finished a task.",
        _AGENT_RUN,
        "deployment_id run_id duration_ms:number",
    ),
    _type(
        "agent.run.failed",
        "An agent could not finish a task.",
        _AGENT_RUN,
        "deployment_id run_id duration_ms:number",
        severity="error",
        also=_ERROR,
    ),
    _type(
        "agent.run.requires_action",
        "An agent waits for a person.",
        _AGENT_RUN,
        "deployment_id run_id task_id",
        severity="warning",
    ),
    _type(
        "diagnostic.result_ready",
        "AI returned a diagnostic result; the resources named hold it.",
        "patient_id",
        "agent_run_id run_id deployment_id asset_id risk_assessment diagnostic_report"
        " risk_assessment_id diagnostic_report_id resources:ids",
    ),
    _type(
        "diagnostic.report_received",
        "A laboratory's report was filed; the resources named hold it.",
        "diagnostic_report patient",
        "control_id status agent_run_id run_id deployment_id asset_id observations:ids",
    ),
    _type(
        "diagnostic.red_flag_raised",
        "A diagnostic run found a red flag; the task named asks a person to look now.",
        "patient_id",
        "agent_run_id run_id deployment_id asset_id risk_assessment diagnostic_report task"
        " flags:ids",
        severity="critical",
    ),
    _type(
        "eligibility.checked",
        "A patient's coverage was checked.",
        "patient_id",
        "agent_run_id coverage coverage_eligibility_response",
    ),
    _type("prior_auth.submitted", "A request went to the payer.", "patient_id", _PRIOR_AUTH),
    _type("prior_auth.approved", "The payer approved.", "patient_id", _PRIOR_AUTH),
    _type("prior_auth.denied", "The payer denied.", "patient_id", _PRIOR_AUTH, severity="warning"),
    _type("prior_auth.pended", "The payer has not decided.", "patient_id", _PRIOR_AUTH),
    _type(
        "prior_auth.action_required",
        "The payer asks for more.",
        "patient_id",
        _PRIOR_AUTH + " task_id",
        severity="warning",
    ),
    _type("care_gap.opened", "A care gap was found.", "patient_id measure", "detected_issue"),
    _type("care_gap.closed", "A care gap was closed.", "patient_id measure", "detected_issue"),
    _type("workflow.created", "A workflow was created.", "workflow_id", "version:number"),
    _type("workflow.updated", "A workflow's draft changed.", "workflow_id", "version:number"),
    _type("workflow.deleted", "A workflow was deleted.", "workflow_id", "version:number"),
    _type("workflow.published", "A version was published.", "workflow_id", "version:number"),
    _type("workflow.started", "A run started.", "run_id workflow_id", also=_RUN),
    _type("workflow.completed", "A workflow finished execution.", "run_id workflow_id", also=_RUN),
    _type(
        "workflow.failed",
        "A run ended with an error.",
        "run_id workflow_id",
        "step_id",
        severity="error",
        also={**_RUN, **_ERROR},
    ),
    _type("workflow.canceled", "A run was canceled.", "run_id workflow_id", also=_RUN),
    _type(
        "workflow.waiting",
        "A run waits for a time, a signal or a person.",
        "run_id workflow_id",
        "step_id reason task_id",
        also=_RUN,
    ),
    _type(
        "workflow.step.completed",
        "A step of a run finished.",
        "run_id workflow_id step_id",
        "kind attempt:number duration_ms:number iteration",
    ),
    _type(
        "workflow.step.failed",
        "A step of a run failed.",
        "run_id workflow_id step_id",
        "kind attempt:number duration_ms:number iteration",
        severity="error",
        also=_ERROR,
    ),
    _type("task.created", "A person is asked to decide.", "task_id", "run_id workflow_id step_id"),
    _type(
        "task.escalated",
        "Nobody decided for long; another role is asked too.",
        "task_id",
        "run_id workflow_id step_id role",
        severity="warning",
    ),
    _type(
        "workflow.trigger.failed",
        "A trigger could not start a run; `code` says why.",
        "workflow_id",
        "trigger_id kind caused_by",
        severity="error",
        also=_ERROR,
    ),
    _type("task.decided", "A person decided.", "task_id", "run_id workflow_id step_id decision"),
    _type("fhir.resource.created", "A resource was created.", "resource_type id", "version"),
    _type("fhir.resource.updated", "A resource was updated.", "resource_type id", "version"),
    _type("fhir.resource.deleted", "A resource was deleted.", "resource_type id", "version"),
    _type(
        "fhir.subscription.notified",
        "A FHIR Subscription on a websocket has new notifications.",
        "subscription_id",
        "number:number",
    ),
    _type(
        "subscription.failed",
        "A FHIR Subscription is in error: its endpoint refused the handshake or failed too often.",
        "subscription_id reason",
        severity="warning",
    ),
    _type("webhook.test", "A test that was asked for.", "webhook_id"),
    _type(
        "webhook.disabled",
        "A webhook gets no more events: it failed too often, or its receiver answered 410.",
        "webhook_id reason",
        "consecutive_failures:number last_status_code:number",
        severity="warning",
    ),
)

CATALOG: Final[Mapping[str, EventType]] = MappingProxyType({type_.name: type_ for type_ in _TYPES})


def lookup(type_: str) -> EventType:
    """Return the type's entry; `custom.…` types are taken as they come; else UnknownEventType."""
    known = CATALOG.get(type_)
    if known is not None:
        return known
    if type_.startswith(CUSTOM_PREFIX) and len(type_) <= 80 and _TYPE.fullmatch(type_):
        return EventType(type_, "An event of your own.", "info", {}, {})
    raise UnknownEventType(type_)


def validate(type_: EventType, payload: Mapping[str, object]) -> None:
    """Raise InvalidPayload unless the payload is as declared, and ids and facts only."""
    missing = [member for member in type_.required if payload.get(member) in (None, "")]
    if missing:
        raise InvalidPayload(
            f"The payload of {type_.name} needs {', '.join(missing)}.", param="payload"
        )
    if len(payload) > MAX_PAYLOAD_MEMBERS:
        raise InvalidPayload(f"A payload has at most {MAX_PAYLOAD_MEMBERS} members.")
    for member, value in payload.items():
        kind = type_.required.get(member) or type_.optional.get(member)
        if kind is None and (member in PERSONAL or not _MEMBER.fullmatch(member)):
            raise InvalidPayload(f"{member!r} has no place in an event: events hold ids only.")
        if not _is_fact(value, prose=kind in {"text", "list"}):
            raise InvalidPayload(
                f"{member!r} of {type_.name} must be an id, a number or a code.", param="payload"
            )


def _is_fact(value: object, *, prose: bool, depth: int = 0) -> bool:
    match value:
        case None | bool() | int() | float():
            return True
        case str():
            return (
                len(value) <= MAX_TEXT and "\0" not in value
                if prose
                else bool(_IDENTIFIER.fullmatch(value))
            )
        case list() | tuple():
            return depth < 2 and all(_is_fact(v, prose=prose, depth=depth + 1) for v in value)
        case dict():
            nested = all(_is_fact(v, prose=prose, depth=depth + 1) for v in value.values())
            return depth < 2 and nested and not PERSONAL & set(value)
    return False


def matches(pattern: str, type_: str) -> bool:
    """Say whether a filter pattern (`*`, `workflow.*`, `workflow.completed`) takes a type.

    `fhir.…` types are taken only by patterns that begin with `fhir.`.
    """
    if pattern == "*":
        return not type_.startswith("fhir.")
    if pattern.endswith(".*"):
        return type_.startswith(pattern[:-1])
    return pattern == type_


def check_pattern(pattern: str) -> str:
    """Return the pattern; raise ValidationFailed when no event could ever match it."""
    stem = pattern.removesuffix(".*")
    if pattern == "*" or pattern in CATALOG or pattern.startswith(CUSTOM_PREFIX):
        return pattern
    if pattern.endswith(".*") and any(name.startswith(stem + ".") for name in CATALOG):
        return pattern
    raise ValidationFailed(
        f"{pattern!r} matches no event type. Use a type such as `workflow.completed`, a group "
        "such as `workflow.*`, or `*`.",
        param="type",
    )
