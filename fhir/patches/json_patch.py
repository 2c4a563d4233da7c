"""JSON Patch. https://www.rfc-editor.org/rfc/rfc6902"""

from collections.abc import Mapping
from typing import Final

from fhir.documents import JsonObject
from fhir.patches.values import (
    MAX_COPIED,
    MAX_OPERATIONS,
    InvalidPatch,
    Json,
    PatchFailed,
    decode,
    encode,
    is_equal,
)

_OPERATIONS: Final = frozenset({"add", "remove", "replace", "move", "copy", "test"})


def read_operations(document: Json) -> list[JsonObject]:
    """Return the operations of a patch document; raise InvalidPatch for what is none."""
    if not isinstance(document, list) or len(document) > MAX_OPERATIONS:
        raise InvalidPatch(f"A JSON Patch is an array of at most {MAX_OPERATIONS} operations.")
    for operation in document:
        _check(operation)
    return document


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


def apply_operations(document: Json, operations: list[JsonObject]) -> Json:
    """Return the document after all operations, which are carried out in it."""
    copied = 0
    for operation in operations:
        if operation["op"] == "copy":  # each may double what the one before has made
            copied += len(encode(_get(document, operation["from"])))
        if copied > MAX_COPIED:
            raise PatchFailed(f"The patch copies more than {MAX_COPIED} bytes.")
        document = _apply(document, operation)
    return document


def _apply(document: Json, operation: JsonObject) -> Json:
    kind, path = operation["op"], operation["path"]
    if kind == "test":
        if not is_equal(_get(document, path), operation["value"]):
            raise PatchFailed(f"The test of `{path}` failed.")
        return document
    if kind == "add":
        return _add(document, path, operation["value"])
    if kind == "remove":
        return _remove(document, path)
    if kind == "replace":
        return _replace(document, path, operation["value"])
    value = _get(document, operation["from"])
    if kind == "move":
        if path.startswith(operation["from"] + "/"):
            raise PatchFailed("Nothing can be moved into itself.")
        document = _remove(document, operation["from"])
    else:
        value = decode(encode(value))
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


def _parent(document: Json, pointer: str) -> tuple[Json, str]:
    """Return what a pointer's last step is taken from, and that step."""
    *above, last = _tokens(pointer)
    for token in above:
        document = _child(document, token, pointer)
    return document, last


def _add(document: Json, pointer: str, value: Json) -> Json:
    if pointer == "":
        return value
    parent, last = _parent(document, pointer)
    if isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else _index(last, len(parent), pointer), value)
    elif isinstance(parent, dict):
        parent[last] = value
    else:
        raise PatchFailed(f"`{pointer}` is inside a value that has no members.")
    return document


def _replace(document: Json, pointer: str, value: Json) -> Json:
    if pointer == "":
        return value
    parent, last = _parent(document, pointer)
    _child(parent, last, pointer)
    parent[int(last) if isinstance(parent, list) else last] = value
    return document


def _remove(document: Json, pointer: str) -> Json:
    if pointer == "":
        raise PatchFailed("The whole resource can't be removed by a patch: delete it.")
    parent, last = _parent(document, pointer)
    _child(parent, last, pointer)
    del parent[int(last) if isinstance(parent, list) else last]
    return document
