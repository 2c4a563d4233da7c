"""Functions on collections. https://hl7.org/fhirpath/N1/#functions"""

from collections.abc import Callable, Mapping
from functools import cmp_to_key
from typing import Final

from fhir.fhirpath.equality import compare_items, distinct, truth
from fhir.fhirpath.errors import EvaluationFailed
from fhir.fhirpath.functions.function import Function, each, eager, lazy, standing, whole
from fhir.fhirpath.nodes import all_children, key_of, system
from fhir.fhirpath.scope import Item, Items, Run, Scope
from fhir.fhirpath.types import described, is_of_type


def _where(items: Items, scope: Scope, test: Run) -> Items:
    return [item for item, found in each(items, scope, test) if truth(found)]


def _exists(items: Items, scope: Scope, test: Run | None = None) -> Items:
    if test is None:
        return [bool(items)]
    return [bool(_where(items, scope, test))]


def _all(items: Items, scope: Scope, test: Run) -> Items:
    return [all(bool(truth(found)) for _, found in each(items, scope, test))]


def _select(items: Items, scope: Scope, project: Run) -> Items:
    return [one for _, found in each(items, scope, project) for one in found]


def _repeat(items: Items, scope: Scope, project: Run) -> Items:
    known: dict[object, Item] = {}
    fresh = items
    while fresh:
        added: Items = []
        for one in _select(fresh, scope, project):
            key = key_of(one)
            scope.budget.spend()
            if key not in known:
                known[key] = one
                added.append(one)
        fresh = added
    return list(known.values())


def _descendants(items: Items, scope: Scope) -> Items:
    found: Items = []
    fresh = items
    while fresh:
        fresh = [child for item in fresh for child in all_children(item)]
        scope.budget.spend(len(fresh))
        found += fresh
    return found


def _children(items: Items, scope: Scope) -> Items:
    return [child for item in items for child in all_children(item)]


def _aggregate(items: Items, scope: Scope, step: Run, start: Run | None = None) -> Items:
    with standing(scope):
        total = start(scope.this, scope) if start is not None else []
        for index, item in enumerate(items):
            scope.this, scope.index, scope.total = [item], index, total
            total = step([item], scope)
    return total


def _iif(items: Items, scope: Scope, test: Run, then: Run, otherwise: Run | None = None) -> Items:
    if len(items) > 1:
        raise EvaluationFailed("iif() takes one item.")
    with standing(scope):
        if items:
            scope.this = items
        found = test(items, scope)
        if (
            found
            and (scope.names == "exact" or len(found) > 1)
            and not isinstance(system(found[0]), bool)
        ):
            raise EvaluationFailed("iif() needs a condition that is true or false.")
        if truth(found):
            return then(items, scope)
        return otherwise(items, scope) if otherwise is not None else []


def _coalesce(items: Items, scope: Scope, *options: Run) -> Items:
    for option in options:
        found = option(scope.this, scope)
        if found:
            return found
    return []


def _sort(items: Items, scope: Scope, *keys: tuple[Run, bool]) -> Items:
    if not keys:
        return sorted(items, key=cmp_to_key(compare_items))
    for key, descends in reversed(keys):
        rows = list(each(items, scope, key))
        rows.sort(key=cmp_to_key(_descending if descends else _ascending))
        items = [item for item, _ in rows]
    return items


def _ascending(a: tuple[Item, Items], b: tuple[Item, Items]) -> int:
    if not a[1] or not b[1]:
        return bool(a[1]) - bool(b[1])
    return compare_items(a[1][0], b[1][0])


def _descending(a: tuple[Item, Items], b: tuple[Item, Items]) -> int:
    """Compare the other way round; what has no key is first in either direction."""
    return _ascending(b, a) if a[1] and b[1] else _ascending(a, b)


def _single(items: Items, scope: Scope) -> Items:
    if len(items) > 1:
        raise EvaluationFailed(f"single() found {len(items)} items.")
    return items


