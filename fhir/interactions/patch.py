"""patch by JSON Patch. https://hl7.org/fhir/R4/http.html#patch and RFC 6902"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from fhir.definitions import type_number
from fhir.documents import JsonObject, MalformedJson, ParsedResource, parse
from fhir.errors import NotSupported, ResourceGone, ResourceNotFound
from fhir.hashes import self_hash
from fhir.identity import check_body_id, check_id, check_if_match, check_type
from fhir.interactions.update import replace
from fhir.rows import lock_current
from fhir.stored import StoredResource
from fhir.writing import accept
from healthcloud.actors import Actor
from healthcloud.errors import BadRequest, UnsupportedMediaType, ValidationFailed
from healthcloud.tenancy.scope import active_project

JSON_PATCH: Final = "application/json-patch+json"
_LATER: Final = frozenset(
    {"application/fhir+json", "application/fhir+xml", "application/merge-patch+json"}
)
_MAX_OPERATIONS: Final = 1000
_MAX_COPIED: Final = 8 * 1024 * 1024
_OPERATIONS: Final = frozenset({"add", "remove", "replace", "move", "copy", "test"})

Json = Any  # a JSON value of any kind


class InvalidPatch(BadRequest):
    """The patch document is not RFC 6902."""

    issue_code = "invalid"


class PatchFailed(ValidationFailed):
    """An operation does not fit the resource: nothing was changed."""

    issue_code = "processing"


def patch(
    *,
    resource_type: str,
    id: str,
    document: bytes,
    content_type: str,
    actor: Actor,
    now: datetime,
    if_match: str | None = None,
) -> StoredResource:
    """Apply a JSON Patch to the current version and store the result, all or nothing."""
    check_type(resource_type)
    check_id(id)
    operations = parse_patch(document, content_type)
    _, project = active_project()
    current = lock_current(project, [(type_number(resource_type), id)]).get(
        self_hash(resource_type, id)
    )
    if current is None:
        raise ResourceNotFound(resource_type, id)
    if current.content is None:
        raise ResourceGone(resource_type, id, current.version)
    check_if_match(if_match, current.version)
    patched = apply(current.content, operations)
    parsed = accept(patched, resource_type=resource_type)
    check_body_id(parsed, id)
    return replace(parsed, id, actor=actor, now=now, if_match=None, method="PATCH")


def parse_patch(document: bytes, content_type: str) -> list[JsonObject]:
    """Return the operations of a patch document."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind in _LATER:
        raise NotSupported(f"This server patches with {JSON_PATCH} only, not with {kind} yet.")
    if kind != JSON_PATCH:
        raise UnsupportedMediaType(f"Send the patch as {JSON_PATCH}.", param="Content-Type")
    # Parsed inside an object, so that the limits of resources hold for patches too.
    try:
        operations = _decode(parse(b'{"patch":' + document + b"}").text)["patch"]
    except MalformedJson as error:
        raise InvalidPatch(error.message) from None
    if not isinstance(operations, list) or len(operations) > _MAX_OPERATIONS:
        raise InvalidPatch(f"A JSON Patch is an array of at most {_MAX_OPERATIONS} operations.")
    for operation in operations:
        _check(operation)
    return operations


def _check(operation: Json) -> None:
    if not isinstance(operation, dict) or str(operation.get("op")) not in _OPERATIONS:
        raise InvalidPatch(f"An operation's `op` is one of {', '.join(sorted(_OPERATIONS))}.")
    needed = ["path"]
    needed += ["value"] if operation["op"] in {"add", "replace", "test"} else []
    needed += ["from"] if operation["op"] in {"move", "copy"} else []
    for name in needed:
        if name not in operation:
            raise InvalidPatch(f"The operation `{operation['op']}` needs `{name}`.")
        if name != "value" and not _is_pointer(operation[name]):
            raise InvalidPatch(f"`{name}` must be a JSON Pointer such as `/active`.")


