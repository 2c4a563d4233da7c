"""What an evaluation sees besides its focus, and how much work it may still do."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, Protocol

from fhir.fhirpath.errors import OverBudget

MAX_WORK: Final = 200_000  # evaluated nodes of the syntax tree, and items of their results
MAX_SECONDS: Final = 1.0
MAX_TEXT: Final = 1_048_576
MAX_INTEGER_BITS: Final = 256

Item = Any  # a Node, or a value of one of FHIRPath's own types
Items = list[Item]
Names = Literal["any", "known", "exact"]


class Budget:
    """The work and time that one evaluation, or several together, may take."""

    __slots__ = ("left", "until")

    def __init__(self, work: int = MAX_WORK, seconds: float = MAX_SECONDS) -> None:
        self.left = work
        self.until = time.monotonic() + seconds

    def spend(self, work: int = 1) -> None:
        """Take work from the budget; raise OverBudget where there is not enough."""
        before = self.left
        self.left = before - work
        if self.left < 0 or (before >> 8 != self.left >> 8 and time.monotonic() > self.until):
            raise OverBudget


class Environment(Protocol):
    """What functions of FHIR ask beyond the resource at hand."""

    def resolve(self, reference: str) -> Item | None:
        """Return the resource that a literal reference points to, None where it is not known."""

    def is_member(self, value_set: str, system: str, code: str) -> bool | None:
        """Tell whether a code is in a value set, None where that can't be known."""

    def conforms(self, item: Item, profile: str) -> bool | None:
        """Tell whether an item conforms to a profile, None where it is not known."""


@dataclass(slots=True)
class Scope:
    """One evaluation: variables, the item at hand, the budget."""

    variables: Mapping[str, Item] = field(default_factory=dict)
    this: Items = field(default_factory=list)
    index: int = 0
    total: Items = field(default_factory=list)
    budget: Budget = field(default_factory=Budget)
    environment: Environment | None = None
    now: datetime | None = None
    names: Names = "any"
    """Which names of elements are read: `any` (unknown ones are empty), `known` (to the type, by
    its JSON name too), `exact` (as FHIRPath spells them); others are errors."""
    joins_nothing: bool = False
    """Whether join() of nothing is an empty text, as SQL on FHIR has it, rather than nothing."""


Run = Callable[[Items, Scope], Items]
