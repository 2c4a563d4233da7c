"""View definitions: compiled once, then rows of one resource after the other.

https://sql-on-fhir.org/ig/StructureDefinition-ViewDefinition.html
"""

import itertools
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, cast

from fhir.analytics.errors import InvalidView
from fhir.analytics.paths import ViewPath, compile_one, plain, scope_of
from fhir.definitions import is_resource_type
from fhir.fhirpath import Scope, node_of
from fhir.fhirpath.scope import Items

Row = dict[str, Any]
Rows = Callable[[Items, Scope], list[Row]]
Walk = Callable[[Items, Scope], Items]
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_ITERATIONS: Final = ("forEach", "forEachOrNull", "repeat")
_DEEPEST: Final = 20
_MOST_ROWS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table: its name and the FHIR type that the view says it has."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class View:
    """A compiled view: the type it reads, its columns, and its rows of a resource."""

    resource_type: str
    columns: tuple[Column, ...]
    _conditions: tuple[ViewPath, ...]
    _rows: Rows
    _constants: dict[str, Any] = field(default_factory=dict)

    def rows(self, resource: Mapping[str, Any]) -> list[Row]:
        """Return the rows of one resource; numbers are Decimal where they have a point."""
        focus = [node_of(cast("dict[str, Any]", resource))]
        scope = scope_of(focus[0], self._constants)
        if not all(condition.holds(focus, scope) for condition in self._conditions):
            return []
        return self._rows(focus, scope)


def compile_view(definition: Mapping[str, Any]) -> View:
    """Return a view ready to run; raise InvalidView that names what is wrong."""
    resource_type = definition.get("resource")
    if not isinstance(resource_type, str) or not is_resource_type(resource_type):
        raise InvalidView(
            "`resource` names the R4 resource type that the view reads.",
            param="ViewDefinition.resource",
        )
    constants = dict(_constants(_list(definition, "constant", "ViewDefinition")))
    selects = _list(definition, "select", "ViewDefinition")
    if not selects:
        raise InvalidView("A view has at least one `select`.", param="ViewDefinition.select")
    compiler = _Compiler(constants)
    parts = [
        compiler.select(entry, f"ViewDefinition.select[{number}]", 0)
        for number, entry in enumerate(selects)
    ]
    columns = tuple(column for part in parts for column in part.columns)
    _refuse_repeats(columns)
    return View(
        resource_type=resource_type,
        columns=columns,
        _conditions=tuple(compiler.conditions(_list(definition, "where", "ViewDefinition"))),
        _rows=_crossed([part.rows for part in parts]),
        _constants=constants,
    )


@dataclass(frozen=True, slots=True)
class _Part:
    columns: tuple[Column, ...]
    rows: Rows