def _is_pointer(value: Json) -> bool:
    return isinstance(value, str) and (value == "" or value.startswith("/"))


def apply(content: bytes, operations: list[JsonObject]) -> ParsedResource:
    """Return the resource after all operations; decimals keep their digits."""
    document, copied = _decode(content), 0
    try:
        for operation in operations:
            if operation["op"] == "copy":  # each may double what the one before has made
                copied += len(_encode(_get(document, operation["from"])))
            if copied > _MAX_COPIED:
                raise PatchFailed(f"The patch copies more than {_MAX_COPIED} bytes.")
            document = _apply(document, operation)
        content = _encode(document)
    except RecursionError:
        raise PatchFailed("The patch nests values too deeply.") from None
    if not isinstance(document, dict):
        raise PatchFailed("The patch replaces the resource by something that is none.")
    return parse(content)


def _encode(value: Json) -> bytes:
    return msgspec.json.encode(value, enc_hook=_encode_digits)


class _Digits:
    """A decimal as it was written."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        if isinstance(other, _Digits):
            return Decimal(self.text) == Decimal(other.text)
        return isinstance(other, int | float) and Decimal(self.text) == Decimal(str(other))

    def __hash__(self) -> int:
        return hash(Decimal(self.text))


def _encode_digits(value: object) -> msgspec.Raw:
    assert isinstance(value, _Digits)
    return msgspec.Raw(value.text.encode())


_decode = msgspec.json.Decoder(float_hook=_Digits).decode


def _apply(document: Json, operation: JsonObject) -> Json:
    kind, path = operation["op"], operation["path"]
    if kind == "test":
        if _get(document, path) != operation["value"]:
            raise PatchFailed(f"The test of `{path}` failed.")
        return document
    if kind == "add":
        return _add(document, path, operation["value"])
    if kind == "remove":
        return _remove(document, path)
    if kind == "replace":
        _get(document, path)
        return _add(_remove(document, path) if path else document, path, operation["value"])
    value = _get(document, operation["from"])
    if kind == "move":
        if path.startswith(operation["from"] + "/"):
            raise PatchFailed("Nothing can be moved into itself.")
        document = _remove(document, operation["from"])
    else:
        value = _decode(_encode(value))
    return _add(document, path, value)


def _tokens(pointer: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _get(document: Json, pointer: str) -> Json:
    for token in _tokens(pointer):
        document = _child(document, token, pointer)
    return document


def _child(parent: Json, token: str, pointer: str) -> Json:
    if isinstance(parent, Mapping) and token in parent:
        return parent[token]
    if isinstance(parent, list):
        return parent[_index(token, len(parent) - 1, pointer)]
    raise PatchFailed(f"There is nothing at `{pointer}`.")


def _index(token: str, highest: int, pointer: str) -> int:
    is_whole = token.isascii() and token.isdecimal() and len(token) < 10
    if not is_whole or (len(token) > 1 and token[0] == "0") or int(token) > highest:
        raise PatchFailed(f"There is no element `{token[:20]}` at `{pointer}`.")
    return int(token)


def _add(document: Json, pointer: str, value: Json) -> Json:
    if pointer == "":
        return value
    *above, last = _tokens(pointer)
    parent = document
    for token in above:
        parent = _child(parent, token, pointer)
    if isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else _index(last, len(parent), pointer), value)
    elif isinstance(parent, dict):
        parent[last] = value
    else:
        raise PatchFailed(f"`{pointer}` is inside a value that has no members.")
    return document


def _remove(document: Json, pointer: str) -> Json:
    if pointer == "":
        raise PatchFailed("The whole resource can't be removed by a patch: delete it.")
    *above, last = _tokens(pointer)
    parent = document
    for token in above:
        parent = _child(parent, token, pointer)
    _child(parent, last, pointer)
    if isinstance(parent, list):
        del parent[int(last)]
    else:
        del parent[last]
    return document
