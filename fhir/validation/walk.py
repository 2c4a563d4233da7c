"""Walks a resource along its definitions and tests the invariants of everything it meets.

What there is to test below each JSON name is laid out in tables, once a type; a walk is then a
matter of dictionary look-ups.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache, partial
from threading import RLock
from typing import Any

from fhir.definitions import Element, structure
from fhir.validation.contradictions import TARGETS
from fhir.validation.invariants import Context, Holds, Rule, rules_at
from fhir.validation.issues import Issue, Severity
from fhir.validation.location import expression_at
from fhir.validation.primitives import PRIMITIVES
from fhir.validation.references import names_one_of, points_to

Node = dict[str, Any]
Place = tuple[str | int, ...]

_INLINE = {"BackboneElement", "Element"}
_WHOLE = frozenset({"integer", "positiveInt", "unsignedInt"})
_UNCLEAR = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a rule raises over a node of a wrong shape."""
_EMPTY = Rule(
    lambda node, context: False,
    "An element has a value or children, not only an id: remove it, or complete it.",
    key="ele-1",
)


@dataclass(slots=True, eq=False)
class Table:
    """What to test at a kind of node, and the tables of what lies below, by JSON name."""

    errors: tuple[Rule, ...] = ()
    checks: tuple[Holds, ...] = ()
    warnings: tuple[Rule, ...] = ()
    below: dict[str, "Table"] = field(default_factory=dict)
    may_be_bare: bool = False

    def add(self, rules: tuple[Rule, ...]) -> None:
        """Add rules, each to the list of its severity."""
        self.errors += tuple(rule for rule in rules if rule.severity == "error")
        self.checks = tuple(rule.holds for rule in self.errors)
        self.warnings += tuple(rule for rule in rules if rule.severity != "error")

    def narrowed(self, rules: tuple[Rule, ...]) -> "Table":
        """Answer this table with more rules, for one use of a datatype."""
        if not rules:
            return self
        table = replace(self)
        table.add(rules)
        return table


_tables: dict[tuple[str, str], Table] = {}
_filling = RLock()


@cache
def resource_table(resource_type: str) -> Table:
    """Answer the table of a resource type, complete with all that lies below it."""
    with _filling:
        return _table_of(resource_type)


def _table_of(type_name: str, path: str = "") -> Table:
    """Answer the table of a type, or of a backbone element in it.

    A type may contain itself, so a table is known before it is filled; the lock keeps other
    threads from seeing it until then.
    """
    key = (type_name, path)
    if key not in _tables:
        _tables[key] = Table()
        _fill(_tables[key], type_name, path)
    return _tables[key]


def _fill(table: Table, type_name: str, path: str) -> None:
    found = structure(type_name)
    if found is None:
        return
    children = found.children(path)
    table.add(_rules_of(type_name, path, children))
    for element in children:
        for key, kind in element.json_names():
            if kind in PRIMITIVES:
                table.below[f"_{key}"] = _shadow()
            elif kind != "Resource":
                table.below[key] = _table_below(type_name, element, kind)


def _rules_of(type_name: str, path: str, children: tuple[Element, ...]) -> tuple[Rule, ...]:
    """The rules of a node: declared there, inherited, and those of its primitive children."""
    rules: tuple[Rule, ...] = ()
    for name in _lineage(type_name) if not path else (type_name,):
        rules += rules_at(name, path)
    whole = tuple(k for element in children for k, kind in element.json_names() if kind in _WHOLE)
    if whole:
        rules += (_whole_rule(whole),)
    for element in children:
        if not element.is_choice and element.types and element.types[0] in PRIMITIVES:
            rules += rules_at(type_name, element.path)
            if element.types[0] == "canonical" and element.targets and type_name != "Meta":
                rules += (_canonical_rule(element.targets, element.name),)
    return rules


@cache
def _shadow() -> Table:
    """Extensions of a primitive: an id alone will do, the value stands elsewhere."""
    return replace(_table_of("Element"), may_be_bare=True)


def _table_below(type_name: str, element: Element, kind: str) -> Table:
    if element.content_of is not None:
        return _table_of(type_name, element.content_of)
    if kind in _INLINE:
        return _table_of(type_name, element.path)
    extra = rules_at(type_name, element.path) if type_name not in _GENERAL else ()
    if kind == "Reference" and element.targets:
        wider = TARGETS.get((type_name, element.path), ())
        extra += (_target_rule(element.targets + wider),)
        if wider:
            extra += (replace(_target_rule(element.targets), severity="warning"),)
    return _table_of(kind).narrowed(extra)


_GENERAL = frozenset({"Element", "Extension"})


