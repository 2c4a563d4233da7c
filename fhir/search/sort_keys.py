"""One key of `_sort`: a parameter, or one of what a reference leads to. Pure.

https://hl7.org/fhir/R4/search.html#_sort. R4 says nothing of keys that lie behind a reference.
They are written as chains are, `subject:Patient.family` or `patient.family`, or as HAPI has them,
`Patient:subject.family`.
"""

from fhir.definitions import SearchParameter, is_resource_type
from fhir.search.criterion import TEXTS, CriterionReader
from fhir.search.errors import SearchRefused, UnknownSearchParameter
from fhir.search.request import SortKey


def read_sort_key(
    resource_type: str, text: str, reader: CriterionReader, *, falls: bool
) -> SortKey:
    """Return a key of a type; raises SearchRefused for what has no order."""
    head, dot, rest = text.partition(".")
    if not dot:
        return SortKey(_sortable(resource_type, text, reader), falls)
    code, _, kind = head.partition(":")
    if is_resource_type(code):
        code, kind = kind, code
    if "." in rest:
        raise SearchRefused(f"`{text[:80]}`: `_sort` follows one reference.", param="_sort")
    via = reader.parameter(resource_type, code, "_sort")
    found = list(_candidates(resource_type, via, kind, rest, reader))
    if len(found) != 1:
        names = " or ".join(target for target, _ in found)
        raise SearchRefused(
            f"`{text[:80]}` may lead to {names}: write `{code}:{found[0][0]}.{rest}`.",
            param="_sort",
        )
    [(target, parameter)] = found
    return SortKey(parameter, falls, via, target)


def _candidates(
    resource_type: str, via: SearchParameter, kind: str, code: str, reader: CriterionReader
) -> list[tuple[str, SearchParameter]]:
    """Return the types that a reference may lead to and that have the parameter."""
    found: list[tuple[str, SearchParameter]] = []
    unknown: SearchRefused | None = None
    for target in reader.candidates(resource_type, via, kind, code):
        try:
            found.append((target, _sortable(target, code, reader)))
        except UnknownSearchParameter as error:
            unknown = error
    if not found and unknown is not None:
        raise unknown
    if any(parameter.code == "_lastUpdated" for _, parameter in found):
        raise SearchRefused("`_lastUpdated` is a key of the resource itself only.", param="_sort")
    return found


def _sortable(resource_type: str, code: str, reader: CriterionReader) -> SearchParameter:
    parameter = reader.parameter(resource_type, code, "_sort")
    if parameter.type in {"composite", "special"} or parameter.code in TEXTS:
        raise SearchRefused(f"`{code}` has no order.", param="_sort")
    return parameter