def _skip(items: Items, scope: Scope, count: Items) -> Items:
    return items[max(0, whole(count, "skip") or 0) :]


def _take(items: Items, scope: Scope, count: Items) -> Items:
    return items[: max(0, whole(count, "take") or 0)]


def _intersect(items: Items, scope: Scope, other: Items) -> Items:
    kept = {key_of(item) for item in other}
    return distinct([item for item in items if key_of(item) in kept])


def _exclude(items: Items, scope: Scope, other: Items) -> Items:
    left_out = {key_of(item) for item in other}
    return [item for item in items if key_of(item) not in left_out]


def _is_subset(items: Items, other: Items) -> Items:
    return [{key_of(item) for item in items} <= {key_of(item) for item in other}]


def _are(wanted: bool, decide: Callable[[list[bool]], bool]) -> Function:
    def test(items: Items, scope: Scope) -> Items:
        values = [system(item) for item in items]
        if not all(isinstance(value, bool) for value in values):
            raise EvaluationFailed("All items must be true or false.")
        return [decide([value is wanted for value in values])]

    return eager(test)


def _not(items: Items, scope: Scope) -> Items:
    known = truth(items)
    return [] if known is None else [not known]


def _is(items: Items, scope: Scope, space: str, name: str) -> Items:
    if len(items) > 1:
        raise EvaluationFailed("is() takes one item.")
    return [is_of_type(item, space, name) for item in items]


def _as(items: Items, scope: Scope, space: str, name: str) -> Items:
    if len(items) > 1:
        raise EvaluationFailed("as() takes one item; ofType() takes several.")
    return _of_type(items, scope, space, name)


def _of_type(items: Items, scope: Scope, space: str, name: str) -> Items:
    return [item for item in items if is_of_type(item, space, name, exactly=True)]


COLLECTIONS: Final[Mapping[str, Function]] = {
    "aggregate": lazy(_aggregate, 1, 2),
    "all": lazy(_all, 1),
    "allFalse": _are(False, all),
    "allTrue": _are(True, all),
    "anyFalse": _are(False, any),
    "anyTrue": _are(True, any),
    "as": Function(_as, 1, 1, "type"),
    "children": eager(_children),
    "coalesce": lazy(_coalesce, 1, 32),
    "combine": eager(lambda items, scope, other: [*items, *other], 1),
    "count": eager(lambda items, scope: [len(items)]),
    "descendants": eager(_descendants),
    "distinct": eager(lambda items, scope: distinct(items)),
    "empty": eager(lambda items, scope: [not items]),
    "exclude": eager(_exclude, 1),
    "exists": lazy(_exists, 0, 1),
    "first": eager(lambda items, scope: items[:1]),
    "iif": lazy(_iif, 2, 3),
    "intersect": eager(_intersect, 1),
    "is": Function(_is, 1, 1, "type"),
    "isDistinct": eager(lambda items, scope: [len(distinct(items)) == len(items)]),
    "last": eager(lambda items, scope: items[-1:]),
    "not": eager(_not),
    "ofType": Function(_of_type, 1, 1, "type"),
    "repeat": lazy(_repeat, 1),
    "select": lazy(_select, 1),
    "single": eager(_single),
    "skip": eager(_skip, 1),
    "sort": Function(_sort, 0, 8, "sort"),
    "subsetOf": eager(lambda items, scope, other: _is_subset(items, other), 1),
    "supersetOf": eager(lambda items, scope, other: _is_subset(other, items), 1),
    "tail": eager(lambda items, scope: items[1:]),
    "take": eager(_take, 1),
    "trace": lazy(lambda items, scope, *given: items, 1, 2),
    "type": eager(lambda items, scope: [described(item) for item in items]),
    "union": eager(lambda items, scope, other: distinct([*items, *other]), 1),
    "where": lazy(_where, 1),
}
