"""All operations of this server, found in the files of `fhir.operations`."""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Final

from fhir import operations as package
from fhir.definitions import is_resource_type
from fhir.operations.operation import Level, Operation

_KNOWN: Final = """
apply care-gaps cds-hooks closure collect-data conforms convert data-requirements document
evaluate evaluate-measure everything expand export find find-matches graph graphql implements
import lastn lookup match member-match meta meta-add meta-delete nutrition-order populate
preferred-id process-message purge questionnaire snapshot stats submit submit-data subscribe
subset substance subsumes summary transform translate validate validate-code versions
"""
R4_OPERATIONS: Final = frozenset(_KNOWN.split())
"""Names that R4 and the guides on top of it define: 501 where this server does not do them."""


@cache
def operations() -> tuple[Operation, ...]:
    """Return every operation, sorted by name."""
    found: list[Operation] = []
    for module in iter_modules(package.__path__):
        loaded = import_module(f"{package.__name__}.{module.name}")
        one: Operation | None = getattr(loaded, "OPERATION", None)
        several: tuple[Operation, ...] = getattr(loaded, "OPERATIONS", ())
        found += [one] if one else several
    return tuple(sorted(found, key=lambda operation: (operation.name, sorted(operation.types))))


def named(name: str) -> list[Operation]:
    """Return the operations of a name: `$validate-code` is one of CodeSystem and of ValueSet."""
    return [operation for operation in operations() if operation.name == name]


def of_system() -> list[Operation]:
    """Return the operations of the system level, and those of types that R4 has not."""
    return [
        operation
        for operation in operations()
        if "system" in operation.levels
        or (operation.types and not any(map(is_resource_type, operation.types)))
    ]


def of_type(resource_type: str) -> list[Operation]:
    """Return the operations of a type and its instances."""
    return [operation for operation in operations() if operation.serves(resource_type)]


def where(operation: Operation) -> list[str]:
    """Return the addresses at which an operation is called, for messages."""
    types = sorted(operation.types) or ["{type}"]
    forms: dict[Level, str] = {"type": "{}/${}", "instance": "{}/{{id}}/${}"}
    found = [f"${operation.name}"] if "system" in operation.levels else []
    for level, form in forms.items():
        if level in operation.levels:
            found += [form.format(name, operation.name) for name in types]
    return found
