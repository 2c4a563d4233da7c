"""The JSON Schema of definitions, made from the table of kinds: /v1/workflows/schema.json. Pure."""

from functools import lru_cache
from typing import Any, Final

from workflows.kinds import KINDS, TRIGGERS, Argument, Kind
from workflows.parsing import MAX_STEPS

Json = dict[str, Any]
_TEMPLATE: Final[Json] = {"type": "string", "pattern": r"\{\{"}
_STEPS: Final[Json] = {"type": "array", "items": {"$ref": "#/$defs/step"}}
_TYPES: Final[dict[str, Json]] = {
    "text": {"type": "string"},
    "duration": {"type": "string"},
    "time": {"type": "string"},
    "integer": {"type": "integer"},
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
                "items": {
                    "type": "object",
                    "required": ["kind"],
                    "properties": {"kind": {"enum": list(TRIGGERS)}},
                },
            },
            "steps": {**_STEPS, "minItems": 1, "maxItems": MAX_STEPS},
            "output": {"description": "The output of a run; expressions allowed"},
            "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "$defs": {
            "step": {"oneOf": [{"$ref": f"#/$defs/{name}"} for name in KINDS]},
            "duration": {"type": "string", "description": "Such as 30s, 5m, 2h, 3d or PT5M"},
            "retry": _retry(),
            **{name: _kind(kind) for name, kind in KINDS.items()},
        },
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
    required = ["id", "kind"]
    if any(argument.required for argument in kind.arguments):
        required.append("with")
    if "branches" in kind.holds:
        required.append("branches")
    return {
        "type": "object",
        "title": kind.summary,
        "required": required,
        "additionalProperties": False,
        "properties": {
            "id": {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,62}$"},
            "kind": {"const": kind.name},
            "name": {"type": "string"},
            "description": {"type": "string"},
            "with": _arguments(kind),
            "retry": {"$ref": "#/$defs/retry"},
            "timeout": {"$ref": "#/$defs/duration"},
            "skip_if": {"type": "string", "description": "FHIRPath; skips the step when it holds"},
            "on_error": {"oneOf": [{"const": "continue"}, _STEPS]},
            **{member: _branches() if member == "branches" else _STEPS for member in kind.holds},
        },
    }


def _branches() -> Json:
    return {
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "required": ["when", "steps"],
            "additionalProperties": False,
            "properties": {
                "when": {"type": "string", "description": "FHIRPath condition"},
                "name": {"type": "string"},
                "steps": _STEPS,
            },
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
    schema = {**_TYPES[argument.type], "description": argument.summary}
    if argument.choices:
        schema["enum"] = list(argument.choices)
    if argument.literal or argument.type in {"text", "duration", "time", "any"}:
        return schema
    return {"description": argument.summary, "anyOf": [_TYPES[argument.type], _TEMPLATE]}
