"""Which search parameters there are: R4's, and those that the active project added. Pure."""

from importlib import import_module

from fhir.definitions import SearchParameter, search_parameter


def known_parameter(resource_type: str, code: str) -> SearchParameter | None:
    """Return a search parameter of a type by its code, None where there is none.

    Only where R4 has none is the project asked, by the room that knows the database.
    """
    official = search_parameter(resource_type, code)
    if official is not None:
        return official
    found: SearchParameter | None = import_module("fhir.parameters").custom_parameter(
        resource_type, code
    )
    return found
