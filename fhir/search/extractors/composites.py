"""Combines the values of a composite's components. https://hl7.org/fhir/R4/search.html#combining"""

from collections.abc import Sequence
from itertools import product

from fhir.search.extractors.values import Composite, Value


def combine(
    params: tuple[str, ...], parts: tuple[Sequence[Value], ...], out: list[Composite]
) -> None:
    """Append every combination of the components found under one focus."""
    for components in product(*parts):
        for param in params:
            out.append(Composite(param, components))
