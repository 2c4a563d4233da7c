"""What validation against profiles looks up elsewhere: other profiles, value sets."""

from typing import Any, Protocol

from fhir.fhirpath import Budget
from fhir.validation.profiles.shapes import Shape


class Library(Protocol):
    """Profiles and terminology as the caller's project knows them.

    `budget` is what all invariants of one call may take together.
    """

    budget: Budget

    def definition(self, canonical: str) -> dict[str, Any] | None:
        """Return the StructureDefinition of a canonical url, None where it is not known."""

    def shape(self, canonical: str) -> Shape | None:
        """Return a compiled profile, None where it is not known; raise ProfileError."""

    def is_member(self, value_set: str, system: str, code: str) -> bool | None:
        """Tell whether a code is in a value set, None where that can't be known."""

    def systems(self, value_set: str) -> frozenset[str]:
        """Return the code systems of a value set, as far as they are known."""
