"""What a function is: how many arguments it takes, and what it is given of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from fhir.fhirpath.equality import single, type_text
from fhir.fhirpath.errors import EvaluationFailed
from fhir.fhirpath.scope import Item, Items, Run, Scope

Style = Literal["eager", "lazy", "type", "sort"]


@dataclass(frozen=True, slots=True)
class Function:
    """`work` takes the input, the scope and the arguments.

    Arguments are collections; with the style `lazy` what evaluates them, with `type` the namespace
    and name of a type, with `sort` pairs of what evaluates them and whether a minus stood before.
    """

    work: Callable[..., Items]
    fewest: int = 0
    most: int = 0
    style: Style = "eager"


def eager(work: Callable[..., Items], fewest: int = 0, most: int | None = None) -> Function:
    """Return a function whose arguments are collections."""
    return Function(work, fewest, fewest if most is None else most)


def lazy(work: Callable[..., Items], fewest: int, most: int | None = None) -> Function:
    """Return a function that evaluates its arguments itself."""
    return Function(work, fewest, fewest if most is None else most, "lazy")


@contextmanager
def standing(scope: Scope) -> Iterator[None]:
    """Put `$this`, `$index` and `$total` back at the end."""
    before = scope.this, scope.index, scope.total
    try:
        yield
    finally:
        scope.this, scope.index, scope.total = before


def each(items: Items, scope: Scope, run: Run) -> Iterator[tuple[Item, Items]]:
    """Yield each item with what an argument is for it; consume it wholly or to an end."""
    before = scope.this, scope.index
    try:
        for index, item in enumerate(items):
            scope.this, scope.index = [item], index
            found = run([item], scope)
            scope.budget.spend()
            yield item, found
    finally:
        scope.this, scope.index = before


def text(items: Items, name: str) -> str | None:
    """Return one text; raise EvaluationFailed for another value."""
    value = single(items)
    if value is None or isinstance(value, str):
        return value
    raise EvaluationFailed(f"{name}() needs a String, not {type_text(value)}.")


def whole(items: Items, name: str) -> int | None:
    """Return one whole number; raise EvaluationFailed for another value."""
    value = single(items)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise EvaluationFailed(f"{name}() needs an Integer, not {type_text(value)}.")


def number(items: Items, name: str) -> int | Decimal | None:
    """Return one number; raise EvaluationFailed for another value."""
    value: Any = single(items)
    if value is None or (isinstance(value, int | Decimal) and not isinstance(value, bool)):
        return value
    raise EvaluationFailed(f"{name}() needs a number, not {type_text(value)}.")
