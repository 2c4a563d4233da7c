"""StructureDefinition → tree of shapes, from its snapshot or its differential over the base.

https://hl7.org/fhir/R4/profiling.html#snapshot
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any, Final, Literal

from fhir.definitions import Element, structure
from fhir.validation.invariants import core_keys
from fhir.validation.profiles.shapes import (
    Binding,
    Constraint,
    Discriminator,
    Home,
    Shape,
    Slicing,
    TypeRule,
)

Facts = dict[str, Any]

BASE: Final = "http://hl7.org/fhir/StructureDefinition/"
_WIDEST: Final = f"{BASE}elementdefinition-maxValueSet"
_INLINE: Final = {"BackboneElement", "Element"}
_DEEPEST: Final = 16


class ProfileError(Exception):
    """A profile that can't be compiled: its base is unknown, or it goes in a circle."""


def compile_profile(definition: Facts, find: Callable[[str], Facts | None]) -> Shape:
    """Answer the shape of a profile; `find` looks its base up. Raises ProfileError."""
    return _compiled(definition, find, ())


def _compiled(
    definition: Facts, find: Callable[[str], Facts | None], above: tuple[str, ...]
) -> Shape:
    url, kind = str(definition.get("url")), str(definition.get("type"))
    if url in above or len(above) >= _DEEPEST:
        raise ProfileError(f"The profile {url} is derived from itself.")
    if definition.get("snapshot"):
        shape = Shape(kind, home=(kind, ""))
        _overlay(shape, definition["snapshot"].get("element", ()))
        return shape
    shape = _base_shape(definition, find, (*above, url))
    _overlay(shape, definition.get("differential", {}).get("element", ()))
    return shape


def _base_shape(
    definition: Facts, find: Callable[[str], Facts | None], above: tuple[str, ...]
) -> Shape:
    base, kind = str(definition.get("baseDefinition", "")), str(definition.get("type"))
    name = base.removeprefix(BASE).partition("|")[0]
    if structure(name) is not None and find(base) is None:
        return Shape(kind, home=(kind, ""))
    found = find(base)
    if found is None:
        raise ProfileError(
            f"The profile {definition.get('url')} is derived from {base}, which is not known here: "
            "store its StructureDefinition too."
        )
    if found.get("derivation") != "constraint":
        return Shape(kind, home=(kind, ""))
    return deepcopy(_compiled(found, find, above))


def _overlay(root: Shape, elements: list[Facts]) -> None:
    """Put the elements of a differential or snapshot over a tree, in their order."""
    names: dict[str, str] = {}
    for facts in elements:
        shape = root
        for step in _steps(facts, names):
            shape = _step(shape, *step)
        _apply(shape, facts, is_root=shape is root)


