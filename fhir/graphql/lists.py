"""Arguments and directives that choose from lists and reshape answers.

https://hl7.org/fhir/R4/graphql.html#filtering
https://hl7.org/fhir/R4/graphql.html#flatten
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fhir.documents import JsonObject
from fhir.fhirpath import FhirPathError, OverBudget, Scope, compile_path, items_of
from fhir.graphql.errors import InvalidQuery

Arguments = Mapping[str, Any]

DIRECTIVES: Final = frozenset({"skip", "include", "flatten", "first", "singleton", "slice"})
_PAGING: Final = frozenset({"_count", "_offset", "fhirpath"})


def choose(items: Sequence[Any], arguments: Arguments) -> list[Any]:
    """Return the items that the arguments keep: members by their value, FHIRPath, a window."""
    kept = [item for item in items if _has_all(item, arguments)]
    if "fhirpath" in arguments:
        kept = [item for item in kept if _is_true(item, str(arguments["fhirpath"]))]
    start = _whole(arguments, "_offset", 0)
    count = _whole(arguments, "_count", len(kept))
    return kept[start : start + count]


def _has_all(item: object, arguments: Arguments) -> bool:
    wanted = {name: value for name, value in arguments.items() if name not in _PAGING}
    if not wanted:
        return True
    return isinstance(item, dict) and all(_has(item, name, value) for name, value in wanted.items())


def _has(item: JsonObject, name: str, value: object) -> bool:
    found = item.get(name)
    return value in found if isinstance(found, list) else found == value


def _is_true(item: JsonObject | list[Any], expression: str) -> bool:
    return _values(item, expression) == [True]


def _values(item: object, expression: str) -> list[Any]:
    try:
        found: list[Any] = compile_path(expression).evaluate(items_of(item), Scope())
    except (FhirPathError, OverBudget) as error:
        reason = str(error) or "it takes too much work"
        raise InvalidQuery(
            f"The FHIRPath `{expression[:100]}` can't be evaluated: {reason}", param="fhirpath"
        ) from error
    return found


def slice_name(item: object, index: int, path: str) -> str:
    """Return what `@slice` appends to a name for an item: its place, or the value of a path."""
    if path == "$index":
        return f".{index}"
    found = _values(item, path)
    return f".{found[0]}" if found else ""


def _whole(arguments: Arguments, name: str, default: int) -> int:
    value = arguments.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidQuery(f"`{name}` is a whole number.", param=name)
    return value


def merge(answer: JsonObject, child: JsonObject, *, single: frozenset[str]) -> None:
    """Put a flattened child's members into the answer, each a list unless it is single.

    What a child does not have adds nothing; raises InvalidQuery for two values of a single one.
    """
    for name, value in child.items():
        values = value if isinstance(value, list) else [value]
        found = [item for item in values if item is not None]
        if name not in single:
            if found:
                answer.setdefault(name, []).extend(found)
        elif len(found) > 1 or (found and name in answer):
            raise InvalidQuery(f"`{name}` is @singleton and has several values.", param=name)
        elif found:
            answer[name] = found[0]
