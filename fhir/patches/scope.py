"""What the evaluation of a path knows, and how much it may still do."""

from collections.abc import Callable
from dataclasses import dataclass

from fhir.patches.places import Place
from fhir.patches.values import Digits, PatchFailed

Item = Place | str | int | bool | Digits
Items = list[Item]


@dataclass(slots=True)
class Scope:
    """The resource and the budget of one evaluation."""

    resource: Place
    left: int = 100_000

    def spend(self, work: int = 1) -> None:
        """Count work; raise PatchFailed where it is too much."""
        self.left -= work
        if self.left < 0:
            raise PatchFailed("The path takes too much work to evaluate.")

    def is_named(self, name: str) -> bool:
        """Tell whether a name at the beginning of a path is that of the resource's type."""
        return name in {self.resource.type_name, "Resource", "DomainResource"}


Expression = Callable[[Items, Scope], Items]
