"""FHIRPath Patch: operations in a Parameters resource. https://hl7.org/fhir/R4/fhirpatch.html"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from fhir.definitions.fields import Field
from fhir.documents import JsonObject
from fhir.patches.path import Path, parse_path
from fhir.patches.places import Pair, Place, read_pairs
from fhir.patches.values import MAX_OPERATIONS, InvalidPatch, Json, PatchFailed

_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "add": ("path", "name", "value"),
    "insert": ("path", "index", "value"),
    "delete": ("path",),
    "replace": ("path", "value"),
    "move": ("path", "source", "destination"),
}


@dataclass(frozen=True, slots=True)
class Value:
    """What to put in: a value of a datatype, a resource, or the parts of an unnamed type."""

    suffix: str
    value: Json
    extras: Json
    parts: list[tuple[str, "Value"]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation, read."""

    kind: str
    path: Path
    name: str = ""
    value: Value | None = None
    index: int = 0
    destination: int = 0


# --- reading ----------------------------------------------------------------------------------


def read_parameters(document: Json) -> list[Operation]:
    """Return the operations of a Parameters resource; raise InvalidPatch for what is none."""
    if not isinstance(document, dict) or document.get("resourceType") != "Parameters":
        raise InvalidPatch("A FHIRPath Patch is a Parameters resource.", param="resourceType")
    parameters = document.get("parameter", [])
    if not isinstance(parameters, list) or len(parameters) > MAX_OPERATIONS:
        raise InvalidPatch(f"`parameter` is an array of at most {MAX_OPERATIONS} operations.")
    return [_operation(parameter, n) for n, parameter in enumerate(parameters)]


def _operation(parameter: Json, position: int) -> Operation:
    where = f"Parameters.parameter[{position}]"
    parts = _parts(parameter, where)
    if parameter.get("name") != "operation":
        raise InvalidPatch(f"{where}.name must be `operation`.", param=where)
    kind = str(_simple(parts, "type"))
    if kind not in _NEEDED:
        raise InvalidPatch(f"{where}: `type` is one of {', '.join(_NEEDED)}.", param=where)
    for name in _NEEDED[kind]:
        if name not in parts:
            raise InvalidPatch(f"{where}: `{kind}` needs the part `{name}`.", param=where)
    return Operation(
        kind=kind,
        path=parse_path(str(_simple(parts, "path"))),
        name=str(_simple(parts, "name")) if kind == "add" else "",
        value=_value(parts["value"], where) if "value" in _NEEDED[kind] else None,
        index=_whole(parts, "source" if kind == "move" else "index", where),
        destination=_whole(parts, "destination", where),
    )


def _parts(parameter: Json, where: str) -> dict[str, JsonObject]:
    found = parameter.get("part", []) if isinstance(parameter, dict) else None
    if not isinstance(found, list) or not all(isinstance(part, dict) for part in found):
        raise InvalidPatch(f"{where} must be an object with an array `part`.", param=where)
    parts = {str(part.get("name")): part for part in found}
    if len(parts) != len(found):
        raise InvalidPatch(f"{where} has two parts of one name.", param=where)
    return parts


def _simple(parts: Mapping[str, JsonObject], name: str) -> Json:
    """Return the value of a part, whatever its type."""
    part = parts.get(name, {})
    return next((value for key, value in part.items() if key.startswith("value")), None)


