"""A code system, wherever its concepts are kept: what value sets and operations ask of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fhir.terminology.concepts import Concept
from fhir.terminology.filters import Filter


@dataclass(frozen=True, slots=True)
class Selection:
    """Which concepts of a system: those of a list, that pass filters, that have words.

    `words` are folded; each must begin a word of a name or the code. `codes` None means all.
    """

    filters: tuple[Filter, ...] = ()
    codes: tuple[str, ...] | None = None
    words: tuple[str, ...] = ()
    active_only: bool = False
    selectable_only: bool = False


class CodeSystem(Protocol):
    """What every code system can say."""

    @property
    def url(self) -> str:
        """Return the canonical url."""

    @property
    def version(self) -> str:
        """Return the business version, empty where it has none."""

    @property
    def name(self) -> str:
        """Return the name for people."""

    @property
    def content(self) -> str:
        """Return `complete`, `fragment`, `example` …"""

    def find(self, code: str) -> Concept | None:
        """Return a concept by its code."""

    def select(self, wanted: Selection, *, offset: int, limit: int) -> Sequence[Concept]:
        """Return concepts in the order of the system."""

    def count(self, wanted: Selection) -> int:
        """Return how many concepts a selection has."""

    def ancestors(self, code: str) -> frozenset[str]:
        """Return the codes above a code, without itself."""

    def descendants(self, code: str, *, limit: int) -> frozenset[str]:
        """Return the codes below a code, without itself; raise TooCostly above the limit."""

    def children(self, code: str) -> Sequence[str]:
        """Return the codes directly below a code."""
