"""What searches ask of terminology: members of value sets, what a code subsumes.

https://hl7.org/fhir/R4/search.html#token (`:in`, `:not-in`, `:above`, `:below`).
"""

from fhir.search.errors import UnsupportedSearch

Codes = list[tuple[str, str]]


def members(value_set: str, *, param: str) -> Codes:
    """Return system and code of every member of a value set, named by URL or `ValueSet/id`."""
    raise UnsupportedSearch("This server does not expand value sets yet.", param=param)


def subsumed(system: str, code: str, *, param: str) -> Codes:
    """Return a code and all codes below it."""
    raise UnsupportedSearch("This server does not know hierarchies of codes yet.", param=param)


def subsuming(system: str, code: str, *, param: str) -> Codes:
    """Return a code and all codes above it."""
    raise UnsupportedSearch("This server does not know hierarchies of codes yet.", param=param)
