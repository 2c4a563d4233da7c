"""The kinds of triggers and what each one takes, for parsing and the JSON Schema. Pure."""

from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a trigger, with its JSON Schema."""

    name: str
    schema: dict[str, Any]
    required: bool = False


@dataclass(frozen=True, slots=True)
class TriggerKind:
    """A kind of trigger."""

    name: str
    summary: str
    members: tuple[Member, ...] = ()


CHANGES: Final = ("create", "update", "delete")
MISSED: Final = ("run_once", "skip", "run_all")
_TEXT: Final = {"type": "string"}
_ID: Final = Member("id", {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,62}$"})
_INPUT: Final = Member(
    "input", {"type": "object", "description": "Input of the run; expressions over `trigger`"}
)
_WHEN: Final = Member(
    "when", {"type": "string", "description": "FHIRPath over `trigger`; starts only if it holds"}
)

TRIGGERS: Final[dict[str, TriggerKind]] = {
    kind.name: kind
    for kind in (
        TriggerKind("manual", "Started by a person or over the API", (_ID,)),
        TriggerKind(
            "schedule",
            "Started by the clock",
            (
                _ID,
                Member("cron", {**_TEXT, "description": "Five fields, or such as @daily"}, True),
                Member("timezone", {**_TEXT, "description": "Such as America/New_York"}),
                Member("missed", {"enum": list(MISSED)}),
                _INPUT,
            ),
        ),
        TriggerKind(
            "event",
            "Started by an event of the platform",
            (
                _ID,
                Member("type", {**_TEXT, "description": "A type, or such as care_gap.*"}, True),
                Member("where", {"type": "object", "description": "Members of the payload"}),
                _WHEN,
                _INPUT,
            ),
        ),
        TriggerKind("webhook", "Started by a signed HTTP request", (_ID, _WHEN, _INPUT)),
        TriggerKind(
            "fhir",
            "Started by a change of clinical data",
            (
                _ID,
                Member("criteria", {**_TEXT, "description": "A search"}, True),
                Member("on", {"type": "array", "items": {"enum": list(CHANGES)}, "minItems": 1}),
                _WHEN,
                _INPUT,
            ),
        ),
    )
}
