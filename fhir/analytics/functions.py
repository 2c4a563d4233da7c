"""Functions of the FHIRPath subset, those of SQL on FHIR included."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from fhir.analytics.boundaries import boundary
from fhir.analytics.errors import InvalidView
from fhir.analytics.evaluation import (
    Expression,
    Scope,
    Typed,
    Values,
    children,
    each,
    is_of_type,
    plain,
    truth,
    type_named,
)


@dataclass(frozen=True, slots=True)
class Site:
    """Where a function is called: on what, with which arguments."""

    base: Expression
    arguments: tuple[Any, ...]
    where: str

    def take(self, least: int, most: int | None = None) -> tuple[Any, ...]:
        """Return the arguments; raise InvalidView when there are too few or too many."""
        if not least <= len(self.arguments) <= (least if most is None else most):
            raise InvalidView("A function has the wrong number of arguments.", param=self.where)
        return self.arguments


Maker = Callable[[Site], Expression]


def _on_all(work: Callable[[Values], Values]) -> Maker:
    """Return a function without arguments on the whole collection."""

    def make(site: Site) -> Expression:
        site.take(0)
        return lambda focus, scope: work(site.base(focus, scope))

    return make


def _on_text(work: Callable[[str], Any]) -> Maker:
    """Return a function without arguments on one text."""

    def apply(values: Values) -> Values:
        value = plain(values[0]) if len(values) == 1 else None
        return [work(value)] if isinstance(value, str) else []

    return _on_all(apply)


def _with_text(work: Callable[[str, Any], Any]) -> Maker:
    """Return a function of one text with one argument."""

    def make(site: Site) -> Expression:
        [argument] = site.take(1)

        def apply(focus: Values, scope: Scope) -> Values:
            values, given = site.base(focus, scope), argument(focus, scope)
            if len(values) != 1 or not given or not isinstance(plain(values[0]), str):
                return []
            return [work(plain(values[0]), plain(given[0]))]

        return apply

    return make


def _where(site: Site) -> Expression:
    [test] = site.take(1)
    return each(site.base, test, site.where)


def _exists(site: Site) -> Expression:
    arguments = site.take(0, 1)
    kept = each(site.base, arguments[0], site.where) if arguments else site.base
    return lambda focus, scope: [bool(kept(focus, scope))]


def _all(site: Site) -> Expression:
    [test] = site.take(1)
    kept = each(site.base, test, site.where)
    return lambda focus, scope: [len(kept(focus, scope)) == len(site.base(focus, scope))]


def _select(site: Site) -> Expression:
    [project] = site.take(1)

    def apply(focus: Values, scope: Scope) -> Values:
        found: Values = []
        for number, item in enumerate(site.base(focus, scope)):
            found += project([item], replace(scope, this=item, index=number))
        return found

    return apply


def _iif(site: Site) -> Expression:
    test, then, *otherwise = site.take(2, 3)

    def apply(focus: Values, scope: Scope) -> Values:
        inner = site.base(focus, scope)
        if truth(test(inner, scope), site.where):
            return list(then(inner, scope))
        return list(otherwise[0](inner, scope)) if otherwise else []

    return apply


def _not(site: Site) -> Expression:
    site.take(0)

    def apply(focus: Values, scope: Scope) -> Values:
        known = truth(site.base(focus, scope), site.where)
        return [] if known is None else [not known]

    return apply


def _part(cut: Callable[[Values, int], Values]) -> Maker:
    def make(site: Site) -> Expression:
        [argument] = site.take(1)

        def apply(focus: Values, scope: Scope) -> Values:
            given = argument(focus, scope)
            count = plain(given[0]) if given else 0
            return cut(site.base(focus, scope), count if isinstance(count, int) else 0)

        return apply

    return make


def _join(site: Site) -> Expression:
    arguments = site.take(0, 1)

    def apply(focus: Values, scope: Scope) -> Values:
        values = [str(plain(v)) for v in site.base(focus, scope)]
        given = arguments[0](focus, scope) if arguments else []
        return ["".join(values) if not given else str(given[0]).join(values)]

    return apply


def _extension(site: Site) -> Expression:
    [argument] = site.take(1)

    def apply(focus: Values, scope: Scope) -> Values:
        wanted = argument(focus, scope)
        return [
            extension
            for item in site.base(focus, scope)
            for extension in children(plain(item), "extension")
            if wanted and isinstance(extension, dict) and extension.get("url") == wanted[0]
        ]

    return apply


def _of_type(site: Site) -> Expression:
    [node] = site.take(1)
    kind = type_named(node, site.where)
    return lambda focus, scope: [v for v in site.base(focus, scope) if is_of_type(v, kind)]


def _is(site: Site) -> Expression:
    [node] = site.take(1)
    kind = type_named(node, site.where)
    return lambda focus, scope: [is_of_type(v, kind) for v in site.base(focus, scope)[:1]]


def _resource_key(site: Site) -> Expression:
    site.take(0)

    def apply(focus: Values, scope: Scope) -> Values:
        keys = [children(plain(item), "id") for item in site.base(focus, scope)]
        return [key for found in keys for key in found]

    return apply


def _reference_key(site: Site) -> Expression:
    arguments = site.take(0, 1)
    kind = type_named(arguments[0], site.where) if arguments else ""

    def apply(focus: Values, scope: Scope) -> Values:
        found = []
        for item in site.base(focus, scope):
            for reference in children(plain(item), "reference"):
                parts = str(reference).partition("/_history/")[0].split("/")
                if len(parts) >= 2 and (not kind or parts[-2] == kind):
                    found.append(parts[-1])
        return found

    return apply


def _boundary(*, high: bool) -> Maker:
    def work(values: Values) -> Values:
        found = []
        for value in values:
            kind = value.type[:1].lower() + value.type[1:] if isinstance(value, Typed) else ""
            end = boundary(plain(value), kind, high=high)
            found += [] if end is None else [end]
        return found

    return _on_all(work)


def _distinct(values: Values) -> Values:
    found: Values = []
    for value in map(plain, values):
        if value not in found:
            found.append(value)
    return found


def _number(kind: Callable[[str], Any]) -> Callable[[Values], Values]:
    def work(values: Values) -> Values:
        try:
            return [kind(str(plain(values[0])))] if len(values) == 1 else []
        except (ValueError, InvalidOperation):
            return []

    return work


def _printed(values: Values) -> Values:
    value = plain(values[0]) if len(values) == 1 else None
    if value is None or isinstance(value, dict):
        return []
    return [str(value).lower() if isinstance(value, bool) else str(value)]


FUNCTIONS: Final[Mapping[str, Maker]] = {
    "where": _where,
    "exists": _exists,
    "all": _all,
    "select": _select,
    "iif": _iif,
    "not": _not,
    "empty": _on_all(lambda values: [not values]),
    "count": _on_all(lambda values: [len(values)]),
    "first": _on_all(lambda values: values[:1]),
    "last": _on_all(lambda values: values[-1:]),
    "tail": _on_all(lambda values: values[1:]),
    "distinct": _on_all(_distinct),
    "hasValue": _on_all(
        lambda values: [len(values) == 1 and not isinstance(plain(values[0]), dict)]
    ),
    "skip": _part(lambda values, count: values[max(count, 0) :]),
    "take": _part(lambda values, count: values[: max(count, 0)]),
    "join": _join,
    "extension": _extension,
    "ofType": _of_type,
    "as": _of_type,
    "is": _is,
    "toString": _on_all(_printed),
    "toInteger": _on_all(_number(int)),
    "toDecimal": _on_all(_number(Decimal)),
    "upper": _on_text(str.upper),
    "lower": _on_text(str.lower),
    "trim": _on_text(str.strip),
    "length": _on_text(len),
    "startsWith": _with_text(lambda text, given: text.startswith(str(given))),
    "endsWith": _with_text(lambda text, given: text.endswith(str(given))),
    "contains": _with_text(lambda text, given: str(given) in text),
    "getResourceKey": _resource_key,
    "getReferenceKey": _reference_key,
    "lowBoundary": _boundary(high=False),
    "highBoundary": _boundary(high=True),
}
