"""Functions of the FHIRPath of patches. https://hl7.org/fhirpath/N1/#functions"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from fhir.patches.operators import plain, truth
from fhir.patches.places import Place
from fhir.patches.scope import Expression, Item, Items, Scope
from fhir.patches.values import PatchFailed, is_equal

_TYPES: Final[Mapping[type, str]] = {bool: "Boolean", int: "Integer", str: "String"}


@dataclass(frozen=True, slots=True)
class Function:
    """A function and how many arguments it takes."""

    run: Callable[[Items, list[Expression], Scope], Items]
    fewest: int = 0
    most: int = 0
    takes_type: bool = False


def _where(focus: Items, arguments: list[Expression], scope: Scope) -> Items:
    return [item for item in focus if _holds(item, arguments[0], scope)]


def _holds(item: Item, condition: Expression, scope: Scope) -> bool:
    scope.spend()
    return bool(truth(condition([item], scope)))


def _exists(focus: Items, arguments: list[Expression], scope: Scope) -> Items:
    return [bool(_where(focus, arguments, scope) if arguments else focus)]


def _all(focus: Items, arguments: list[Expression], scope: Scope) -> Items:
    return [all(_holds(item, arguments[0], scope) for item in focus)]


def _not(focus: Items, arguments: list[Expression], scope: Scope) -> Items:
    found = truth(focus)
    return [] if found is None else [not found]


def _single(focus: Items, arguments: list[Expression], scope: Scope) -> Items:
    if len(focus) > 1:
        raise PatchFailed(f"`single()` in the path finds {len(focus)} elements.")
    return focus


def _number(arguments: list[Expression], scope: Scope) -> int:
    found = arguments[0]([scope.resource], scope)
    value = plain(found[0]) if len(found) == 1 else None
    if not isinstance(value, int) or isinstance(value, bool):
        raise PatchFailed("An index in the path must be a whole number.")
    return value


def _at(focus: Items, arguments: list[Expression], scope: Scope) -> Items:
    index = _number(arguments, scope)
    return focus[index : index + 1] if index >= 0 else []


def _skip(focus: Items, arguments: list[Expression], scope: Scope) -> Items:
    return focus[max(0, _number(arguments, scope)) :]


def _take(focus: Items, arguments: list[Expression], scope: Scope) -> Items:
    return focus[: max(0, _number(arguments, scope))]


def _extension(focus: Items, arguments: list[Expression], scope: Scope) -> Items:
    url = arguments[0]([scope.resource], scope)
    found: Items = []
    for item in focus:
        scope.spend()
        if isinstance(item, Place) and url:
            found += [
                extension
                for extension in item.children("extension")
                if is_equal(extension.members.get("url"), plain(url[0]))
            ]
    return found


def _of_type(focus: Items, arguments: list[Expression], scope: Scope) -> Items:
    [name] = arguments[0]([], scope)
    return [item for item in focus if _is_of(item, str(name))]


def _is(focus: Items, arguments: list[Expression], scope: Scope) -> Items:
    [name] = arguments[0]([], scope)
    return [_is_of(focus[0], str(name))] if focus else []


def _is_of(item: Item, name: str) -> bool:
    actual = item.type_name if isinstance(item, Place) else _TYPES.get(type(item), "Decimal")
    return name == actual


def _has_value(focus: Items, arguments: list[Expression], scope: Scope) -> Items:
    is_plain = len(focus) == 1 and plain(focus[0]) is not None
    return [is_plain and not isinstance(plain(focus[0]), dict)]


def _on_text(test: Callable[[str, str], bool]) -> Function:
    def run(focus: Items, arguments: list[Expression], scope: Scope) -> Items:
        other = arguments[0]([scope.resource], scope)
        if not focus or not other:
            return []
        text, part = plain(focus[0]), plain(other[0])
        if len(focus) > 1 or not isinstance(text, str) or not isinstance(part, str):
            raise PatchFailed("A function of the path needs one text.")
        return [test(text, part)]

    return Function(run, 1, 1)


def _cased(change: Callable[[str], str]) -> Function:
    def run(focus: Items, arguments: list[Expression], scope: Scope) -> Items:
        return [change(value) for item in focus if isinstance(value := plain(item), str)]

    return Function(run)


FUNCTIONS: Final[Mapping[str, Function]] = {
    "[]": Function(_at, 1, 1),
    "where": Function(_where, 1, 1),
    "exists": Function(_exists, 0, 1),
    "all": Function(_all, 1, 1),
    "empty": Function(lambda focus, arguments, scope: [not focus]),
    "count": Function(lambda focus, arguments, scope: [len(focus)]),
    "not": Function(_not),
    "first": Function(lambda focus, arguments, scope: focus[:1]),
    "last": Function(lambda focus, arguments, scope: focus[-1:]),
    "tail": Function(lambda focus, arguments, scope: focus[1:]),
    "single": Function(_single),
    "skip": Function(_skip, 1, 1),
    "take": Function(_take, 1, 1),
    "extension": Function(_extension, 1, 1),
    "ofType": Function(_of_type, 1, 1, takes_type=True),
    "as": Function(_of_type, 1, 1, takes_type=True),
    "is": Function(_is, 1, 1, takes_type=True),
    "hasValue": Function(_has_value),
    "startsWith": _on_text(str.startswith),
    "endsWith": _on_text(str.endswith),
    "contains": _on_text(str.__contains__),
    "lower": _cased(str.lower),
    "upper": _cased(str.upper),
}
