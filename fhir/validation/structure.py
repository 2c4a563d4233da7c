"""Validates the structure of one resource by the JSON Schema of its type, and explains errors.

https://hl7.org/fhir/R4/json.html
"""

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from functools import cache
from typing import Any

from jsonschema_rs import Draft7Validator, RegexOptions, ValidationError

from fhir.definitions import resource_types
from fhir.validation.contradictions import names_no_display
from fhir.validation.issues import Issue
from fhir.validation.location import expression_at
from fhir.validation.primitives import SHAPES
from fhir.validation.schemas import Schema, write_schema

Json = Any  # any parsed JSON value: that is what is being validated
Resource = dict[str, Any]


@cache
def _compiled(resource_type: str) -> tuple[Callable[[Json], bool], Draft7Validator, Schema]:
    schema = write_schema(resource_type)
    validator = Draft7Validator(schema, pattern_options=RegexOptions())
    return validator.is_valid, validator, schema


def preload_schemas() -> None:
    """Compile the schema of every type, for servers that fork (about 300 MB, shared)."""
    for resource_type in resource_types():
        _compiled(resource_type)


def structure_issues(resource: Resource, resource_type: str) -> list[Issue]:
    """Answer every fault of structure, each once, in the order of the schema."""
    is_valid, validator, schema = _compiled(resource_type)
    if is_valid(resource):
        return []
    found: dict[Issue, None] = {}
    for error in validator.iter_errors(resource):
        fault = _Fault(resource, resource_type, schema, error)
        if not fault.is_forgiven():
            found.update(dict.fromkeys(fault.issues()))
    return list(found)


