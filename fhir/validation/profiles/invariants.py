"""Evaluates the invariants that profiles add. https://hl7.org/fhir/R4/conformance-rules.html

An invariant that can't be evaluated is told as such: it neither passes in silence nor fails.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from fhir.fhirpath import (
    FhirPathError,
    Node,
    OverBudget,
    Scope,
    compile_path,
    node_of,
    truth,
)
from fhir.validation.invariants.rule import Context
from fhir.validation.issues import Severity
from fhir.validation.profiles.items import Item, Source
from fhir.validation.profiles.library import Library
from fhir.validation.profiles.shapes import Constraint
from fhir.validation.references import entry_types, literal_type

Json = Any  # a parsed JSON value, of whatever shape it came
Conforms = Callable[[Item, str], bool | None]

# Expressions whose text fails where the invariant holds, in the form that HL7's validator gives
# them: a Period is no dateTime, and has none to be long enough.
_CORRECTED: Final[Mapping[str, str]] = {
    "($this as dateTime).toString().length() >= 8": (
        "($this is dateTime) implies ($this.toString().length() >= 8)"
    ),
}


class Invariants:
    """The invariants of one validation, within the budget of its library."""

    def __init__(self, library: Library, conforms: Conforms) -> None:
        self.library, self.conforms_to = library, conforms
        self._entries: dict[int, tuple[Json, dict[str, Json], Mapping[str, str]]] = {}

    def entries(self, root: dict[str, Json]) -> tuple[dict[str, Json], Mapping[str, str]]:
        """Return the resources of a Bundle by full url, and their types; they are read once."""
        known = self._entries.get(id(root))
        if known is None:
            listed = root.get("entry") if root.get("resourceType") == "Bundle" else None
            resources = {
                entry["fullUrl"]: entry.get("resource")
                for entry in (listed if isinstance(listed, list) else ())
                if isinstance(entry, dict) and isinstance(entry.get("fullUrl"), str)
            }
            known = (root, resources, entry_types(root))
            self._entries[id(root)] = known
        return known[1], known[2]

    def finding(self, item: Item, constraint: Constraint) -> tuple[Severity, str, str] | None:
        """Return (severity, code, text) of what there is to say, None where the invariant holds."""
        if not constraint.expression:
            text = (
                f"the invariant {constraint.key} was not evaluated: it has no FHIRPath expression"
            )
            return "information", "not-supported", f"{text} ({constraint.human or 'no text'})."
        try:
            holds = self._holds(item, constraint.expression)
        except OverBudget:
            text = f"the invariant {constraint.key} was not evaluated: it takes too much work."
            return "information", "too-costly", text
        except FhirPathError as error:
            text = f"the invariant {constraint.key} was not evaluated: {error}"
            return "information", "not-supported", f"{text} `{constraint.expression[:300]}`"
        if holds:
            return None
        human = constraint.human or f"`{constraint.expression[:300]}` does not hold"
        return constraint.severity, "invariant", f"{human.rstrip('.')} ({constraint.key})"

    def _holds(self, item: Item, expression: str) -> bool:
        path = compile_path(_CORRECTED.get(expression, expression))
        root = node_of(item.source.root)
        focus = [_node(item, root)]
        variables = {
            "resource": [_resource(item, root)],
            "rootResource": [root],
            "context": focus,
        }
        environment = _Surroundings(self, item.source)
        budget = self.library.budget
        scope = Scope(variables, budget=budget, environment=environment, names="known")
        return truth(path.evaluate(focus, scope)) is True


def _node(item: Item, root: Node) -> Node:
    if item.value is item.source.root:
        return root
    return Node(item.value, item.shadow, item.kind, item.home, root)


def _resource(item: Item, root: Node) -> Node:
    inner = item.source.resource
    return root if inner is item.source.root else node_of(inner, root)


class _Surroundings:
    """What expressions ask beyond the resource: what surrounds it, the project's library."""

    def __init__(self, invariants: Invariants, source: Source) -> None:
        self.invariants, self.source = invariants, source

    def resolve(self, reference: str) -> Node | None:
        """Return the entry of the Bundle, or a resource of which only the type is known."""
        root = self.source.root
        if reference == "#":
            return node_of(root)
        resources, types = self.invariants.entries(root)
        inner = resources.get(reference)
        if isinstance(inner, dict):
            return node_of(inner, node_of(root))
        context = Context(self.source.resource, root, types)
        kind = literal_type(reference, context)
        return None if kind is None else node_of({"resourceType": kind})

    def is_member(self, value_set: str, system: str, code: str) -> bool | None:
        """Tell whether a code is in a value set, as far as the project knows it."""
        systems = [system] if system else sorted(self.invariants.library.systems(value_set))
        answers = [self.invariants.library.is_member(value_set, s, code) for s in systems or [""]]
        if True in answers:
            return True
        return None if None in answers else False

    def conforms(self, item: Any, profile: str) -> bool | None:  # noqa: ANN401  # a node or a value
        """Tell whether an item conforms to a profile that the project knows."""
        if not isinstance(item, Node) or not item.kind:
            return None
        made = Item(item.value, item.shadow, item.kind, item.home, (), self.source, item.kind)
        return self.invariants.conforms_to(made, profile)
