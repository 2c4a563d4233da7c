"""The 146 resource types and their stable numbers. https://hl7.org/fhir/R4/resourcelist.html"""

from functools import cache

from fhir.definitions.files import read_plain


class UnknownResourceTypeError(LookupError):
    """No R4 resource type has this name."""


@cache
def _numbers() -> dict[str, int]:
    return read_plain("type_numbers")


@cache
def _names() -> dict[int, str]:
    return {number: name for name, number in _numbers().items()}


@cache
def resource_types() -> tuple[str, ...]:
    """Name every concrete resource type of R4, sorted."""
    return tuple(sorted(_numbers()))


def is_resource_type(name: str) -> bool:
    """Say whether this is the name of a concrete R4 resource type."""
    return name in _numbers()


def type_number(name: str) -> int:
    """Answer the number that stands for a resource type in stored rows.

    Numbers are committed with the data and never change or move to another type.
    Raises UnknownResourceTypeError.
    """
    try:
        return _numbers()[name]
    except KeyError:
        raise UnknownResourceTypeError(f"{name} is not a FHIR R4 resource type.") from None


def type_name(number: int) -> str:
    """Answer the resource type that a stored number stands for."""
    try:
        return _names()[number]
    except KeyError:
        raise UnknownResourceTypeError(f"No resource type has the number {number}.") from None
