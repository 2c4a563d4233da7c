"""Walk a query over resources, names checked by the definitions.

https://hl7.org/fhir/R4/graphql.html
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from graphql import (
    DirectiveNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    SelectionSetNode,
    Undefined,
    value_from_ast_untyped,
)

from fhir.documents import JsonObject
from fhir.graphql.elements import Field, Place, field
from fhir.graphql.errors import InvalidQuery
from fhir.graphql.introspection import INTROSPECTION, introspected
from fhir.graphql.lists import DIRECTIVES, choose, merge, slice_name
from fhir.graphql.mutations import Mutations
from fhir.graphql.roots import Roots

MAX_DEPTH: Final = 24
MAX_FIELDS: Final = 200_000


@dataclass(frozen=True, slots=True)
class Position:
    """Where the walk is: the place, the resource around it, and how deep."""

    place: Place
    resource: JsonObject
    depth: int = 0

    def at(self, place: Place) -> "Position":
        """Return the position one level down in the same resource."""
        return Position(place, self.resource, self.depth + 1)


@dataclass(slots=True)
class Execution:
    """One run of a query."""

    fragments: Mapping[str, FragmentDefinitionNode]
    variables: Mapping[str, Any]
    roots: Roots
    visited: int = 0

    def start(self, selections: SelectionSetNode) -> JsonObject:
        """Answer the fields at the top of a query of the whole server."""
        answer: JsonObject = {}
        for node in self._fields(selections, None, 0):
            if self._is_on(node):
                answer[_key(node)] = self._top(node)
        return answer

    def _top(self, node: FieldNode) -> object:
        name = node.name.value
        if name == "__typename":
            return "Query"
        if name in INTROSPECTION:
            return introspected(node, self.fragments, self.variables)
        return self._root(node, None)

    def mutate(self, selections: SelectionSetNode, mutations: Mutations) -> JsonObject:
        """Write what the fields at the top of a mutation say, one after the other."""
        answer: JsonObject = {}
        for node in self._fields(selections, None, 0):
            if not self._is_on(node):
                continue
            if node.name.value == "__typename":
                answer[_key(node)] = "Mutation"
                continue
            done = mutations.do(node.name.value, self.arguments(node))
            answer[_key(node)] = self._done(_selections(node), done)
        return answer

    def _done(self, selections: SelectionSetNode, done: JsonObject) -> JsonObject:
        answer: JsonObject = {}
        for node in self._fields(selections, None, 1):
            name = node.name.value
            if name not in done:
                raise InvalidQuery(
                    f"A mutation answers {', '.join(done)}, no `{name}`.", param=name
                )
            value = done[name]
            if isinstance(value, dict):
                value = self.resource(_selections(node), value, 2)
            answer[_key(node)] = value
        return answer

    def resource(
        self, selections: SelectionSetNode, resource: JsonObject, depth: int
    ) -> JsonObject:
        """Answer the selected members of a resource."""
        place = Place(str(resource["resourceType"]))
        return self.select(selections, resource, Position(place, resource, depth))

    def select(
        self, selections: SelectionSetNode, value: JsonObject, position: Position
    ) -> JsonObject:
        """Answer the selected members of an object."""
        if position.depth > MAX_DEPTH:
            raise InvalidQuery(f"The query nests deeper than {MAX_DEPTH} levels.")
        answer: JsonObject = {}
        for node in self._fields(selections, position.place, position.depth):
            if not self._is_on(node):
                continue
            found = self._member(node, value, position)
            given = {d.name.value: self.arguments(d) for d in node.directives or ()}
            if "slice" in given:
                self._slice(node, value, found, given, answer)
                continue
            if "first" in given and isinstance(found, list):
                found = found[0] if found else None
            if "flatten" in given:
                self._flatten(node, found, answer)
            else:
                answer[_key(node)] = found
        return answer

    def _slice(
        self,
        node: FieldNode,
        value: JsonObject,
        found: object,
        given: Mapping[str, Mapping[str, Any]],
        answer: JsonObject,
    ) -> None:
        """Give each item of a list a name of its own, which ends with the value of a path."""
        path = str(given["slice"].get("path") or given["slice"].get("fhirpath") or "")
        if not path:
            raise InvalidQuery("@slice takes a `path`.", param="@slice")
        if not isinstance(found, list):
            answer[_key(node)] = found
            return
        items = choose(value[node.name.value], self.arguments(node))
        for index, (item, picked) in enumerate(zip(items, found, strict=True)):
            suffix = slice_name(item, index, path)
            if "flatten" in given:
                self._flatten(node, picked, answer, suffix)
            elif "singleton" in given:
                answer.setdefault(f"{_key(node)}{suffix}", picked)
            else:
                answer.setdefault(f"{_key(node)}{suffix}", []).append(picked)

    def _flatten(
        self, node: FieldNode, found: object, answer: JsonObject, suffix: str = ""
    ) -> None:
        single = frozenset(
            f"{_key(child)}{suffix}"
            for child in (node.selection_set.selections if node.selection_set else ())
            if isinstance(child, FieldNode)
            and any(directive.name.value == "singleton" for directive in child.directives or ())
        )
        children = found if isinstance(found, list) else [found]
        for child in children:
            if isinstance(child, dict):
                named = {f"{name}{suffix}": item for name, item in child.items()}
                merge(answer, named, single=single)

    def _member(self, node: FieldNode, value: JsonObject, position: Position) -> object:
        name = node.name.value
        if name == "__typename" or (name == "resourceType" and "resourceType" in value):
            return value.get("resourceType", position.place.type_name)
        if name == "resource" and position.place.type_name == "Reference":
            return self._reference(node, value, position)
        if value is position.resource and name.endswith(("List", "Connection")):
            return self._root(node, position)
        known = field(position.place, name)
        found = value.get(name)
        if found is None:
            return None
        if isinstance(found, list):
            kept = choose(found, self.arguments(node))
            return [self._value(node, item, known, position) for item in kept]
        return self._value(node, found, known, position)

    def _value(self, node: FieldNode, item: object, known: Field, position: Position) -> object:
        name = node.name.value
        if known.place is None or not isinstance(item, dict):
            if node.selection_set is not None:
                raise InvalidQuery(f"`{name}` is a primitive: it has no members.", param=name)
            return item
        selections = _selections(node)
        if "resourceType" in item:
            return self.resource(selections, item, position.depth + 1)
        return self.select(selections, item, position.at(known.place))

    def _reference(self, node: FieldNode, value: JsonObject, position: Position) -> object:
        arguments = self.arguments(node)
        found = self.roots.loader.resolve(position.resource, value)
        wanted = arguments.get("type")
        if found is None or (wanted is not None and found["resourceType"] != wanted):
            if found is None and not arguments.get("optional", True):
                raise InvalidQuery(
                    f"`{value.get('reference')}` can't be resolved.", param="resource"
                )
            return None
        return self.resource(_selections(node), found, position.depth + 1)

    def _root(self, node: FieldNode, position: Position | None) -> object:
        """Answer a read, a list or a connection; below a resource only what refers to it."""
        follow = _asks_for_references(node.selection_set)
        origin = None if position is None else position.resource
        answer = self.roots.answer(node.name.value, self.arguments(node), origin, follow=follow)
        depth = 1 if position is None else position.depth + 1
        selections = _selections(node)
        if isinstance(answer, list):
            return [self.resource(selections, item, depth) for item in answer]
        if answer is None or "resourceType" in answer:
            return answer and self.resource(selections, answer, depth)
        return self._connection(selections, answer, depth)

    def _connection(
        self, selections: SelectionSetNode, answer: JsonObject, depth: int
    ) -> JsonObject:
        found: JsonObject = {}
        for node in self._fields(selections, None, depth):
            name = node.name.value
            if name not in answer:
                raise InvalidQuery(
                    f"A connection has no `{name}`: it has {', '.join(answer)}.", param=name
                )
            if name != "edges":
                found[_key(node)] = answer[name]
                continue
            found[_key(node)] = [
                self._edge(_selections(node), edge, depth + 1) for edge in answer["edges"]
            ]
        return found

    def _edge(self, selections: SelectionSetNode, edge: JsonObject, depth: int) -> JsonObject:
        found: JsonObject = {}
        for node in self._fields(selections, None, depth):
            name = node.name.value
            if name not in edge:
                raise InvalidQuery(
                    f"An edge has mode, score and resource, no `{name}`.", param=name
                )
            value = edge[name]
            if name == "resource":
                value = self.resource(_selections(node), value, depth + 1)
            found[_key(node)] = value
        return found

    # --- selections ---------------------------------------------------------------------------

    def _fields(
        self, selections: SelectionSetNode, place: Place | None, depth: int
    ) -> Iterator[FieldNode]:
        """Yield the fields, those of fragments that apply to the place included."""
        if depth > MAX_DEPTH:
            raise InvalidQuery(f"The query nests deeper than {MAX_DEPTH} levels.")
        self.visited += len(selections.selections)
        if self.visited > MAX_FIELDS:
            raise InvalidQuery("The query asks for too many fields: ask for less, or in pages.")
        for node in selections.selections:
            if isinstance(node, FieldNode):
                yield node
            elif isinstance(node, InlineFragmentNode | FragmentSpreadNode) and self._is_on(node):
                condition, inner = self._fragment(node)
                if _applies(condition, place):
                    yield from self._fields(inner, place, depth + 1)

    def _fragment(
        self, node: InlineFragmentNode | FragmentSpreadNode
    ) -> tuple[str | None, SelectionSetNode]:
        """Return the type that a fragment is on, and what it selects."""
        if isinstance(node, InlineFragmentNode):
            return (
                node.type_condition.name.value if node.type_condition else None,
                node.selection_set,
            )
        fragment = self.fragments.get(node.name.value)
        if fragment is None:
            raise InvalidQuery(f"There is no fragment `{node.name.value}`.")
        return fragment.type_condition.name.value, fragment.selection_set

    def _is_on(self, node: FieldNode | InlineFragmentNode | FragmentSpreadNode) -> bool:
        for directive in node.directives or ():
            name = directive.name.value
            if name not in DIRECTIVES:
                raise InvalidQuery(f"There is no directive @{name}.", param=f"@{name}")
            if name == "skip" and self.arguments(directive).get("if"):
                return False
            if name == "include" and not self.arguments(directive).get("if"):
                return False
        return True

    def arguments(self, node: FieldNode | DirectiveNode) -> dict[str, Any]:
        """Return the arguments with the variables put in; null ones are left out."""
        variables = dict(self.variables)
        found = {
            a.name.value: value_from_ast_untyped(a.value, variables) for a in node.arguments or ()
        }
        return {name: value for name, value in found.items() if value not in (None, Undefined)}


def _key(node: FieldNode) -> str:
    return node.alias.value if node.alias else node.name.value


def _selections(node: FieldNode) -> SelectionSetNode:
    if node.selection_set is None:
        raise InvalidQuery(
            f"Say which members of `{node.name.value}` you want.", param=node.name.value
        )
    return node.selection_set


def _applies(name: str | None, place: Place | None) -> bool:
    if name is None or place is None:
        return True
    return name in {place.type_name, "Resource", "DomainResource"} or _component(name, place)


def _component(name: str, place: Place) -> bool:
    """Tell whether `PatientContact` is meant, as schemas name the parts of resources."""
    parts = place.path.split(".") if place.path else []
    return bool(parts) and name == place.type_name + "".join(p[0].upper() + p[1:] for p in parts)


def _asks_for_references(selections: SelectionSetNode | None) -> bool:
    """Tell whether a selection follows references, so that a page's are read together."""
    stack: list[Sequence[object]] = [selections.selections if selections else ()]
    while stack:
        for node in stack.pop():
            if isinstance(node, FieldNode) and node.name.value == "resource" and node.selection_set:
                return True
            inner = getattr(node, "selection_set", None)
            if inner is not None:
                stack.append(inner.selections)
    return False
