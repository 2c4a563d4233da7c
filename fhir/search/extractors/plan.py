"""Lays the paths of all search parameters of a type over each other, as one tree.

Each element of a resource is then visited once, whatever the number of parameters that want it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from fhir.definitions import SearchParameter, parameter_by_url
from fhir.search.extractors.expressions import parse_expression, parse_test
from fhir.search.extractors.paths import (
    Access,
    Condition,
    Path,
    resolve_branch,
    resolve_test,
    root_path,
    values_of,
)
from fhir.search.parts import is_union

# The store keeps these two as columns: their final values are not in the client's resource.
COLUMNS = frozenset({"_id", "_lastUpdated"})

# The one expression that is no path; both types of the choice have a meaning.
DECEASED = "Patient.deceased.exists() and Patient.deceased != false"

_ROOT = "%resource."

_PLAIN = ("string", "uri", "url", "canonical", "oid", "uuid", "id", "markdown")
_DATES = ("date", "dateTime", "instant")
_NUMBERS = ("decimal", "integer", "positiveInt", "unsignedInt")
_QUANTITIES = ("Quantity", "Age", "Duration", "Count", "Distance", "SimpleQuantity")

# (parameter type, FHIR type) → pairs of list to append to and converter.
CONVERTERS: dict[tuple[str, str], tuple[tuple[str, str], ...]] = {
    ("token", "Coding"): (("tokens", "token_coding"),),
    ("token", "CodeableConcept"): (("tokens", "token_concept"),),
    ("token", "Identifier"): (("tokens", "token_identifier"), ("identifiers", "typed_identifier")),
    ("token", "ContactPoint"): (("tokens", "token_contact_point"),),
    ("token", "boolean"): (("tokens", "token_boolean"),),
    ("token", "code"): (("tokens", "token_plain"),),
    **{("token", kind): (("tokens", "token_plain"),) for kind in (*_PLAIN, *_DATES)},
    ("string", "HumanName"): (("strings", "string_name"),),
    ("string", "Address"): (("strings", "string_address"),),
    ("string", "CodeableConcept"): (("strings", "string_concept"),),
    ("string", "code"): (("strings", "string_plain"),),
    **{("string", kind): (("strings", "string_plain"),) for kind in _PLAIN},
    **{("date", kind): (("dates", "date_plain"),) for kind in _DATES},
    ("date", "Period"): (("dates", "date_period"),),
    ("date", "Timing"): (("dates", "date_timing"),),
    **{("quantity", kind): (("quantities", "quantity_plain"),) for kind in _QUANTITIES},
    ("quantity", "Money"): (("quantities", "quantity_money"),),
    ("quantity", "Range"): (("quantities", "quantity_range"),),
    ("quantity", "SampledData"): (("quantities", "quantity_sampled"),),
    **{("number", kind): (("numbers", "number_plain"),) for kind in _NUMBERS},
    ("number", "Range"): (("numbers", "number_range"),),
    ("reference", "Reference"): (("references", "reference_plain"),),
    ("reference", "canonical"): (("references", "reference_canonical"),),
    ("reference", "uri"): (("references", "reference_canonical"),),
    ("reference", "Resource"): (("references", "reference_inline"),),
    **{("uri", kind): (("uris", "uri_plain"),) for kind in _PLAIN},
    ("special", "BackboneElement"): (("positions", "position"),),
}

_COMPONENT_CONVERTERS: dict[tuple[str, str], tuple[tuple[str, str], ...]] = {
    ("token", "CodeableConcept"): (("tokens", "token_codes"),),
    ("token", "Identifier"): (("tokens", "token_identifier"),),
}


@dataclass(frozen=True, slots=True)
class Leaf:
    """A conversion at a node: where to, by which converter, with which implicit system."""

    target: str
    converter: str
    system: str | None


@dataclass(slots=True, eq=False)
class Node:
    """A place in the JSON: what is converted here, which composites start here, what is below.

    `conditions` are parameters that say true or false of the place.
    """

    leaves: dict[Leaf, dict[str, None]] = field(default_factory=dict)
    composites: dict[tuple["Node", ...], dict[str, None]] = field(default_factory=dict)
    below: dict[Access, "Node"] = field(default_factory=dict)
    conditions: dict[Condition, dict[str, None]] = field(default_factory=dict)
    from_root: bool = False

    def at(self, steps: Iterable[Access]) -> "Node":
        """Answer the node at the end of some steps, growing the tree."""
        node = self
        for step in steps:
            node = node.below.setdefault(step, Node())
        return node

    def convert(self, path: Path, parameter_type: str, code: str) -> bool:
        """Note the conversion of the value at a path; say whether search can use its type.

        Without a code the value is a component, for which only what has a code is of use.
        """
        pairs = CONVERTERS.get((parameter_type, path.type), ())
        if not code:
            pairs = _COMPONENT_CONVERTERS.get((parameter_type, path.type), pairs)
        for target, converter in pairs:
            leaf = Leaf(target, converter, path.system if converter == "token_plain" else None)
            self.at(path.steps).leaves.setdefault(leaf, {})[code] = None
        return bool(pairs)


def plan(resource_type: str, parameters: Iterable[SearchParameter]) -> Node:
    """Answer the tree of all conversions for a resource type.

    Raises UnsupportedExpressionError for an expression outside the language of search paths.
    """
    root = Node()
    parts: dict[tuple[Path, str], Node] = {}
    for parameter in parameters:
        if parameter.expression is None or parameter.code in COLUMNS:
            continue
        if is_union(resource_type, parameter.code):
            continue
        if parameter.components:
            _plan_composite(root, parts, resource_type, parameter)
        elif parameter.expression == DECEASED:
            _plan_deceased(root, parameter.code)
        elif (condition := parameter_condition(resource_type, parameter)) is not None:
            root.conditions.setdefault(condition, {})[parameter.code] = None
        else:
            for path in parameter_paths(resource_type, parameter):
                root.convert(path, parameter.type, parameter.code)
    return root


def parameter_paths(resource_type: str, parameter: SearchParameter) -> tuple[Path, ...]:
    """Answer the concrete JSON paths of a parameter of a resource type.

    Where some lead to types that its type can be searched by, only those.
    """
    focus = root_path(resource_type)
    paths = tuple(
        path
        for branch in parse_expression(parameter.expression or "$this")
        for found in resolve_branch(branch, focus)
        for path in (values_of(found) if not parameter.components else (found,))
    )
    usable = tuple(path for path in paths if (parameter.type, path.type) in CONVERTERS)
    return usable or paths


def parameter_condition(resource_type: str, parameter: SearchParameter) -> Condition | None:
    """Answer the condition that a token's whole expression is, None where it is a path."""
    if parameter.type != "token" or parameter.expression is None:
        return None
    test = parse_test(parameter.expression)
    return None if test is None else resolve_test(test, root_path(resource_type))


