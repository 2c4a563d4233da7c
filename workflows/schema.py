"""The JSON Schema of definitions, made from the table of kinds: /v1/workflows/schema.json. Pure."""

from functools import lru_cache
from typing import Any, Final

from workflows.kinds import KINDS, Argument, Kind
from workflows.parsing import MAX_BRANCHES, MAX_STEPS, members_of
from workflows.triggers.kinds import TRIGGERS, TriggerKind

Json = dict[str, Any]
_TEMPLATE: Final[Json] = {"type": "string", "pattern": r"\{\{"}
_STEPS: Final[Json] = {"type": "array", "items": {"$ref": "#/$defs/step"}}
_TYPES: Final[dict[str, Json]] = {
    "text": {"type": "string"},
    "duration": {"type": "string"},
    "time": {"type": "string"},
    "integer": {"type": "integer"},
    "condition": {"type": "string"},
    "list": {"type": "array"},
    "share": {
        "oneOf": [
            {"type": "integer", "minimum": 0},
            {"type": "string", "pattern": "^(100|[0-9]{1,2})%$"},
        ]
    },
    "object": {"type": "object"},
    "schema": {"type": "object"},
    "any": {},
}


@lru_cache(maxsize=1)
def json_schema() -> Json:
    """Return the schema that API, import, Studio and fixtures share (draft 2020-12)."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://healthcloud.dev/schemas/workflow.json",
        "title": "Workflow definition",
        "type": "object",
        "required": ["slug", "steps"],
        "additionalProperties": False,
        "properties": {
            "slug": {"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,62}$"},
            "name": {"type": "string"},
            "description": {"type": "string"},
            "input_schema": {"type": "object", "description": "JSON Schema of a run's input"},
            "triggers": {
                "type": "array",
                "maxItems": MAX_BRANCHES,
                "items": {"oneOf": [_trigger(kind) for kind in TRIGGERS.values()]},
            },
            "steps": {**_STEPS, "minItems": 1, "maxItems": MAX_STEPS},
            "output": {"description": "The output of a run; expressions allowed"},
            "on_failure": {**_STEPS, "description": "Done when the run fails"},
            "concurrency": _concurrency(),
            "timeout": {"$ref": "#/$defs/duration"},
            "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "$defs": {
            "step": {"oneOf": [{"$ref": f"#/$defs/{name}"} for name in KINDS]},
            "duration": {"type": "string", "description": "Such as 30s, 5m, 2h, 3d or PT5M"},
            "retry": _retry(),
            **{name: _kind(kind) for name, kind in KINDS.items()},
        },
    }


def _trigger(kind: TriggerKind) -> Json:
    return {
        "type": "object",
        "title": kind.summary,
        "required": ["kind", *(member.name for member in kind.members if member.required)],
        "additionalProperties": False,
        "properties": {
            "kind": {"const": kind.name},
            **{member.name: member.schema for member in kind.members},
        },
    }


def _concurrency() -> Json:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "max_runs": {"type": "integer", "minimum": 1, "maximum": 1000},
            "on_limit": {"enum": ["queue", "reject", "replace"]},
            "key": {"type": "string", "description": "Counts runs of the same key only"},
            "across": {
                "enum": ["workflow", "project"],
                "description": "With `project`: counts runs of all workflows that say so",
            },
        },
    }


def _cache() -> Json:
    return {
        "type": "object",
        "required": ["for"],
        "additionalProperties": False,
        "properties": {"for": {"$ref": "#/$defs/duration"}, "key": {"type": "string"}},
    }


def _retry() -> Json:
    duration = {"$ref": "#/$defs/duration"}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "max_attempts": {"type": "integer", "minimum": 1, "maximum": 100},
            "initial_interval": duration,
            "backoff_coefficient": {"type": "number", "minimum": 1, "maximum": 10},
            "maximum_interval": duration,
            "jitter": {"type": "boolean"},
            "non_retryable": {"type": "array", "items": {"type": "string"}},
        },
    }


def _kind(kind: Kind) -> Json:
    required = ["id", "kind", *kind.needs]
    if any(argument.required for argument in kind.arguments) or kind.one_of:
        required.append("with")
    members: Json = {
        "id": {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,62}$"},
        "kind": {"const": kind.name},
        "name": {"type": "string"},
        "description": {"type": "string"},
        "with": _arguments(kind),
        "retry": {"$ref": "#/$defs/retry"},
        "timeout": {"$ref": "#/$defs/duration"},
        "cache": _cache(),
        "sensitive": {"type": "boolean", "description": "Forget input and output afterwards"},
        "skip_if": {"type": "string", "description": "FHIRPath; skips the step when it holds"},
        "on_error": {"oneOf": [{"const": "continue"}, _STEPS]},
        "compensate": {**_STEPS, "description": "Done in reverse order when the run fails later"},
        "branches": _branches(kind),
        "steps": {**_STEPS, "minItems": 1},
        "otherwise": _STEPS,
        "on_timeout": _STEPS,
    }
    return {
        "type": "object",
        "title": kind.summary,
        "required": required,
        "additionalProperties": False,
        "properties": {name: members[name] for name in members_of(kind)},
    }


def _branches(kind: Kind) -> Json:
    conditional = kind.name == "decision"
    members: Json = {"name": {"type": "string"}, "steps": _STEPS}
    if conditional:
        members["when"] = {"type": "string", "description": "FHIRPath condition"}
    return {
        "type": "array",
        "minItems": 1,
        "maxItems": MAX_BRANCHES,
        "items": {
            "type": "object",
            "required": ["when", "steps"] if conditional else ["steps"],
            "additionalProperties": False,
            "properties": members,
        },
    }


def _arguments(kind: Kind) -> Json:
    if kind.open_arguments:
        return {"type": "object"}
    schema: Json = {
        "type": "object",
        "additionalProperties": False,
        "required": [argument.name for argument in kind.arguments if argument.required],
        "properties": {argument.name: _argument(argument) for argument in kind.arguments},
    }
    if kind.one_of:
        schema["oneOf"] = [{"required": [name]} for name in kind.one_of]
    return schema


def _argument(argument: Argument) -> Json:
    if argument.name == "join":
        options: list[Json] = [{"enum": ["all", "any"]}, {"type": "integer", "minimum": 1}]
        return {"description": argument.summary, "oneOf": options}
    schema = {**_TYPES[argument.type], "description": argument.summary}
    if argument.choices:
        schema["enum"] = list(argument.choices)
    if argument.type == "integer":
        schema |= {"minimum": 1, "maximum": argument.most or 2**31}
    if argument.literal or argument.type in {"text", "duration", "time", "any", "condition"}:
        return schema
    return {"description": argument.summary, "anyOf": [_TYPES[argument.type], _TEMPLATE]}