@dataclass(frozen=True, slots=True)
class _Compiler:
    constants: Collection[str]

    def path(self, text: object, where: str) -> ViewPath:
        """Compile one path."""
        return compile_one(text, where, self.constants)

    def conditions(self, entries: Sequence[Mapping[str, Any]]) -> Iterator[ViewPath]:
        """Compile the conditions that a resource must meet."""
        for number, entry in enumerate(entries):
            yield self.path(entry.get("path"), f"ViewDefinition.where[{number}].path")

    def select(self, entry: Mapping[str, Any], where: str, depth: int) -> _Part:
        """Compile a select: its columns beside its nested selects beside its union."""
        if depth > _DEEPEST:
            raise InvalidView("Selects are nested too deeply.", param=where)
        parts = [
            self.column(column, f"{where}.column[{number}]")
            for number, column in enumerate(_list(entry, "column", where))
        ]
        parts += [
            self.select(nested, f"{where}.select[{number}]", depth + 1)
            for number, nested in enumerate(_list(entry, "select", where))
        ]
        union = _list(entry, "unionAll", where)
        if union:
            parts.append(self.union(union, f"{where}.unionAll", depth))
        if not parts:
            raise InvalidView("A select has columns, selects or a union.", param=where)
        columns = tuple(column for part in parts for column in part.columns)
        rows = _crossed([part.rows for part in parts])
        return _Part(columns, self.iterated(entry, where, rows, columns))

    def column(self, entry: Mapping[str, Any], where: str) -> _Part:
        """Compile one column."""
        name = entry.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidView(
                "A column has a `name` of letters, digits and underscores.", param=f"{where}.name"
            )
        path = self.path(entry.get("path"), f"{where}.path")
        many = entry.get("collection") is True

        def rows(focus: Items, scope: Scope) -> list[Row]:
            values = [plain(value) for value in path.items(focus, scope)]
            if many:
                return [{name: values}]
            if len(values) > 1:
                raise InvalidView(
                    f"The column `{name}` has several values: set `collection` or take one.",
                    param=where,
                )
            return [{name: values[0] if values else None}]

        return _Part((Column(name, str(entry.get("type", "string"))),), rows)

    def union(self, entries: Sequence[Mapping[str, Any]], where: str, depth: int) -> _Part:
        """Compile a union: its branches have the same columns in the same order."""
        branches = [
            self.select(entry, f"{where}[{number}]", depth + 1)
            for number, entry in enumerate(entries)
        ]
        first = [column.name for column in branches[0].columns]
        for branch in branches[1:]:
            if [column.name for column in branch.columns] != first:
                raise InvalidView(
                    "The branches of a union have the same columns in the same order.", param=where
                )
        return _Part(
            branches[0].columns,
            lambda focus, scope: [row for b in branches for row in b.rows(focus, scope)],
        )

    def iterated(
        self, entry: Mapping[str, Any], where: str, rows: Rows, columns: Sequence[Column]
    ) -> Rows:
        """Return the rows of each item that `forEach`, `forEachOrNull` or `repeat` find."""
        named = [name for name in _ITERATIONS if name in entry]
        if not named:
            return rows
        if len(named) > 1:
            raise InvalidView("A select has one of forEach, forEachOrNull, repeat.", param=where)
        [name] = named
        if name == "repeat":
            paths = _list(entry, "repeat", where, kind=str)
            walk = _repeated([self.path(path, f"{where}.repeat") for path in paths])
        else:
            walk = self.path(entry[name], f"{where}.{name}").items

        def iterate(focus: Items, scope: Scope) -> list[Row]:
            found = walk(focus, scope)
            if not found and name == "forEachOrNull":
                return _numbered(rows, [], scope, 0)
            return [
                row
                for number, item in enumerate(found)
                for row in _numbered(rows, [item], scope, number)
            ]

        return iterate


def _numbered(rows: Rows, focus: Items, scope: Scope, number: int) -> list[Row]:
    """Return rows while `%rowIndex` is the number of the item they are made of."""
    variables = cast("dict[str, Items]", scope.variables)
    before = variables["rowIndex"]
    variables["rowIndex"] = [number]
    try:
        return rows(focus, scope)
    finally:
        variables["rowIndex"] = before


def _repeated(paths: Sequence[ViewPath]) -> Walk:
    """Return what follows paths again and again, depth first."""

    def walk(focus: Items, scope: Scope) -> Items:
        found: Items = []
        waiting = list(reversed(step(focus, scope)))
        while waiting:
            item = waiting.pop()
            found.append(item)
            if len(found) > _MOST_ROWS:
                raise InvalidView(f"`repeat` finds more than {_MOST_ROWS} items.", param="repeat")
            waiting += reversed(step([item], scope))
        return found

    def step(focus: Items, scope: Scope) -> Items:
        return [item for path in paths for item in path.items(focus, scope)]

    return walk


def _crossed(parts: Sequence[Rows]) -> Rows:
    """Return every combination of the rows of all parts."""
    if len(parts) == 1:
        return parts[0]

    def rows(focus: Items, scope: Scope) -> list[Row]:
        found = [part(focus, scope) for part in parts]
        size = 1
        for some in found:
            size *= len(some)
        if size > _MOST_ROWS:
            raise InvalidView(f"One resource has more than {_MOST_ROWS} rows.", param="select")
        return [
            {name: value for row in combination for name, value in row.items()}
            for combination in itertools.product(*found)
        ]

    return rows


def _constants(entries: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    for number, entry in enumerate(entries):
        where = f"ViewDefinition.constant[{number}]"
        values = [value for name, value in entry.items() if name.startswith("value")]
        name = entry.get("name")
        if not isinstance(name, str) or len(values) != 1:
            raise InvalidView("A constant has a `name` and one `value[x]`.", param=where)
        [value] = values
        yield name, Decimal(str(value)) if isinstance(value, float) else value


def _list(entry: Mapping[str, Any], name: str, where: str, *, kind: type = dict) -> list[Any]:
    found = entry.get(name, [])
    if not isinstance(found, list) or not all(isinstance(item, kind) for item in found):
        raise InvalidView(f"`{name}` is an array.", param=f"{where}.{name}")
    return found


def _refuse_repeats(columns: Sequence[Column]) -> None:
    names = [column.name for column in columns]
    for name in names:
        if names.count(name) > 1:
            raise InvalidView(f"Two columns are called `{name}`.", param="ViewDefinition.select")