def _whole(parts: Mapping[str, JsonObject], name: str, where: str) -> int:
    if name not in parts:
        return 0
    value = _simple(parts, name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidPatch(f"{where}: `{name}` must be a whole number from 0.", param=where)
    return value


def _value(part: JsonObject, where: str) -> Value:
    if "part" in part:
        return Value("", None, None, [(name, _value(p, where)) for name, p in _all(part, where)])
    if "resource" in part:
        return Value("", part["resource"], None, [])
    names = {key.removeprefix("_") for key in part if key.removeprefix("_").startswith("value")}
    if len(names) != 1:
        raise InvalidPatch(f"{where}: the part `value` needs one value, or parts.", param=where)
    [name] = names
    return Value(name.removeprefix("value"), part.get(name), part.get(f"_{name}"), [])


def _all(part: JsonObject, where: str) -> list[tuple[str, JsonObject]]:
    """Return the parts of a part, names repeated where elements repeat."""
    found = part["part"]
    if not isinstance(found, list) or not all(isinstance(p, dict) for p in found) or not found:
        raise InvalidPatch(f"{where}: `part` must be an array of objects.", param=where)
    return [(str(p.get("name")), p) for p in found]


# --- applying ---------------------------------------------------------------------------------


def apply_parameters(resource: JsonObject, operations: list[Operation]) -> JsonObject:
    """Return the resource after all operations, which are carried out in it."""
    root = Place(resource)
    for operation in operations:
        _APPLY[operation.kind](root, operation)
    return resource


def _add(root: Place, operation: Operation) -> None:
    assert operation.value is not None
    _put_new(operation.path.find_one(root), operation.name, operation.value)


def _put_new(owner: Place, name: str, value: Value) -> None:
    """Append to an element that repeats, or set one that is not there yet."""
    key, field = _named(owner, name, value)
    pairs = read_pairs(owner.members, key)
    if not field.repeats and any(True for _ in owner.children(field.element)):
        raise PatchFailed(f"`{name}` is there already: replace it.")
    owner.put(key, [*pairs, _pair(value, field)], repeats=field.repeats)


def _named(owner: Place, name: str, value: Value) -> tuple[str, Field]:
    found = owner.field_named(name, value.suffix)
    if found is None:
        kind = f" of type {value.suffix}" if value.suffix else ""
        raise PatchFailed(f"{owner.type_name} has no element `{name[:60]}`{kind}.")
    return found


def _pair(value: Value, field: Field) -> Pair:
    """Return the value as it is stored; an unnamed type is put together from its parts."""
    if not value.parts:
        return value.value, value.extras
    made = Place({}, field=field)
    for name, part in value.parts:
        _put_new(made, name, part)
    return made.value, None


def _insert(root: Place, operation: Operation) -> None:
    assert operation.value is not None
    owner, name = operation.path.find_list(root)
    key, field = _list(owner, name, operation)
    pairs = read_pairs(owner.members, key)
    if operation.index > len(pairs):
        raise PatchFailed(
            f"`{name}` has {len(pairs)} elements: index {operation.index} is too high."
        )
    pairs.insert(operation.index, _pair(operation.value, field))
    owner.put(key, pairs, repeats=True)


def _list(owner: Place, name: str, operation: Operation) -> tuple[str, Field]:
    found = owner.field_named(name)
    if found is None or not found[1].repeats:
        raise PatchFailed(f"`{operation.path.text[:80]}` is no list.")
    return found


def _delete(root: Place, operation: Operation) -> None:
    found = operation.path.find(root)
    if not found:
        return
    if len(found) > 1:
        raise PatchFailed(f"`{operation.path.text[:80]}` finds {len(found)} elements; delete one.")
    if found[0].owner is None:
        raise PatchFailed("The whole resource can't be removed by a patch: delete it.")
    found[0].delete()


def _replace(root: Place, operation: Operation) -> None:
    assert operation.value is not None
    place = operation.path.find_one(root)
    if place.owner is None or place.field is None:
        raise PatchFailed("The whole resource can't be replaced by a patch: update it.")
    is_choice = place.name != place.field.element
    if not is_choice or operation.value.parts:
        place.replace(*_pair(operation.value, place.field))
        return
    owner, element = place.owner, place.field.element
    key, field = _named(owner, element, operation.value)
    place.name, old = key, place.name
    members = owner.members
    members.pop(old, None)
    members.pop(f"_{old}", None)
    owner.put(key, [_pair(operation.value, field)], repeats=False)


def _move(root: Place, operation: Operation) -> None:
    owner, name = operation.path.find_list(root)
    key, _ = _list(owner, name, operation)
    pairs = read_pairs(owner.members, key)
    if max(operation.index, operation.destination) >= len(pairs):
        raise PatchFailed(f"`{name}` has {len(pairs)} elements: nothing can be moved so far.")
    pairs.insert(operation.destination, pairs.pop(operation.index))
    owner.put(key, pairs, repeats=True)


_APPLY: Final[Mapping[str, Callable[[Place, Operation], None]]] = {
    "add": _add,
    "insert": _insert,
    "delete": _delete,
    "replace": _replace,
    "move": _move,
}
