"""Holds items against shapes and says what differs. https://hl7.org/fhir/R4/profiling.html"""

from collections.abc import Iterator
from typing import Any, Final

from fhir.fhirpath import FhirPathError, Node
from fhir.fhirpath.equality import order_of
from fhir.fhirpath.nodes import system
from fhir.validation.invariants.rule import Context
from fhir.validation.issues import Issue, Severity
from fhir.validation.profiles.compiling import ProfileError
from fhir.validation.profiles.invariants import Invariants
from fhir.validation.profiles.items import Item, children, item_of
from fhir.validation.profiles.library import Library
from fhir.validation.profiles.shapes import NOTHING, Binding, Shape, TypeRule
from fhir.validation.profiles.slices import best_slice, resolved, type_of
from fhir.validation.profiles.values import differing, has_pattern, is_fixed
from fhir.validation.references import literal_type

_BASE: Final = "http://hl7.org/fhir/StructureDefinition/"
_INLINE: Final = {"BackboneElement", "Element"}
_DEEPEST: Final = 12


def profile_issues(
    resource: dict[str, Any], shape: Shape, url: str, library: Library
) -> list[Issue]:
    """Answer everything in which a resource differs from a profile."""
    check = _Check(library, url)
    return list(dict.fromkeys(check.item(item_of(resource), shape)))


def item_issues(item: Item, shape: Shape, url: str, library: Library) -> list[Issue]:
    """Return everything in which an element differs from a profile of its type."""
    return list(dict.fromkeys(_Check(library, url).item(item, shape)))


