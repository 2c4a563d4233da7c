"""Resolves parsed expressions against the definitions: JSON names, lists, and types.

A choice element becomes one path for each of its types, so that nothing is left to find out
at run time.
"""

from dataclasses import dataclass, replace
from functools import cache

from fhir.definitions import Element, implicit_system, is_resource_type, structure
from fhir.search.extractors.expressions import (
    Branch,
    Literal,
    Step,
    Test,
    UnsupportedExpressionError,
)

_INLINE = {"BackboneElement", "Element"}


@dataclass(frozen=True, slots=True)
class Access:
    """One step in JSON.

    `kind` is key (a property), each (every item of a list), item (one item of a list), or a
    condition: equals, resolves, has_extension, where (whose `test` it is).
    """

    kind: str
    name: str
    literal: str | bool | int = ""
    test: "Condition | None" = None


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition of which nothing is left to find out: its paths are those in JSON.

    `kind` is all, any, not, exists, holds, =, != or resolves, as in the parsed Test.
    """

    kind: str
    parts: tuple["Condition", ...] = ()
    paths: tuple[tuple[Access, ...], ...] = ()
    literal: Literal = ""


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


def resolve_test(test: Test, focus: Path) -> Condition:
    """Answer the condition that a test sets on the value at a focus."""
    start = replace(focus, steps=())
    return Condition(
        test.kind,
        tuple(resolve_test(part, focus) for part in test.parts),
        tuple(
            path.steps
            for branch in test.branches
            for path in resolve_branch(branch, start)
            if test.kind != "resolves" or path.type == "Reference"
        ),
        test.literal,
    )


def values_of(path: Path) -> tuple[Path, ...]:
    """Answer the paths to what search can use at a path: an extension stands for its value."""
    return _children(path, "value") if path.type == "Extension" else (path,)


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
            return _as_type(path, step.name)
        case "index":
            return (_pick(path, int(step.name)),)
        case "extension":
            return _extension(path, step.name)
        case "resolves" if path.type != "Reference":
            return ()  # nothing else can be resolved
        case "has_extension" if _is_primitive(path):
            return ()
        case "where" | "equals":
            return (replace(path, steps=(*path.steps, _condition(path, step))),)
        case _:
            condition = Access(step.kind, step.name, step.literal)
            return (replace(path, steps=(*path.steps, condition)),)


def _is_primitive(path: Path) -> bool:
    found = structure(path.inside[0])
    return found is not None and found.kind == "primitive-type"


def _condition(path: Path, step: Step) -> Access:
    """Answer the access of a condition: the comparison of a plain property is one by itself."""
    test = step.test or Test("=", branches=((Step("child", step.name),),), literal=step.literal)
    found = _children(path, step.name) if step.kind == "equals" else ()
    if len(found) == 1 and found[0].steps[:-1] == path.steps and found[0].steps[-1].kind == "key":
        return Access("equals", found[0].steps[-1].name, step.literal)
    return Access("where", "", test=resolve_test(test, path))


def _as_type(path: Path, wanted: str) -> tuple[Path, ...]:
    if path.type == "Resource" and is_resource_type(wanted):
        steps = (*path.steps, Access("equals", "resourceType", wanted))
        return (Path(steps=steps, type=wanted, inside=(wanted, "")),)
    return (path,) if _is_type(path.type, wanted) else ()


def _is_type(found: str, wanted: str) -> bool:
    """R4 once writes DateTime for dateTime, and SimpleQuantity is a Quantity."""
    return found.lower() == wanted.lower() or (found, wanted) == ("Quantity", "SimpleQuantity")


def _pick(path: Path, index: int) -> Path:
    """Answer the path to one item of a list; one of many lists' items is no place in JSON."""
    if not path.steps:
        return path
    *before, last = path.steps
    if any(access.kind != "key" for access in before) or last.kind not in {"key", "each"}:
        raise UnsupportedExpressionError(
            "Only the items of one list can be chosen from: write where(…) for a condition."
        )
    if last.kind == "key":
        return path
    return replace(path, steps=(*before, Access("item", last.name, index)))


def _extension(path: Path, url: str) -> tuple[Path, ...]:
    return tuple(
        replace(found, steps=(*found.steps, Access("equals", "url", url)))
        for found in _children(path, "extension")
    )


def _children(path: Path, name: str) -> tuple[Path, ...]:
    owner, prefix = path.inside
    found = structure(owner)
    if found is None:
        return ()
    if found.kind == "primitive-type":
        if name == "value":
            return (path,)
        path = _beside(path)
    start = f"{prefix}.{name}" if prefix else name
    element = found.elements.get(start) or found.elements.get(f"{start}[x]")
    if element is None:
        return _typed_child(path, start, name)
    if element.content_of is not None:
        target = found.elements[element.content_of]
        inside = (owner, target.path)
        return (_child(path, element, element.name, "BackboneElement", inside),)
    return tuple(
        _child(path, element, key, kind, (owner, element.path) if kind in _INLINE else (kind, ""))
        for key, kind in element.json_names()
    )


def _beside(path: Path) -> Path:
    """Answer where JSON keeps id and extensions of a primitive: `_birthDate`."""
    if not path.steps or path.steps[-1].kind not in {"key", "each", "item"}:
        raise UnsupportedExpressionError("An extension of a primitive follows its name directly.")
    *before, last = path.steps
    return replace(path, steps=(*before, replace(last, name=f"_{last.name}")))


def _typed_child(path: Path, start: str, name: str) -> tuple[Path, ...]:
    """Answer one type of a choice by its name in JSON, as many write it: `valueDateTime`."""
    owner, prefix = path.inside
    found = structure(owner)
    return tuple(
        child
        for element in (found.children(prefix) if found else ())
        if element.is_choice and start.startswith(element.path.removesuffix("[x]"))
        for child in _children(path, element.name)
        if child.steps[-1].name == name
    )


def _child(path: Path, element: Element, key: str, kind: str, inside: tuple[str, str]) -> Path:
    access = Access("each" if element.repeats else "key", key)
    system = None
    if kind == "code" and element.binding and element.binding_strength == "required":
        system = implicit_system(element.binding)
    return Path(steps=(*path.steps, access), type=kind, inside=inside, system=system)
