"""The kinds of steps: what each one takes in `with`, what it holds, and whether it calls out.

One table serves parsing, validation, the published JSON Schema, and Studio's forms. Pure.
"""

from dataclasses import dataclass
from typing import Final, Literal

ArgumentType = Literal[
    "text", "object", "list", "any", "integer", "duration", "time", "schema", "condition", "share"
]


@dataclass(frozen=True, slots=True)
class Argument:
    """One member of a step's `with`. Text in it may hold expressions unless `literal`.

    `deferred` ones are not resolved when the step begins but for each item or round. `most` is
    the largest number. A `share` is a number or a percentage such as `10%`.
    """

    name: str
    type: ArgumentType
    summary: str
    required: bool = False
    choices: tuple[str, ...] = ()
    literal: bool = False
    deferred: bool = False
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of step.

    `holds` names the members that hold further steps, of which `needs` must be there; `calls_out`
    marks steps that wait for something outside the database, which run outside a transaction and
    retry by default; `repeatable` ones may be retried and limited in time; `one_of` are arguments
    of which exactly one must be there.
    """

    name: str
    summary: str
    arguments: tuple[Argument, ...] = ()
    holds: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    calls_out: bool = False
    repeatable: bool = True
    one_of: tuple[str, ...] = ()
    open_arguments: bool = False

    @property
    def lasting(self) -> bool:
        """Return whether it goes on for some time without being an attempt that can be repeated."""
        return self.name in {"parallel", "map", "loop", "wait", "approval"}

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
        Kind(
            "fhir_patch",
            "Change parts of a resource",
            (
                Argument("reference", "text", "Such as ServiceRequest/{{ input.order }}", True),
                Argument("patch", "list", "JSON Patch: a list of operations", True),
                Argument("if_match", "text", "Only if this is its current version"),
            ),
        ),
        Kind(
            "fhir_transaction",
            "Write several resources, all or none",
            (Argument("bundle", "object", "A Bundle of type transaction or batch", True),),
        ),
        Kind(
            "http_request",
            "Call an address that the project allows",
            (
                Argument("url", "text", "An https address; its host must be allowed", True),
                Argument(
                    "method",
                    "text",
                    "GET unless told otherwise",
                    choices=("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
                    literal=True,
                ),
                Argument("headers", "object", "Names and texts; no credentials"),
                Argument("query", "object", "Parameters of the address"),
                Argument("body", "any", "Sent as JSON; text is sent as it is"),
                Argument(
                    "expect",
                    "text",
                    "`success` (unless told otherwise) makes other statuses an error",
                    choices=("success", "any"),
                    literal=True,
                ),
            ),
            calls_out=True,
        ),
        Kind(
            "transform",
            "Make data from data: its output is `with`",
            open_arguments=True,
            repeatable=False,
        ),
        Kind(
            "decision",
            "Take the first branch whose condition holds",
            holds=("branches", "otherwise"),
            needs=("branches",),
            repeatable=False,
        ),
        Kind(
            "parallel",
            "Do branches at the same time",
            (
                Argument(
                    "join",
                    "text",
                    "Which branches to wait for: `all`, `any`, or how many",
                    literal=True,
                ),
            ),
            holds=("branches",),
            needs=("branches",),
            repeatable=False,
        ),
        Kind(
            "map",
            "Do steps for each item of a list",
            (
                Argument("items", "list", "The list; at most 10,000 items", required=True),
                Argument(
                    "max_concurrency",
                    "integer",
                    "How many items at the same time, 10 unless told otherwise",
                    literal=True,
                    most=100,
                ),
                Argument("tolerate", "share", "How many items may fail: 3 or 10%", literal=True),
                Argument("output", "any", "Result of an item; else its last output", deferred=True),
            ),
            holds=("steps",),
            needs=("steps",),
            repeatable=False,
        ),
        Kind(
            "loop",
            "Repeat steps until a condition holds",
            (
                Argument(
                    "until",
                    "condition",
                    "Looked at after each round",
                    required=True,
                    deferred=True,
                    literal=True,
                ),
                Argument(
                    "max_rounds",
                    "integer",
                    "The round after which it fails, 100 unless told otherwise",
                    literal=True,
                    most=1000,
                ),
                Argument(
                    "on_limit",
                    "text",
                    "What it does after the last round",
                    choices=("fail", "continue"),
                    literal=True,
                ),
                Argument("output", "any", "Result of a round; else its last output", deferred=True),
            ),
            holds=("steps",),
            needs=("steps",),
            repeatable=False,
        ),
        Kind(
            "workflow",
            "Run another workflow, and wait for its end",
            (
                Argument("workflow", "text", "Slug of the workflow", required=True),
                Argument("input", "object", "Its input; expressions allowed"),
            ),
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
            "Wait for some time, until a time, for a signal, or for an event",
            (
                Argument("duration", "duration", "Such as 30s, 5m, 2h, 3d or PT5M"),
                Argument("until", "time", "An ISO 8601 time with its zone"),
                Argument("signal", "text", "Name of the signal", literal=True),
                Argument("event", "text", "Type of an event, or a pattern", literal=True),
                Argument("where", "object", "Members that the event's payload must have"),
                Argument("timeout", "duration", "How long to wait for the signal or event"),
                Argument(
                    "on_timeout",
                    "text",
                    "What a timeout does",
                    choices=("fail", "continue"),
                    literal=True,
                ),
            ),
            holds=("on_timeout",),
            repeatable=False,
            one_of=("duration", "until", "signal", "event"),
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
                Argument("escalate_after", "duration", "When to ask others too"),
                Argument(
                    "escalate_to",
                    "text",
                    "The role that is asked then",
                    choices=("owner", "admin", "developer", "clinician"),
                    literal=True,
                ),
                Argument(
                    "on_reject",
                    "text",
                    "What a rejection does",
                    choices=("fail", "continue"),
                    literal=True,
                ),
            ),
            holds=("on_timeout",),
            repeatable=False,
        ),
        Kind(
            "fail",
            "End the run as failed",
            (
                Argument("message", "text", "Why", required=True),
                Argument("code", "text", "snake_case code of the error", literal=True),
            ),
            repeatable=False,
        ),
        Kind(
            "stop",
            "End the run as completed",
            (Argument("output", "any", "Output of the run, instead of the definition's"),),
            repeatable=False,
        ),
    )
}
