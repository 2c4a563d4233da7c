"""Parameters that are the union of others: asked through their parts, never indexed. Pure.

Observation's `combo-…` parameters cover the resource and its components. Indexing them would
write every value of an Observation twice.
"""

from typing import Final

_PARTS: Final = {
    ("Observation", "combo-code"): ("code", "component-code"),
    ("Observation", "combo-value-concept"): ("value-concept", "component-value-concept"),
    ("Observation", "combo-value-quantity"): ("value-quantity", "component-value-quantity"),
    ("Observation", "combo-data-absent-reason"): (
        "data-absent-reason",
        "component-data-absent-reason",
    ),
    ("Observation", "combo-code-value-concept"): (
        "code-value-concept",
        "component-code-value-concept",
    ),
    ("Observation", "combo-code-value-quantity"): (
        "code-value-quantity",
        "component-code-value-quantity",
    ),
}


def parts_of(resource_type: str, code: str) -> tuple[str, ...]:
    """Return the parameters that answer for a parameter: as a rule itself."""
    return _PARTS.get((resource_type, code), (code,))


def is_union(resource_type: str, code: str) -> bool:
    """Tell whether a parameter is answered for by its parts."""
    return (resource_type, code) in _PARTS
