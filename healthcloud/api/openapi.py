"""OpenAPI 3.1: each route with its scope, its answers with scope metadata, and the error shape.

A view that says nothing gets a JSON object as body and answer; `extend_schema` says more.
"""

import copy
import functools
import re
from collections.abc import Mapping
from threading import Lock
from typing import Any, Final, Literal, cast

from django.http import HttpRequest, HttpResponse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ComponentRegistry
from drf_spectacular.types import OpenApiTypes
from rest_framework.serializers import Serializer

from healthcloud.api.components import (
    COMPONENTS,
    ERRORS,
    EXAMPLES,
    FHIR_ANSWERS,
    FHIR_ERRORS,
    HEADERS,
    INTRODUCTION,
    TAGS,
)
from healthcloud.api.renderers import dump_json

Schema = dict[str, Any]

_SUCCESS: Final = re.compile(r"2\d\d")
_JSON: Final = "application/json"
_FHIR: Final = "application/fhir+json"
_CLAUSE: Final = re.compile(r"[;:,.](?:\s|$)")
_VARIABLE: Final = re.compile(r"[{}]")
_building: Final = Lock()


class PlatformSchema(AutoSchema):
    """Describes one operation of a PlatformView."""

    def get_operation(
        self, path: str, path_regex: str, path_prefix: str, method: str, registry: ComponentRegistry
    ) -> Schema | None:
        """Return the operation with scope, parameters, errors and examples added."""
        operation = super().get_operation(path, path_regex, path_prefix, method, registry)
        if operation is None:
            return None
        self._add_scope(operation)
        self._add_parameters(operation)
        self._complete_answers(operation)
        self._add_examples(operation)
        return operation

    def get_operation_id(self) -> str:
        """Return a name that is unique because the path is in it."""
        path = _VARIABLE.sub("", self.path.removeprefix("/v1/"))
        if path.endswith("/"):
            path += "root"
        words = re.split(r"[^A-Za-z0-9]+", path)
        return "_".join([self.method.lower(), *[word for word in words if word]])

    def get_tags(self) -> list[str]:
        """Return the resource that the path begins with."""
        return [self.path.removeprefix("/v1/").split("/")[0] or "platform"]

    def get_summary(self) -> str | None:
        """Return the first clause of the handler's docstring."""
        text = str(self.get_description() or "").strip()
        return _CLAUSE.split(text.splitlines()[0], maxsplit=1)[0] if text else None

    def get_auth(self) -> list[Schema]:
        """Return the ways to authenticate, the same everywhere."""
        return [{"ApiKey": []}, {"AccessToken": []}, {"Session": []}]

    def get_request_serializer(self) -> Any:  # noqa: ANN401  # a type of spectacular's, or a serializer
        """Return a JSON object for a view that declares no body."""
        return OpenApiTypes.OBJECT

    def get_response_serializers(self) -> Any:  # noqa: ANN401  # as above
        """Return a JSON object for a view that declares no answer."""
        return OpenApiTypes.OBJECT

    def get_serializer_name(
        self, serializer: Serializer[Any], direction: Literal["request", "response"]
    ) -> str:
        """Return the class's name behind its app's, since two apps may use one name."""
        name = super().get_serializer_name(serializer, direction)
        app = type(serializer).__module__.split(".")[0]
        return name if app == "healthcloud" else f"{app.title()}{name}"

    def _is_list_view(self, serializer: object = None) -> bool:
        return bool(getattr(serializer, "many", False))

    def _reads_json(self) -> bool:
        return bool(getattr(self.view, "reads_json", True))

    def _add_scope(self, operation: Schema) -> None:
        needed = getattr(self.view, "required_scopes", {}).get(self.method)
        if needed is None:
            return
        operation["x-required-scope"] = needed
        said = "Any valid credential." if needed == "*" else f"Scope: `{needed}`."
        operation["description"] = f"{operation.get('description', '').strip()}\n\n{said}".strip()

    def _add_parameters(self, operation: Schema) -> None:
        wanted = ["Project", "Version"]
        if self.method in getattr(self.view, "idempotent", ()):
            wanted.append("IdempotencyKey")
        parameters = operation.setdefault("parameters", [])
        parameters += [{"$ref": f"#/components/parameters/{name}"} for name in wanted]

    def _complete_answers(self, operation: Schema) -> None:
        answers = operation["responses"]
        is_fhir = not self._reads_json()
        if is_fhir:
            self._add_fhir_answers(answers)
        for status, answer in answers.items():
            if _SUCCESS.fullmatch(status):
                self._complete_success(answer)
        family = "FhirError" if is_fhir else "Error"
        for status in FHIR_ERRORS if is_fhir else ERRORS:
            answers.setdefault(status, {"$ref": f"#/components/responses/{family}{status}"})

    def _add_fhir_answers(self, answers: Schema) -> None:
        """Add what the interactions of FHIR may answer beside what the view declares."""
        declared = next((a for a in answers.values() if "content" in a), {"description": ""})
        for status, text in FHIR_ANSWERS.get(self.method, {}).items():
            if status in {"202", "204", "304"}:
                answers.setdefault(status, {"description": text})
            elif status not in answers:
                answers[status] = {**copy.deepcopy(declared), "description": text}

    def _complete_success(self, answer: Schema) -> None:
        names = dict.fromkeys([*HEADERS, *answer.get("headers", {})])
        own = answer.get("headers", {})
        answer["headers"] = {
            name: own.get(name, {"$ref": f"#/components/headers/{name}"}) for name in names
        }
        content = answer.get("content", {})
        if not self._reads_json():
            if _JSON in content and _FHIR not in content:
                content[_FHIR] = content.pop(_JSON)
            return
        for media in content.values():
            media["schema"] = _with_scope(media.get("schema", {}))

    def _add_examples(self, operation: Schema) -> None:
        example = EXAMPLES.get((self.method, self.path))
        if example is None:
            return
        body = operation.get("requestBody", {}).get("content", {}).get(_JSON)
        if body is not None and example.request is not None:
            body["example"] = example.request
        if example.response is None:
            return
        for status, answer in operation["responses"].items():
            if _SUCCESS.fullmatch(status) and _JSON in answer.get("content", {}):
                answer["content"][_JSON]["example"] = example.response