class _Check:
    """One validation against one profile, and those that it refers to."""

    def __init__(self, library: Library, url: str, above: "_Check | None" = None) -> None:
        self.library, self.url = library, url
        self.depth: int = above.depth + 1 if above else 0
        # What was found of each value against each profile, once: resources may refer in circles.
        # The items are kept so that no other value gets the same identity meanwhile.
        self.known: dict[tuple[int, str], tuple[Item, list[Issue]]] = above.known if above else {}
        self.invariants: Invariants = (
            above.invariants if above else Invariants(library, self._conforms_to)
        )

    def _issue(self, severity: Severity, code: str, where: str, text: str) -> Issue:
        return Issue(severity, code, where, f"{where}: {text} (profile {self.url})")

    def conforms(self, item: Item, shape: Shape) -> bool:
        """Say whether an item has no error against a shape."""
        issues = [*self.item(item, shape), *self._types(item, shape)]
        return not any(issue.severity == "error" for issue in issues)

    def _conforms_to(self, item: Item, url: str) -> bool | None:
        """Say whether an item conforms to a profile, None where that is not known."""
        try:
            shape = self.library.shape(url)
        except ProfileError:
            return None
        return None if shape is None else _Check(self.library, url, self).conforms(item, shape)

    def item(self, item: Item, shape: Shape) -> Iterator[Issue]:
        """Yield what is wrong with one item and below it."""
        yield from self._values(item, shape)
        for binding in (shape.binding, shape.widest):
            if binding is not None:
                yield from self._binding(item, binding)
        for constraint in shape.constraints:
            finding = self.invariants.finding(item, constraint)
            if finding is not None:
                severity, code, text = finding
                yield self._issue(severity, code, item.expression, text)
        for name, child in shape.children.items():
            yield from self._group(item, name, child)

    def _group(self, owner: Item, name: str, shape: Shape) -> Iterator[Issue]:
        items = children(owner, name)
        where = f"{owner.expression}.{name}"
        yield from self._count(items, shape, where)
        for item in items:
            yield from self._types(item, shape)
            yield from self.item(item, shape)
        if shape.slices:
            yield from self._slices(items, shape, where)

    def _count(self, items: list[Item], shape: Shape, where: str) -> Iterator[Issue]:
        name = f" of slice {shape.name.partition(':')[2]}" if ":" in shape.name else ""
        if len(items) < shape.minimum:
            text = (
                f"at least {shape.minimum}{name} required, found {len(items)}: add what is missing."
            )
            yield self._issue("error", "required", where, text)
        if shape.maximum is not None and len(items) > shape.maximum:
            text = f"at most {shape.maximum}{name} allowed, found {len(items)}: remove the others."
            yield self._issue("error", "structure", where, text)

    def _slices(self, items: list[Item], shape: Shape, where: str) -> Iterator[Issue]:
        found = [best_slice(item, shape, self.library, self.conforms) for item in items]
        for name, one in shape.slices.items():
            own = [i for i, hit in zip(items, found, strict=True) if hit and hit[0] == name]
            yield from self._count(own, one, where)
            for item in own:
                yield from self._types(item, one)
                yield from self.item(item, one)
            if one.slices:
                yield from self._slices(own, one, where)
        names = [hit[0] if hit else None for hit in found]
        yield from self._rules(items, names, shape)

    def _rules(self, items: list[Item], names: list[str | None], shape: Shape) -> Iterator[Issue]:
        slicing = shape.slicing
        if slicing is None:
            return
        order = list(shape.slices)
        last, ended = -1, False
        for item, name in zip(items, names, strict=True):
            if name is None:
                ended = True
                if slicing.rules == "closed":
                    text = (
                        f"this is none of the slices {', '.join(order)}, and no other is allowed."
                    )
                    yield self._issue("error", "structure", item.expression, text)
                continue
            if slicing.rules == "openAtEnd" and ended:
                text = f"slice {name} must stand before all that belong to no slice."
                yield self._issue("error", "structure", item.expression, text)
            if slicing.is_ordered and order.index(name) < last:
                text = f"the slices stand in the order {', '.join(order)}: move this one."
                yield self._issue("error", "structure", item.expression, text)
            last = max(last, order.index(name))

    def _values(self, item: Item, shape: Shape) -> Iterator[Issue]:
        where = item.expression
        if shape.fixed is not NOTHING and not is_fixed(item.value, shape.fixed):
            yield self._issue("error", "value", where, f"must be exactly {_shown(shape.fixed)}.")
        if shape.pattern is not NOTHING and not has_pattern(item.value, shape.pattern):
            part = differing(item.value, shape.pattern)
            hint = f" ({part} differs)" if part else ""
            text = f"must hold {_shown(shape.pattern)}{hint}."
            yield self._issue("error", "value", where, text)
        if not _is_within(item, shape.lowest, shape.highest):
            text = "is outside of the range that the profile allows: correct it."
            yield self._issue("error", "value", where, text)
        if shape.longest is not None and len(str(item.value)) > shape.longest:
            text = f"has more than {shape.longest} characters: shorten it."
            yield self._issue("error", "too-long", where, text)

    def _types(self, item: Item, shape: Shape) -> Iterator[Issue]:
        rules = [rule for rule in shape.types if rule.code == item.kind]
        if not shape.types or item.kind in _INLINE or shape.types[0].code.startswith("http:"):
            return
        if not rules:
            if "Resource" in {rule.code for rule in shape.types}:
                return
            text = f"is a {item.kind}; allowed are {', '.join(r.code for r in shape.types)}."
            yield self._issue("error", "structure", item.expression, text)
            return
        profiles = [url for rule in rules for url in rule.profiles]
        if profiles and not any(not rule.profiles for rule in rules):
            yield from self._one_of(item, profiles)
        if item.kind == "Reference":
            yield from self._targets(item, rules)

    def _one_of(self, item: Item, profiles: list[str]) -> Iterator[Issue]:
        """Yield what keeps an item from all of some profiles."""
        if self.depth >= _DEEPEST or _is_only_referred_to(item):
            return
        tried: list[list[Issue]] = []
        for url in profiles:
            try:
                shape = self.library.shape(url)
            except ProfileError as error:
                yield self._issue("warning", "not-found", item.expression, str(error))
                return
            if shape is None:
                text = f"the profile {url} is not known here, so this was not checked."
                yield self._issue("warning", "not-found", item.expression, text)
                return
            key = (id(item.value), url)
            if key not in self.known:
                self.known[key] = (item, [])
                self.known[key][1].extend(_Check(self.library, url, self).item(item, shape))
            tried.append(list(self.known[key][1]))
        if all(any(issue.severity == "error" for issue in issues) for issues in tried):
            yield from min(tried, key=len)

    def _targets(self, item: Item, rules: list[TypeRule]) -> Iterator[Issue]:
        targets = [url for rule in rules for url in rule.targets]
        literal = item.value.get("reference") if isinstance(item.value, dict) else None
        if not targets or not isinstance(literal, str):
            return
        kind = literal_type(literal, Context(item.source.resource, item.source.root))
        allowed = {url: type_of(url, self.library) for url in targets}
        if kind is None or None in allowed.values() or "Resource" in allowed.values():
            return
        fitting = [url for url, of in allowed.items() if of == kind]
        if not fitting:
            names = ", ".join(sorted({str(of) for of in allowed.values()}))
            text = f"points to a {kind}; allowed are {names}."
            yield self._issue("error", "value", item.expression, text)
        elif literal.startswith("#") and not any(url == _BASE + kind for url in fitting):
            target = resolved(item)
            if target is not None:
                yield from self._one_of(target, fitting)

    def _binding(self, item: Item, binding: Binding) -> Iterator[Issue]:
        codes = list(_codes(item, self.library, binding.value_set))
        if not codes:
            return
        answers = [self.library.is_member(binding.value_set, *code) for code in codes]
        if True in answers:
            return
        shown = ", ".join(f"{system}|{code}" if system else code for system, code in codes)
        if None in answers:
            text = f"{shown} was not checked: the value set {binding.value_set} is not known here."
            yield self._issue("warning", "not-found", item.expression, text)
            return
        severity: Severity = "error" if binding.strength == "required" else "warning"
        text = f"{shown[:200]} is not in {binding.value_set}: use one of its codes."
        yield self._issue(severity, "code-invalid", item.expression, text)


def _is_only_referred_to(item: Item) -> bool:
    """Say whether an item stands for a resource of which nothing but the type is known."""
    return isinstance(item.value, dict) and item.value.keys() == {"resourceType"}


def _codes(item: Item, library: Library, value_set: str) -> Iterator[tuple[str, str]]:
    value = item.value
    if isinstance(value, str):
        for system in sorted(library.systems(value_set)) or [""]:
            yield system, value
    elif isinstance(value, dict):
        for coding in value.get("coding", [value] if "code" in value else ()):
            if isinstance(coding, dict) and isinstance(coding.get("code"), str):
                yield str(coding.get("system", "")), coding["code"]


def _is_within(item: Item, lowest: object, highest: object) -> bool:
    """Say whether a value is within minValue and maxValue, as far as they can be compared."""
    if lowest is NOTHING and highest is NOTHING:
        return True
    value = system(Node(item.value, kind=item.kind, home=item.home))
    for bound, wrong in ((lowest, -1), (highest, 1)):
        if bound is NOTHING:
            continue
        try:
            order = order_of([value], [system(Node(bound, kind=item.kind, home=item.home))])
        except FhirPathError:
            continue
        if order == wrong:
            return False
    return True


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:156]}…"
