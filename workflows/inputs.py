"""Checking data against the JSON Schemas that definitions carry: run inputs, approval forms.

Pure. Schemas are draft 2020-12 unless `$schema` says otherwise; references to other documents
are never fetched, and patterns run on an engine that bounds backtracking.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Protocol, cast

import jsonschema_rs


class SchemaError(ValueError):
    """The schema itself is not a JSON Schema."""


class _Violation(Protocol):
    message: str
    instance_path: list[str | int]


class _Validator(Protocol):
    def iter_errors(self, instance: object) -> list[_Violation]: ...


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raise SchemaError when `schema` can't be used."""
    _compiled(json.dumps(schema, sort_keys=True))


def violations(schema: Mapping[str, Any], value: object) -> list[dict[str, str]]:
    """Return what in `value` breaks `schema`, as `{"field", "message"}`; values aren't quoted."""
    if not schema:
        return []
    validator = _compiled(json.dumps(schema, sort_keys=True))
    return [
        {"field": _field(error.instance_path), "message": error.message}
        for error in validator.iter_errors(value)
    ]


def _field(path: list[str | int]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _refuse(uri: str, **_: object) -> object:
    """Fetch no document that a schema refers to."""
    raise ValueError(f"references to other documents are not followed: {uri}")


@lru_cache(maxsize=512)
def _compiled(text: str) -> _Validator:
    try:
        validator = jsonschema_rs.validator_for(
            json.loads(text),
            retriever=cast("Any", _refuse),
            mask="a value",
            pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=100_000),
        )
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        raise SchemaError(str(error).split("\n")[0][:300]) from error
    return cast("_Validator", validator)
