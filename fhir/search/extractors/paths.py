"""Resolves parsed expressions against the definitions: JSON names, lists, and types.

A choice element becomes one path for each of its types, so that nothing is left to find out
at run time.
"""

from dataclasses import dataclass, replace
from functools import cache

from fhir.definitions import Element, implicit_system, is_resource_type, structure
from fhir.search.extractors.expressions import Branch, Step

_INLINE = {"BackboneElement", "Element"}


@dataclass(frozen=True, slots=True)
class Access:
    """One step in JSON.

    `kind` is key (a property), each (every item of a list), item (one item of a list), or a
    condition: equals, resolves, has_extension, extension_value.
    """

    kind: str
    name: str
    literal: str | bool | int = ""


@dataclass(frozen=True, slots=True)
class Path:
    """Where a value lies in JSON, and its type.

    `inside` is the structure and the element path that the next child is looked up in;
    `system` the implicit code system of a `code` element.
    """

    steps: tuple[Access, ...]
    type: str
    inside: tuple[str, str]
    system: str | None = None


def root_path(resource_type: str) -> Path:
    """Answer the path of the resource itself."""
    return Path(steps=(), type=resource_type, inside=(resource_type, ""))


def resolve_branch(branch: Branch, focus: Path) -> tuple[Path, ...]:
    """Answer every concrete path that a branch stands for below a focus."""
    steps = branch
    head = steps[0]
    if head.kind == "child" and (head.name == "$this" or _names_focus(head.name, focus)):
        steps = steps[1:]
    elif head.kind == "child" and is_resource_type(head.name):
        return ()  # R4 has a Patient parameter whose path starts at DocumentReference
    paths: tuple[Path, ...] = (focus,)
    for step in steps:
        paths = tuple(found for path in paths for found in _advance(path, step))
    return paths


def _names_focus(name: str, focus: Path) -> bool:
    return not focus.steps and name in _ancestry(focus.type)


@cache
def _ancestry(name: str) -> frozenset[str]:
    found = structure(name)
    above = _ancestry(found.base) if found and found.base else frozenset()
    return above | {name}


def _advance(path: Path, step: Step) -> tuple[Path, ...]:
    match step.kind:
        case "child":
            return _children(path, step.name)
        case "as":
            return (path,) if _is_type(path.type, step.name) else ()
        case "index":
            return (_pick(path, int(step.name)),)
        case "extension":
            return _extension(path, step.name)
        case _:
            condition = Access(step.kind, step.name, step.literal)
            return (replace(path, steps=(*path.steps, condition)),)


def _is_type(found: str, wanted: str) -> bool:
    """R4 once writes DateTime for dateTime, and SimpleQuantity is a Quantity."""
    return found.lower() == wanted.lower() or (found, wanted) == ("Quantity", "SimpleQuantity")


def _pick(path: Path, index: int) -> Path:
    *before, last = path.steps
    return replace(path, steps=(*before, Access("item", last.name, index)))


def _extension(path: Path, url: str) -> tuple[Path, ...]:
    """An extension stands for its value: search can do nothing with the extension itself."""
    steps = (*path.steps, Access("each", "extension"), Access("equals", "url", url))
    focus = Path(steps=steps, type="Extension", inside=("Extension", ""))
    return _children(focus, "value")


def _children(path: Path, name: str) -> tuple[Path, ...]:
    owner, prefix = path.inside
    found = structure(owner)
    if found is None:
        return ()
    start = f"{prefix}.{name}" if prefix else name
    element = found.elements.get(start) or found.elements.get(f"{start}[x]")
    if element is None:
        return ()
    if element.content_of is not None:
        target = found.elements[element.content_of]
        inside = (owner, target.path)
        return (_child(path, element, element.name, "BackboneElement", inside),)
    return tuple(
        _child(path, element, key, kind, (owner, element.path) if kind in _INLINE else (kind, ""))
        for key, kind in element.json_names()
    )


def _child(path: Path, element: Element, key: str, kind: str, inside: tuple[str, str]) -> Path:
    access = Access("each" if element.repeats else "key", key)
    system = None
    if kind == "code" and element.binding and element.binding_strength == "required":
        system = implicit_system(element.binding)
    return Path(steps=(*path.steps, access), type=kind, inside=inside, system=system)
