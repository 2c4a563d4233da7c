"""Value sets of required bindings, expanded. https://hl7.org/fhir/R4/terminologies.html"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from fhir.definitions.files import read_data


@cache
def _data() -> dict[str, Any]:
    return read_data("value_sets")


def value_set(url: str) -> Mapping[str, Mapping[str, str]] | None:
    """Answer {system: {code: display}} of a required value set.

    None where the set is not required anywhere or is open (MIME types, currencies, UCUM).
    """
    found: Mapping[str, Mapping[str, str]] | None = _data().get(url.partition("|")[0])
    return found


@cache
def implicit_system(url: str) -> str | None:
    """Answer the one code system of a required value set: the implicit system of a `code`.

    https://hl7.org/fhir/R4/search.html#token
    """
    systems = value_set(url)
    return next(iter(systems)) if systems is not None and len(systems) == 1 else None
