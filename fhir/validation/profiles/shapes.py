"""What a profile demands, as a tree along the elements. /R4/elementdefinition.html"""

from dataclasses import dataclass, field
from typing import Any, Final, Literal

Json = Any  # a fixed value or a pattern may be any JSON
Home = tuple[str, str]
"""A structure and the path in it below which children are found: ("Observation", "component")."""


class _Nothing:
    """No value, where null could be one."""

    def __deepcopy__(self, memo: object) -> "_Nothing":
        return self


NOTHING: Final = _Nothing()


@dataclass(frozen=True, slots=True)
class TypeRule:
    """A type that an element may have, narrowed to profiles of it or of a reference's target."""

    code: str
    profiles: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Binding:
    """The value set that codes come from; `strength` is required or extensible."""

    strength: str
    value_set: str


@dataclass(frozen=True, slots=True)
class Constraint:
    """An invariant in FHIRPath; one without an expression can only be told."""

    key: str
    severity: Literal["error", "warning"]
    human: str
    expression: str


@dataclass(frozen=True, slots=True)
class Discriminator:
    """How the slices of an element are told apart: by what, and where below the element."""

    kind: str
    path: str


@dataclass(frozen=True, slots=True)
class Slicing:
    """The rules of a sliced element."""

    discriminators: tuple[Discriminator, ...]
    rules: str = "open"
    is_ordered: bool = False


@dataclass(slots=True, eq=False)
class Shape:
    """What an element must be like, with what lies below it, in a profile.

    `widest` is the maximum value set of an extensible binding, beyond which no code may be.

    `minimum` and `maximum` count the items in their owner (None: nothing is said). `slices` are
    shapes of some of the items, told apart by `slicing`.
    """

    path: str
    home: Home | None = None
    minimum: int = 0
    maximum: int | None = None
    types: tuple[TypeRule, ...] = ()
    fixed: Json = NOTHING
    pattern: Json = NOTHING
    binding: Binding | None = None
    widest: Binding | None = None
    longest: int | None = None
    lowest: Json = NOTHING
    highest: Json = NOTHING
    constraints: tuple[Constraint, ...] = ()
    children: dict[str, "Shape"] = field(default_factory=dict)
    slicing: Slicing | None = None
    slices: dict[str, "Shape"] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the last part of the path, with its slice."""
        return self.path.rpartition(".")[2]
