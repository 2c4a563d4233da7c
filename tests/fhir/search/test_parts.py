"""Parameters that are unions of others are exactly that, by the definitions."""

from fhir.definitions import search_parameter
from fhir.search.parts import _PARTS, parts_of


def branches(resource_type: str, code: str) -> set[str]:
    parameter = search_parameter(resource_type, code)
    assert parameter is not None
    return {branch.strip(" ()") for branch in (parameter.expression or "").split("|")}


def test_the_parts_say_what_the_union_says() -> None:
    for (resource_type, code), parts in _PARTS.items():
        whole = branches(resource_type, code)
        assert whole == set().union(*(branches(resource_type, part) for part in parts)), code


def test_other_parameters_are_their_own_part() -> None:
    assert parts_of("Observation", "code") == ("code",)
