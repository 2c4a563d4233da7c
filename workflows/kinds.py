"""The kinds of steps: what each one takes in `with`, what it holds, and whether it calls out.

One table serves parsing, validation, the published JSON Schema, and Studio's forms. Pure.
"""

from dataclasses import dataclass
from typing import Final, Literal

ArgumentType = Literal["text", "object", "any", "integer", "duration", "time", "schema"]


@dataclass(frozen=True, slots=True)
class Argument:
    """One member of a step's `with`. Text in it may hold expressions unless `literal`."""

    name: str
    type: ArgumentType
    summary: str
    required: bool = False
    choices: tuple[str, ...] = ()
    literal: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of step.

    `holds` names the members that hold further steps; `calls_out` marks steps that wait for
    something outside the database, which run outside a transaction and retry by default;
    `one_of` are arguments of which exactly one must be there.
    """

    name: str
    summary: str
    arguments: tuple[Argument, ...] = ()
    holds: tuple[str, ...] = ()
    calls_out: bool = False
    one_of: tuple[str, ...] = ()
    open_arguments: bool = False

    def argument(self, name: str) -> Argument | None:
        """Return the argument of that name."""
        return next((a for a in self.arguments if a.name == name), None)


_INPUT: Final = Argument("input", "object", "What is handed over; expressions allowed")

KINDS: Final[dict[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind(
            "agent",
            "Run a deployed agent",
            (
                Argument("agent", "text", "Asset id or alias of the agent", required=True),
                _INPUT,
            ),
            calls_out=True,
        ),
        Kind(
            "connector",
            "Do an action of a deployed connector",
            (
                Argument("connector", "text", "Asset id or alias of the connector", required=True),
                Argument("action", "text", "Which of its actions", required=True),
                _INPUT,
            ),
            calls_out=True,
        ),
        Kind(
            "model",
            "Score with a deployed model",
            (Argument("model", "text", "Asset id or alias of the model", required=True), _INPUT),
            calls_out=True,
        ),
        Kind(
            "fhir_read",
            "Read one resource",
            (Argument("reference", "text", "Such as Patient/{{ input.patient_id }}", True),),
        ),
        Kind(
            "fhir_search",
            "Search resources of one type",
            (
                Argument(
                    "query", "text", "Such as Observation?patient={{ input.patient_id }}", True
                ),
            ),
        ),
        Kind(
            "fhir_create",
            "Create a resource",
            (
                Argument("resource", "object", "The resource; expressions allowed", True),
                Argument("if_none_exist", "text", "Create only if this search finds nothing"),
            ),
        ),
        Kind(
            "fhir_update",
            "Replace a resource",
            (
                Argument("resource", "object", "The resource with its id", True),
                Argument("if_match", "text", "Only if this is its current version"),
            ),
        ),
        Kind("transform", "Make data from data: its output is `with`", open_arguments=True),
        Kind(
            "decision",
            "Take the first branch whose condition holds",
            holds=("branches", "otherwise"),
        ),
        Kind(
            "emit",
            "Publish an event",
            (
                Argument("type", "text", "noun.past_participle, in lower case", True, literal=True),
                Argument("payload", "object", "Ids, never clinical data"),
                Argument(
                    "severity",
                    "text",
                    "How serious it is",
                    choices=("info", "warning", "error", "critical"),
                    literal=True,
                ),
            ),
        ),
        Kind(
            "wait",
            "Wait for some time, until a time, or for a signal",
            (
                Argument("duration", "duration", "Such as 30s, 5m, 2h, 3d or PT5M"),
                Argument("until", "time", "An ISO 8601 time with its zone"),
                Argument("signal", "text", "Name of the signal", literal=True),
                Argument("timeout", "duration", "How long to wait for the signal"),
                Argument(
                    "on_timeout",
                    "text",
                    "What a timeout does",
                    choices=("fail", "continue"),
                    literal=True,
                ),
            ),
            one_of=("duration", "until", "signal"),
        ),
        Kind(
            "approval",
            "Ask a person, and wait for the decision",
            (
                Argument("title", "text", "What is to be decided", True),
                Argument("description", "text", "What the person should know"),
                Argument("form", "schema", "JSON Schema of the data to fill in", literal=True),
                Argument(
                    "role",
                    "text",
                    "Who may decide",
                    choices=("owner", "admin", "developer", "clinician"),
                    literal=True,
                ),
                Argument("user", "text", "Id of the only user who may decide"),
                Argument("deadline", "duration", "How long to wait for the decision"),
                Argument(
                    "on_reject",
                    "text",
                    "What a rejection does",
                    choices=("fail", "continue"),
                    literal=True,
                ),
            ),
            holds=("on_timeout",),
        ),
        Kind(
            "fail",
            "End the run as failed",
            (
                Argument("message", "text", "Why", required=True),
                Argument("code", "text", "snake_case code of the error", literal=True),
            ),
        ),
        Kind(
            "stop",
            "End the run as completed",
            (Argument("output", "any", "Output of the run, instead of the definition's"),),
        ),
    )
}

LATER: Final = frozenset(
    {"fhir_patch", "fhir_transaction", "http_request", "parallel", "map", "loop", "workflow"}
)
"""Kinds of the design that this version does not run; validation says so."""

TRIGGERS: Final = ("manual",)
TRIGGERS_LATER: Final = frozenset({"schedule", "event", "webhook", "fhir"})
