"""Which slice an item belongs to. https://hl7.org/fhir/R4/profiling.html#discriminator"""

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from fhir.validation.invariants.rule import Context
from fhir.validation.profiles.items import Item, children, item_of
from fhir.validation.profiles.library import Library
from fhir.validation.profiles.shapes import NOTHING, Discriminator, Shape, TypeRule
from fhir.validation.profiles.values import has_pattern, is_fixed
from fhir.validation.references import literal_type

Conforms = Callable[[Item, Shape], bool]
_BASE: Final = "http://hl7.org/fhir/StructureDefinition/"
_STEP: Final = re.compile(r"\$this|extension\('([^']*)'\)|(\w+)\(([^)]*)\)|\w+")


def steps_of(path: str) -> list[tuple[str, str]]:
    """Return the steps of a discriminator's path: (name, argument)."""
    found = []
    for match in _STEP.finditer(path):
        if match[0] == "$this":
            continue
        if match[1] is not None:
            found.append(("extension", match[1]))
        else:
            found.append((f"{match[2]}()", match[3]) if match[2] else (match[0], ""))
    return found


def belongs(
    item: Item, shape: Shape, found: Discriminator, library: Library, conforms: Conforms
) -> bool:
    """Say whether an item passes one discriminator of a slice."""
    steps = steps_of(found.path)
    leaves = list(_leaves(shape, steps, library))
    items = list(follow(item, steps))
    match found.kind:
        case "exists":
            return _exists(items, leaves)
        case "type":
            return any(_has_type(one, leaf) for one in items for leaf in leaves)
        case "profile":
            return any(conforms(one, leaf) for one in items for leaf in leaves)
        case _:
            known = [leaf for leaf in leaves if tells(leaf)]
            if not known:
                return conforms(item, shape)
            return any(_has_value(one, leaf, conforms) for one in items for leaf in known)


def tells(shape: Shape) -> bool:
    """Say whether a shape narrows the value, so that it can tell slices apart."""
    return (
        shape.fixed is not NOTHING
        or shape.pattern is not NOTHING
        or (shape.binding is not None and shape.binding.strength == "required")
    )


def _has_value(item: Item, leaf: Shape, conforms: Conforms) -> bool:
    if leaf.fixed is not NOTHING:
        return is_fixed(item.value, leaf.fixed)
    if leaf.pattern is not NOTHING:
        return has_pattern(item.value, leaf.pattern)
    return conforms(item, Shape(leaf.path, home=leaf.home, binding=leaf.binding))


def _has_type(item: Item, leaf: Shape) -> bool:
    return not leaf.types or any(rule.code == item.kind for rule in leaf.types)


def _exists(items: list[Item], leaves: list[Shape]) -> bool:
    if any(leaf.maximum == 0 for leaf in leaves):
        return not items
    return bool(items) or not any(leaf.minimum > 0 for leaf in leaves)


def follow(item: Item, steps: list[tuple[str, str]]) -> Iterator[Item]:
    """Yield the items at the end of a path."""
    found = [item]
    for name, argument in steps:
        found = [below for one in found for below in _below(one, name, argument)]
    yield from found


def _below(item: Item, name: str, argument: str) -> list[Item]:
    if name == "extension":
        found = children(item, name)
        return [
            one
            for one in found
            if not argument or (isinstance(one.value, dict) and one.value.get("url") == argument)
        ]
    if name == "resolve()":
        target = resolved(item)
        return [] if target is None else [target]
    if name in {"ofType()", "as()"}:
        return [item] if item.kind == argument.strip() else []
    return children(item, name)


def resolved(item: Item) -> Item | None:
    """Return what a reference points to: a contained resource, or a bare one of its type."""
    literal = item.value.get("reference") if isinstance(item.value, dict) else None
    if not isinstance(literal, str):
        return None
    for entry in item.source.root.get("contained", ()) if literal.startswith("#") else ():
        if isinstance(entry, dict) and entry.get("id") == literal[1:] and "resourceType" in entry:
            return item_of(entry, item.source.root, item.expression)
    kind = literal_type(literal, Context(item.source.resource, item.source.root))
    return None if kind is None else item_of({"resourceType": kind}, prefix=item.expression)


def _leaves(shape: Shape, steps: list[tuple[str, str]], library: Library) -> Iterator[Shape]:
    """Yield the shapes at the end of a path, through slices and patterns too."""
    if not steps:
        yield shape
        return
    (name, argument), rest = steps[0], steps[1:]
    if name in {"resolve()", "ofType()", "as()"}:
        inner = _target(shape, library) if name == "resolve()" else shape
        yield from _leaves(inner, rest, library)
        return
    part = _part(shape, name)
    if part is not NOTHING:
        yield from _leaves(part, rest, library)
    if name == "url" and shape.fixed is NOTHING and "url" not in shape.children:
        yield from _url_of(shape)
    child = shape.children.get(name)
    for below in (child, *child.slices.values()) if child is not None else ():
        if name != "extension" or not argument or argument in _urls(below):
            yield from _leaves(below, rest, library)


def _part(shape: Shape, name: str) -> Any:  # noqa: ANN401  # a shape, or nothing
    """Return the shape of a part of a fixed value or pattern."""
    for kind, value in (("fixed", shape.fixed), ("pattern", shape.pattern)):
        values = value if isinstance(value, list) else [value]
        for one in values:
            if isinstance(one, dict) and name in one:
                part = one[name][0] if isinstance(one[name], list) else one[name]
                made = Shape(f"{shape.path}.{name}")
                if kind == "fixed":
                    made.fixed = part
                else:
                    made.pattern = part
                return made
    return NOTHING


def _urls(shape: Shape) -> set[str]:
    """Return the urls that an extension's slice may have, by its profile or fixed url."""
    found = {url.partition("|")[0] for rule in shape.types for url in rule.profiles}
    url = shape.children.get("url")
    return found | ({str(url.fixed)} if url is not None and url.fixed is not NOTHING else set())


def _url_of(shape: Shape) -> Iterator[Shape]:
    for url in _urls(shape):
        yield Shape(f"{shape.path}.url", fixed=url)


def _target(shape: Shape, library: Library) -> Shape:
    """Return the shape of what a reference points to."""
    made = Shape(f"{shape.path}.resolve()")
    made.types = tuple(
        TypeRule(type_of(url, library) or url, () if url.startswith(_BASE) else (url,))
        for rule in shape.types
        for url in rule.targets
    )
    return made


def type_of(url: str, library: Library) -> str | None:
    """Return the type that a profile or base definition is of, None where that is not known."""
    definition = library.definition(url)
    if definition is not None:
        return str(definition.get("type"))
    return url.removeprefix(_BASE).partition("|")[0] if url.startswith(_BASE) else None


def best_slice(
    item: Item, shape: Shape, library: Library, conforms: Conforms
) -> tuple[str, Shape] | None:
    """Return the first slice to which an item belongs."""
    discriminators = shape.slicing.discriminators if shape.slicing else ()
    for name, one in shape.slices.items():
        if not discriminators:
            if conforms(item, one):
                return name, one
        elif all(belongs(item, one, found, library, conforms) for found in discriminators):
            return name, one
    return None
