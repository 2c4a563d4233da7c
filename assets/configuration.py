"""Configuration of assets: defaults laid under what was given, checked by the manifest's schema."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import jsonschema
from django.conf import settings

from assets.manifest import Manifest
from assets.sdk import Json
from healthcloud.errors import ValidationFailed
from healthcloud.tenancy.scope import Scope

MAXIMUM_BYTES = 64 * 1024


class ConfigInvalid(ValidationFailed):
    """The configuration breaks the asset's schema; `details` name each field."""


class InputInvalid(ValidationFailed):
    """The input of a call breaks the asset's schema; `details` name each field."""


def variables(scope: Scope) -> dict[str, str]:
    """Return what `${…}` in a manifest's defaults stands for."""
    return {"simulator_url": settings.SIMULATOR_URL, "project_id": scope.project_id or ""}


def split_slots(
    manifest: Manifest, config: Mapping[str, object]
) -> tuple[Json, dict[str, str | None]]:
    """Return the settings, and which asset each slot named in `config` asks for.

    Raises ConfigInvalid for a slot that isn't text, and for a secret that stands in the config.
    """
    slot_names = {item.slot for item in manifest.slots}
    secrets = {item.name for item in manifest.secrets}
    plain: Json = {}
    slots: dict[str, str | None] = {}
    for name, value in config.items():
        if name in secrets:
            raise ConfigInvalid(
                f"`{name}` is a secret and never stands in the configuration. "
                "Set it with PUT /v1/asset-installations/{id}/credentials.",
                param=f"config.{name}",
            )
        if name not in slot_names:
            plain[name] = value
        elif value is None or (isinstance(value, str) and value):
            slots[name] = value
        else:
            raise ConfigInvalid(
                f"The slot `{name}` takes the id or slug of a deployed asset.",
                param=f"config.{name}",
            )
    return plain, slots


def effective(manifest: Manifest, scope: Scope, *layers: Mapping[str, object]) -> Json:
    """Return the manifest's defaults for the environment with the layers over them."""
    result = manifest.config_defaults(scope.environment, variables(scope))
    for layer in layers:
        result |= layer
    return result


def check(manifest: Manifest, config: Mapping[str, object], *, complete: bool) -> None:
    """Raise ConfigInvalid unless `config` is valid; fields may lack when it isn't `complete`."""
    schema = dict(manifest.config.json_schema)
    if not complete:
        schema.pop("required", None)
    found = problems(schema, dict(config), at="config")
    if found:
        raise ConfigInvalid(_message("The configuration", found), param=found[0]["param"],
                            details=found)  # fmt: skip


def check_input(schema: Json | None, value: Mapping[str, object]) -> None:
    """Raise InputInvalid unless `value` is valid under the schema."""
    found = problems(schema or {"type": "object"}, dict(value), at="input")
    if found:
        raise InputInvalid(_message("The input", found), param=found[0]["param"], details=found)


def problems(schema: Json, value: Json, *, at: str) -> list[dict[str, str]]:
    """Return every violation as `{"param": "config.base_url", "pointer", "message"}`, in order."""
    if len(json.dumps(value, default=str)) > MAXIMUM_BYTES:
        return [{"param": at, "pointer": "", "message": f"longer than {MAXIMUM_BYTES} bytes"}]
    validator = jsonschema.Draft202012Validator(
        schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    found = []
    for error in sorted(validator.iter_errors(value), key=lambda item: list(map(str, item.path))):
        for path, message in _readable(error):
            param = ".".join([at, *(str(part) for part in path)])
            pointer = "".join(f"/{part}" for part in path)
            found.append({"param": param, "pointer": pointer, "message": message})
    return found


def _readable(error: jsonschema.ValidationError) -> list[tuple[list[str | int], str]]:
    """Return path and message; for what lacks or is too much, the path of the field itself."""
    path = list(error.absolute_path)
    wanted: Any = error.validator_value
    instance: Any = error.instance
    if error.validator == "required":
        missing = [name for name in wanted if name not in instance]
        name = next((name for name in missing if error.message.startswith(repr(name))), None)
        return [([*path, name], "is required")] if name else [(path, error.message)]
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        schema: Any = error.schema
        known = schema.get("properties", {})
        extra = [name for name in error.instance if name not in known]
        return [([*path, name], _unknown(name, list(known))) for name in extra]
    return [(path, _wording(error))]


def _unknown(name: str, known: Sequence[str]) -> str:
    names = ", ".join(known) if known else "there are none"
    return f"is not a known field (known: {names})"


def _wording(error: jsonschema.ValidationError) -> str:
    wanted: Any = error.validator_value
    words = {
        "type": f"must be of type {wanted}",
        "enum": f"must be one of {', '.join(map(str, wanted)) if isinstance(wanted, list) else ''}",
        "minimum": f"must be at least {wanted}",
        "maximum": f"must be at most {wanted}",
        "minLength": f"must have at least {wanted} characters",
        "maxLength": f"must have at most {wanted} characters",
        "pattern": f"must match {wanted}",
        "format": f"must be a valid {wanted}",
    }
    return words.get(str(error.validator), "is not valid")


def _message(subject: str, found: Sequence[Mapping[str, str]]) -> str:
    parts = [f"`{item['param']}` {item['message']}" for item in found[:5]]
    return f"{subject} is not valid: {'; '.join(parts)}."


def digest(value: object) -> str:
    """Return a hash of a JSON value that doesn't depend on the order of its keys."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()