def _steps(facts: Facts, names: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield (name, slice) below the root, from the id, or from path and order without a good id.

    `names` maps each path to the slice that was spoken of last.
    """
    path = str(facts["path"]).split(".")
    marked = str(facts.get("id", "")).split(".")
    if [part.partition(":")[0] for part in marked] != path:
        marked = path
    else:
        names.clear()
    for depth in range(1, len(path)):
        here = ".".join(path[: depth + 1])
        name, _, given = marked[depth].partition(":")
        if depth == len(path) - 1:
            for below in [known for known in names if known.startswith(here)]:
                del names[below]
            given = given or str(facts.get("sliceName", ""))
            names[here] = given
        yield name, given or names.get(here, "")


def _step(shape: Shape, name: str, slice_name: str) -> Shape:
    """Answer the shape of a child, of one of its slices, or of a choice by its short name."""
    if name in shape.children and not slice_name:
        return shape.children[name]
    element, kind = _element(shape.home, name)
    if element is not None and kind is not None and element.name != name:
        child = _child(shape, element.name, element, None)
        return _slice(child, slice_name or name, kind)
    plain = name.removesuffix("[x]")
    child = _child(shape, plain, element, None)
    return _slice(child, slice_name, None) if slice_name else child


def _child(shape: Shape, name: str, element: Element | None, kind: str | None) -> Shape:
    if name not in shape.children:
        home = _home(shape.home, element, kind)
        shape.children[name] = Shape(f"{shape.path}.{name}", home=home)
    return shape.children[name]


def _slice(shape: Shape, name: str, kind: str | None) -> Shape:
    """Answer a slice; `a/b` is a slice of the slice `a`."""
    outer, divided, inner = name.partition("/")
    if divided and outer in shape.slices:
        return _slice(shape.slices[outer], inner, kind)
    if name not in shape.slices:
        made = Shape(f"{shape.path}:{name}", home=shape.home)
        if kind is not None:
            made.home, made.types = (kind, ""), (TypeRule(kind),)
            if shape.slicing is None:
                shape.slicing = Slicing((Discriminator("type", "$this"),))
        shape.slices[name] = made
    return shape.slices[name]


def _element(home: Home | None, name: str) -> tuple[Element | None, str | None]:
    """Find a child by its name (`value[x]`) or the short name of a choice, with its type."""
    found = structure(home[0]) if home else None
    if found is None or home is None:
        return None, None
    plain = name.removesuffix("[x]")
    for element in found.children(home[1]):
        if element.name == plain:
            return element, None
        for key, kind in element.json_names() if element.is_choice else ():
            if key == plain:
                return element, kind
    return None, None


def _home(home: Home | None, element: Element | None, kind: str | None) -> Home | None:
    if element is None or home is None:
        return None
    if element.content_of is not None:
        return home[0], element.content_of
    kind = kind or (element.types[0] if len(element.types) == 1 else None)
    if kind in _INLINE:
        return home[0], element.path
    return (kind, "") if kind is not None else None


def _apply(shape: Shape, facts: Facts, *, is_root: bool) -> None:
    if not is_root:
        shape.minimum = int(facts.get("min", shape.minimum))
        if str(facts.get("max", "*")).isdecimal():
            shape.maximum = int(facts["max"])
    if facts.get("type") and not is_root:
        _apply_types(shape, facts["type"])
    _apply_values(shape, facts)
    binding = facts.get("binding", {})
    if binding.get("valueSet") and binding.get("strength") in {"required", "extensible"}:
        shape.binding = Binding(binding["strength"], binding["valueSet"])
    for extension in binding.get("extension", ()):
        widest = extension.get("valueCanonical", extension.get("valueUri"))
        if extension.get("url") == _WIDEST and widest:
            shape.widest = Binding("required", str(widest))
    _apply_constraints(shape, facts.get("constraint", ()))
    if "slicing" in facts:
        shape.slicing = _slicing(facts["slicing"])


def _apply_types(shape: Shape, types: list[Facts]) -> None:
    shape.types = tuple(
        TypeRule(
            str(entry.get("code")),
            tuple(entry.get("profile", ())),
            tuple(entry.get("targetProfile", ())),
        )
        for entry in types
    )
    kind = shape.types[0].code
    is_single = len({rule.code for rule in shape.types}) == 1
    if is_single and kind not in _INLINE and structure(kind) is not None:
        shape.home = (kind, "")


def _apply_values(shape: Shape, facts: Facts) -> None:
    for name, value in facts.items():
        if name.startswith("fixed"):
            shape.fixed = value
        elif name.startswith("pattern"):
            shape.pattern = value
        elif name.startswith("minValue"):
            shape.lowest = value
        elif name.startswith("maxValue"):
            shape.highest = value
        elif name == "maxLength":
            shape.longest = value


def _apply_constraints(shape: Shape, constraints: list[Facts]) -> None:
    """Add the invariants of the profile; those of R4 itself are checked in any case."""
    known = {(constraint.key, constraint.expression) for constraint in shape.constraints}
    for entry in constraints:
        key = str(entry.get("key"))
        expression = str(entry.get("expression") or "")
        if _is_of_r4(entry, key) or (key, expression) in known:
            continue
        is_mild = entry.get("severity") == "warning"
        severity: Literal["error", "warning"] = "warning" if is_mild else "error"
        human = str(entry.get("human") or "")
        made = Constraint(key, severity, human, expression)
        shape.constraints += (made,)


def _is_of_r4(entry: Facts, key: str) -> bool:
    """Say whether a constraint is one of R4 itself, which a snapshot repeats.

    Keys such as `inv-1` are used by others, too; those of all elements have been reworded since.
    """
    if key not in core_keys():
        return False
    if key.partition("-")[0] in {"ele", "ext", "dom"}:
        return True
    source = str(entry.get("source", "")).removeprefix(BASE)
    return structure(source) is not None or entry.get("expression") in core_keys()[key]


def _slicing(facts: Facts) -> Slicing:
    return Slicing(
        tuple(
            Discriminator(str(entry.get("type")), str(entry.get("path", "$this")))
            for entry in facts.get("discriminator", ())
        ),
        rules=str(facts.get("rules", "open")),
        is_ordered=facts.get("ordered") is True,
    )