@cache
def _target_rule(targets: tuple[str, ...]) -> Rule:
    return Rule(
        partial(points_to, targets),
        f"The reference may point to {', '.join(targets)} only: correct it.",
        key="reference target",
    )


@cache
def _canonical_rule(targets: tuple[str, ...], name: str) -> Rule:
    return Rule(
        partial(names_one_of, targets, name),
        f"{name} may name {', '.join(targets)} only: correct its url.",
        key="canonical target",
    )


@cache
def _whole_rule(names: tuple[str, ...]) -> Rule:
    """The schema takes 1.0 for a whole number; R4's integers have no fraction and no exponent."""
    return Rule(
        partial(_are_whole, names),
        f"{' and '.join(names)} must be written as whole numbers, without point and exponent.",
        key="integer",
    )


def _are_whole(names: tuple[str, ...], node: Node, _: Context) -> bool:
    for name in names:
        if name in node:
            value = node[name]
            if isinstance(value, float):
                return False
            if isinstance(value, list) and any(isinstance(one, float) for one in value):
                return False
    return True


@cache
def _lineage(type_name: str) -> tuple[str, ...]:
    found = structure(type_name)
    return (*_lineage(found.base), type_name) if found and found.base else (type_name,)


def holds(node: Node, table: Table, context: Context) -> bool:
    """Say whether every error rule holds at a node and below it."""
    for check in table.checks:
        if not check(node, context):
            return False
    if len(node) == 1 and "id" in node and not table.may_be_bare:
        return False
    below_of = table.below.get
    for key, value in node.items():
        below = below_of(key)
        if below is None:
            continue
        test = _all_hold if isinstance(value, list) else holds
        if not test(value, below, context):
            return False
        if below.may_be_bare and key[1:] not in node and _is_bare(value):
            return False
    return True


def _all_hold(nodes: list[Node | None], table: Table, context: Context) -> bool:
    for node in nodes:  # noqa: SIM110 -- a generator would cost twice the time here
        if node is not None and not holds(node, table, context):
            return False
    return True


def _is_bare(shadow: object) -> bool:
    """Say whether what stands for a primitive without value has no extension either."""
    many = shadow if isinstance(shadow, list) else [shadow]
    return all(one is None or (isinstance(one, dict) and one.keys() == {"id"}) for one in many)


def broken_rules(
    node: object, table: Table, context: Context, *, warnings: bool, place: Place = ()
) -> Iterator[tuple[Place, Rule]]:
    """Yield every rule that does not hold, with its place.

    Bears nodes of the wrong shape, which the schema reports.
    """
    if not isinstance(node, dict):
        return
    if len(node) == 1 and "id" in node and not table.may_be_bare:
        yield place, _EMPTY
    for rule in (*table.errors, *(table.warnings if warnings else ())):
        if not _holds_or_unclear(rule, node, context):
            yield place, rule
    for key, value in node.items():
        below = table.below.get(key)
        if below is None:
            continue
        yield from _emptiness(node, key, below, place)
        many = isinstance(value, list)
        for index, item in enumerate(value if many else [value]):
            inner = (*place, key, index) if many else (*place, key)
            yield from broken_rules(item, below, context, warnings=warnings, place=inner)


def _emptiness(node: Node, key: str, below: Table, place: Place) -> Iterator[tuple[Place, Rule]]:
    if below.may_be_bare and key[1:] not in node and _is_bare(node[key]):
        yield (*place, key[1:]), _EMPTY


def _holds_or_unclear(rule: Rule, node: Node, context: Context) -> bool:
    """A rule that trips over a wrong shape says nothing: the schema has named the fault."""
    try:
        return rule.holds(node, context)
    except _UNCLEAR:
        return True


def _holds_surely(resource: Node, table: Table, context: Context) -> bool:
    """A sound Bundle may hold resources of a wrong shape, over which its own rules trip."""
    try:
        return holds(resource, table, context)
    except _UNCLEAR:
        return False


def rule_issues(context: Context, *, warnings: bool = False, is_sound: bool = True) -> list[Issue]:
    """Answer an issue for every invariant that does not hold in the context's resource.

    `is_sound` says that the structure is valid, which allows the fast walk.
    """
    resource = context.resource
    resource_type = resource["resourceType"]
    table = resource_table(resource_type)
    if is_sound and not warnings and _holds_surely(resource, table, context):
        return []
    return [
        _issue(resource_type, place, rule)
        for place, rule in broken_rules(resource, table, context, warnings=warnings)
    ]


def _issue(resource_type: str, place: Place, rule: Rule) -> Issue:
    where = expression_at(resource_type, place)
    severity: Severity = rule.severity
    return Issue(severity, "invariant", where, f"{where}: {rule.remedy} ({rule.key})")