def _plan_deceased(root: Node, code: str) -> None:
    leaf = Leaf("tokens", "token_present", None)
    for key in ("deceasedBoolean", "deceasedDateTime"):
        root.at([Access("key", key)]).leaves[leaf] = {code: None}


def _plan_composite(
    root: Node, parts: dict[tuple[Path, str], Node], resource_type: str, parameter: SearchParameter
) -> None:
    for focus in parameter_paths(resource_type, parameter):
        nodes = []
        for component in parameter.components:
            definition = component.parameter or parameter_by_url(component.definition)
            kind = definition.type if definition else "token"
            nodes.append(_part(parts, resource_type, focus, component.expression, kind))
        if all(node is not None for node in nodes):
            found = tuple(node for node in nodes if node is not None)
            root.at(focus.steps).composites.setdefault(found, {})[parameter.code] = None


def _part(
    parts: dict[tuple[Path, str], Node],
    resource_type: str,
    focus: Path,
    expression: str,
    kind: str,
) -> Node | None:
    """Answer the tree of one component; equal components of several parameters share it."""
    from_root = expression.startswith(_ROOT)
    start = root_path(resource_type) if from_root else replace(focus, steps=())
    key = (focus, f"{kind}:{expression}")
    if key not in parts:
        node = Node(from_root=from_root)
        usable = [
            node.convert(path, kind, "")
            for branch in parse_expression(expression.removeprefix(_ROOT))
            for found in resolve_branch(branch, start)
            for path in values_of(found)
        ]
        if not any(usable):
            return None
        parts[key] = node
    return parts[key]
