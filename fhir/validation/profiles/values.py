"""Fixed values and patterns. https://hl7.org/fhir/R4/elementdefinition-definitions.html"""

from decimal import Decimal
from typing import Any

Json = Any  # parsed JSON of any shape


def is_fixed(value: Json, fixed: Json) -> bool:
    """Say whether a value is exactly the fixed one; numbers compare by value."""
    if isinstance(fixed, dict):
        return (
            isinstance(value, dict)
            and value.keys() == fixed.keys()
            and all(is_fixed(value[key], fixed[key]) for key in fixed)
        )
    if isinstance(fixed, list):
        return (
            isinstance(value, list)
            and len(value) == len(fixed)
            and all(is_fixed(one, other) for one, other in zip(value, fixed, strict=True))
        )
    return is_equal(value, fixed)


def has_pattern(value: Json, pattern: Json) -> bool:
    """Say whether a value holds all that the pattern holds, lists in any order."""
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(
            key in value and has_pattern(value[key], part) for key, part in pattern.items()
        )
    if isinstance(pattern, list):
        return isinstance(value, list) and all(
            any(has_pattern(one, part) for one in value) for part in pattern
        )
    return is_equal(value, pattern)


def is_equal(value: Json, other: Json) -> bool:
    """Say whether two primitives are equal: true is not 1, and 1.0 is 1."""
    if isinstance(value, bool) or isinstance(other, bool):
        return value is other
    if isinstance(value, int | float | Decimal) and isinstance(other, int | float | Decimal):
        return Decimal(str(value)) == Decimal(str(other))
    return bool(value == other)


def differing(value: Json, pattern: Json, path: str = "") -> str:
    """Return the path of the first part of a pattern that a value lacks, for messages."""
    if isinstance(pattern, dict) and isinstance(value, dict):
        for key, part in pattern.items():
            if key not in value or not has_pattern(value[key], part):
                return differing(value.get(key), part, f"{path}.{key}" if path else key)
    return path