class _Fault:
    """One error of the schema validator, and what it means in FHIR."""

    def __init__(
        self, resource: Resource, resource_type: str, schema: Schema, error: ValidationError
    ) -> None:
        self.resource = resource
        self.resource_type = resource_type
        self.place = list(error.instance_path)
        self.value: Json = error.instance
        self.message = error.message
        self.kind: Any = error.kind
        self.keyword = str(error.schema_path[-1])
        self.schema = _at(schema, list(error.schema_path[:-1]))

    def is_forgiven(self) -> bool:
        """Say whether an extension stands in for the missing primitive value.

        https://hl7.org/fhir/R4/json.html#primitive -- Nothing is said of the choices of what is
        no object at all: another error says that.
        """
        name = type(self.kind).__name__
        if "x-keys" in self.schema and not isinstance(self.value, dict):
            return True
        if name == "Required" and isinstance(self.value, dict):
            missing = self.kind.property
            extended = _is_extended(self.value.get(f"_{missing}"))
            return extended or self._is_unnamed_display(missing)
        if name == "AnyOf" and "x-keys" in self.schema:
            return any(_is_extended(self.value.get(f"_{key}")) for key in self.schema["x-keys"])
        if self.value is None and len(self.place) > 1 and isinstance(self.place[-1], int):
            return self._has_shadow(int(self.place[-1]))
        return False

    def _is_unnamed_display(self, missing: str) -> bool:
        is_display = missing == "linkId" and self.value.get("type") == "display"
        return (
            is_display and self.resource_type == "Questionnaire" and names_no_display(self.resource)
        )

    def _has_shadow(self, index: int) -> bool:
        owner = _value_at(self.resource, self.place[:-2])
        shadows = owner.get(f"_{self.place[-2]}") if isinstance(owner, dict) else None
        return isinstance(shadows, list) and len(shadows) > index and _is_extended(shadows[index])

    def expression(self, *more: str) -> str:
        return expression_at(self.resource_type, [*self.place, *more])

    def issues(self) -> Iterator[Issue]:
        name = type(self.kind).__name__
        explain = getattr(self, f"_explain_{name}", None)
        if explain is not None:
            yield from explain()
        elif "x-choice" in self.schema:
            yield from self._explain_choice()
        else:
            yield self._issue("structure", f"{self.expression()}: {self.message}.")

    def _issue(self, code: str, diagnostics: str, *more: str) -> Issue:
        return Issue("error", code, self.expression(*more), diagnostics)

    def _explain_Required(self) -> Iterator[Issue]:  # noqa: N802 -- named after the kind
        missing: str = self.kind.property
        where = self.expression(missing)
        text = f"{where} is required and is missing: add it; nothing is filled in."
        if "x-value-set" in self.schema:
            text = f"{where} is required: give a code of {self.schema['x-value-set']}."
        yield self._issue("required", text, missing)

    def _explain_AdditionalProperties(self) -> Iterator[Issue]:  # noqa: N802
        known = [key for key in self.schema.get("properties", {}) if not key.startswith("_")]
        for key in self.kind.unexpected:
            close = get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "remove it, or use an extension."
            text = f"{self.expression()} has no element {key!r} in FHIR R4: {hint}"
            yield self._issue("structure", text, key)

    def _explain_Type(self) -> Iterator[Issue]:  # noqa: N802
        wanted = _shape(self.schema)
        text = f"{self.expression()} is {_json_kind(self.value)}; it must be {wanted}."
        yield self._issue("structure", text)

    def _explain_Pattern(self) -> Iterator[Issue]:  # noqa: N802
        if "x-targets" in self.schema:
            yield self._issue("value", self._wrong_target(self.schema["x-targets"]))
            return
        yield self._bad_value()

    _explain_Minimum = _explain_Maximum = _explain_MinLength = _explain_Pattern  # noqa: N815

    def _explain_MaxLength(self) -> Iterator[Issue]:  # noqa: N802
        text = f"{self.expression()} is longer than the 1 MB that FHIR allows a string: shorten it."
        yield self._issue("too-long", text)

    def _bad_value(self) -> Issue:
        wanted = _shape(self.schema)
        if self.value == "":
            text = f"{self.expression()} is empty: leave the element out or give {wanted}."
        else:
            text = f"{self.expression()} is {_shown(self.value)}; it must be {wanted}."
        return self._issue("value", text)

    def _wrong_target(self, targets: list[str]) -> str:
        return (
            f"{self.expression()} is {_shown(self.value)}; it must be Type/id, where Type is one "
            f"of {', '.join(targets)} (or a #fragment, or an absolute url)."
        )

    def _explain_Enum(self) -> Iterator[Issue]:  # noqa: N802
        codes: list[str] = self.schema["enum"]
        close = get_close_matches(str(self.value), codes, n=3)
        if len(codes) <= 12:
            hint = f"use one of {', '.join(codes)}."
        else:
            hint = f"did you mean {' or '.join(close)}?" if close else "use one of its codes."
        source = self.schema.get("x-value-set", "the value set")
        text = f"{self.expression()} is {_shown(self.value)}, which is not in {source}: {hint}"
        yield self._issue("code-invalid", text)

    def _explain_Contains(self) -> Iterator[Issue]:  # noqa: N802
        source = self.schema.get("x-value-set")
        if source is None:
            yield self._issue("structure", f"{self.expression()} holds only nulls: remove it.")
            return
        text = f"{self.expression()} has no code of {source}: one coding must be from it."
        yield self._issue("code-invalid", text)

    def _explain_AnyOf(self) -> Iterator[Issue]:  # noqa: N802
        if "x-choice" in self.schema:
            name = str(self.schema["x-choice"]).removesuffix("[x]")
            keys = ", ".join(self.schema["x-keys"])
            where = self.expression(name)
            text = f"{where} is required and is missing: add one of {keys}."
            yield self._issue("required", text, name)
        else:
            yield self._issue("structure", f"{self.expression()} must be an object or null.")

    def _explain_MinItems(self) -> Iterator[Issue]:  # noqa: N802
        yield self._issue("structure", f"{self.expression()} is an empty array: leave it out.")

    def _explain_MinProperties(self) -> Iterator[Issue]:  # noqa: N802
        yield self._issue("structure", f"{self.expression()} is an empty object: leave it out.")

    def _explain_choice(self) -> Iterator[Issue]:
        name = str(self.schema["x-choice"])
        found = [key for key in self.schema["x-keys"] if key in self.value]
        text = (
            f"{self.expression(name.removesuffix('[x]'))} has one value only; found "
            f"{', '.join(found)}: keep one of them."
        )
        yield self._issue("structure", text, name.removesuffix("[x]"))


def _is_extended(shadow: Json) -> bool:
    """Say whether what stands beside a primitive stands for its value: an id alone does not."""
    shadows = shadow if isinstance(shadow, list) else [shadow]
    return any(isinstance(one, dict) and bool(one.keys() - {"id"}) for one in shadows)


def _at(schema: Schema, path: list[str | int]) -> Schema:
    """Answer the sub-schema that holds the failing keyword, or the nearest one with notes."""
    nodes: list[Json] = [schema]
    for step in path:
        nodes.append(nodes[-1][step])
    found = nodes[-1]
    if isinstance(found, dict):
        return found
    return next(node for node in reversed(nodes) if isinstance(node, dict))


def _value_at(resource: Json, place: list[str | int]) -> Json:
    for step in place:
        resource = resource[step]
    return resource


def _shape(schema: Schema) -> str:
    if "x-type" in schema and schema["x-type"] in SHAPES:
        return SHAPES[schema["x-type"]]
    return {"object": "a JSON object", "array": "a JSON array, even for one value"}.get(
        schema.get("type", ""), "another kind of value"
    )


def _json_kind(value: Json) -> str:
    match value:
        case None:
            return "null, which FHIR does not know"
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case dict():
            return "an object"
        case list():
            return "an array"
        case _:
            return "a number"


def _shown(value: Json) -> str:
    """Quote a value, but not at length: it may hold clinical text."""
    text = repr(value)
    return text if len(text) <= 64 else f"{text[:60]}…{text[-1]}"