def _with_scope(schema: Schema) -> Schema:
    """Return the schema of an answer with the three members that each answer carries."""
    scope = {"$ref": "#/components/schemas/ScopeMetadata"}
    if schema.get("type") == "array":
        page = {
            "type": "object",
            "required": ["data", "meta"],
            "properties": {"data": schema, "meta": {"$ref": "#/components/schemas/ListMeta"}},
        }
        return {"allOf": [page, scope]}
    return {"allOf": [schema, scope]} if schema else scope


def document() -> bytes:
    """Return the OpenAPI document of this process's routes, which the first who asks makes."""
    with _building:  # spectacular loads its extensions in a way that two threads can't
        return _document()


@functools.lru_cache(maxsize=1)
def _document() -> bytes:
    return dump_json(build())


def build() -> Schema:
    """Return the OpenAPI document as a tree."""
    generator = SchemaGenerator()  # type: ignore[no-untyped-call]  # spectacular's is untyped
    tree = cast("Schema", generator.get_schema(request=None, public=True))  # type: ignore[no-untyped-call]
    _simplify(tree)
    components = tree.setdefault("components", {})
    for kind, entries in COMPONENTS.items():
        components.setdefault(kind, {}).update(cast("Mapping[str, object]", entries))
    used = {
        tag
        for operations in tree["paths"].values()
        for operation in operations.values()
        for tag in operation.get("tags", [])
    }
    ordered = [*(tag for tag in TAGS if tag in used), *sorted(used - set(TAGS))]
    tree["tags"] = [{"name": tag, "description": TAGS.get(tag, "")} for tag in ordered]
    tree["info"]["description"] = INTRODUCTION
    return tree


def _simplify(node: object) -> None:
    """Write anything or null as anything: of the two null would be both, and so neither."""
    if isinstance(node, list):
        for item in node:
            _simplify(item)
    elif isinstance(node, dict):
        if node.get("oneOf") == [{}, {"type": "null"}]:
            del node["oneOf"]
        for value in node.values():
            _simplify(value)


def openapi(request: HttpRequest) -> HttpResponse:
    """Answer the OpenAPI document; it needs no key."""
    response = HttpResponse(document(), content_type=_JSON)
    response["Cache-Control"] = "public, max-age=60"
    return response
