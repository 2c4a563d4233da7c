"""The paths of a view definition: FHIRPath with the view's constants; errors name their place."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from fhir.analytics.errors import InvalidView
from fhir.fhirpath import Budget, FhirPathError, Node, OverBudget, Path, Scope, compile_path, truth
from fhir.fhirpath.quantities import Quantity
from fhir.fhirpath.references import variables
from fhir.fhirpath.scope import Item, Items
from fhir.fhirpath.temporal import Temporal

GIVEN: Final = ("resource", "rootResource", "context", "rowIndex", "ucum", "sct", "loinc")
_LONGEST: Final = 2_000
_WORK: Final = 2_000_000
_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class ViewPath:
    """An expression of a view, and where in the definition it stands."""

    path: Path
    where: str

    def items(self, focus: Items, scope: Scope) -> Items:
        """Return what the expression finds; raise InvalidView for what it can't do."""
        try:
            return self.path.evaluate(focus, scope)
        except (FhirPathError, OverBudget) as error:
            reason = "it takes too much work" if isinstance(error, OverBudget) else str(error)
            raise self.error(reason) from error

    def holds(self, focus: Items, scope: Scope) -> bool:
        """Tell whether a condition is true; raise InvalidView where it is no boolean."""
        found = self.items(focus, scope)
        try:
            known = truth(found)
        except FhirPathError as error:
            raise self.error(str(error)) from error
        if found and not isinstance(plain(found[0]), bool):
            raise self.error("it must be a boolean, and is not")
        return bool(known)

    def error(self, reason: str) -> InvalidView:
        """Return the error that names this place."""
        return InvalidView(f"`{self.path.text[:120]}`: {reason.rstrip('.')}.", param=self.where)


def compile_one(text: object, where: str, constants: Collection[str]) -> ViewPath:
    """Return a path ready to run; raise InvalidView for what is no FHIRPath or is not known."""
    if not isinstance(text, str) or not text.strip():
        raise InvalidView("A path is a FHIRPath expression, as text.", param=where)
    if len(text) > _LONGEST:
        raise InvalidView(f"A path has at most {_LONGEST} characters.", param=where)
    try:
        path = compile_path(text)
    except (FhirPathError, OverBudget) as error:
        reason = "it is nested too deeply" if isinstance(error, OverBudget) else str(error)
        raise InvalidView(f"`{text[:120]}`: {reason}.", param=where) from error
    for name in _unknown(path, constants):
        known = ", ".join(sorted(constants)) or "none"
        raise InvalidView(
            f"The constant `%{name}` is not defined; there are: {known}.", param=where
        )
    return ViewPath(path, where)


def _unknown(path: Path, constants: Collection[str]) -> Iterator[str]:
    for name in variables(path.tree):
        if name not in constants and name not in GIVEN and not name.startswith(("vs-", "ext-")):
            yield name


def scope_of(resource: Node, constants: dict[str, Any]) -> Scope:
    """Return what the paths of a view see while they read one resource."""
    whole = [resource]
    around = {"resource": whole, "rootResource": whole, "context": whole, "rowIndex": [0]}
    return Scope({**constants, **around}, budget=Budget(_WORK, _SECONDS), joins_nothing=True)


def plain(item: Item) -> Any:  # noqa: ANN401  # JSON, with Decimal
    """Return an item as JSON; a number keeps its digits."""
    match item:
        case Node():
            return item.value
        case Quantity():
            return {"value": item.value, "unit": item.unit}
        case Temporal():
            return str(item)
        case Decimal() if item == item.to_integral_value() and item.as_tuple().exponent == 0:
            return int(item)
        case float():
            return Decimal(repr(item))
    return item
