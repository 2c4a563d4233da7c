"""`:above` and `:below` of references: what is part of what, however deep.

https://hl7.org/fhir/R4/search.html#recursive
"""

from collections.abc import Sequence
from typing import Final

from fhir import hashes
from fhir.definitions import is_resource_type, search_parameter, type_number
from fhir.search.clause import FALSE, Clause, any_of, array
from fhir.search.context import SearchContext
from fhir.search.errors import SearchRefused
from fhir.search.request import ParameterCriterion

_PART_OF: Final = ("partof", "part-of")


def part_of(resource_type: str) -> str | None:
    """Return the parameter by which resources of a type are parts of others of the type."""
    if not is_resource_type(resource_type):
        return None
    for code in _PART_OF:
        parameter = search_parameter(resource_type, code)
        if parameter is not None and resource_type in parameter.targets:
            return code
    return None


def condition(
    criterion: ParameterCriterion, names: Sequence[str], alias: str, context: SearchContext
) -> Clause:
    """Return the condition that a row refers to what is named, or above or below it."""
    by_type: dict[str, list[int]] = {}
    for name in names:
        kind = name.partition("/")[0]
        if ":" not in name and part_of(kind):
            by_type.setdefault(kind, []).append(hashes.hash64(name))
    if not by_type:
        code = f"{criterion.parameter.code}:{criterion.modifier}"
        raise SearchRefused(
            f"`{code}` needs a reference to a type with a hierarchy, such as Location/1.",
            param=code,
        )
    salt = hashes.param_salt(criterion.resource_type, criterion.parameter.code)
    found = [
        _family(kind, keys, criterion.modifier, context) for kind, keys in sorted(by_type.items())
    ]
    return any_of(
        [
            Clause(
                f"{alias}.tokens && ARRAY(SELECT m.self # %s::bigint FROM ({family.sql}) AS m)",
                (salt, *family.params),
            )
            for family in found
        ]
        or [FALSE]
    )


def _family(kind: str, keys: list[int], direction: str, context: SearchContext) -> Clause:
    """Return a query of the keys themselves and of all that lie below or above them."""
    code = part_of(kind) or ""
    salt = hashes.param_salt(kind, code)
    row = "r.project = %s::integer AND r.rtype = %s::smallint AND r.content IS NOT NULL"
    if direction == "below":
        step = (
            "SELECT r.self FROM family f JOIN fhir_resource r"
            f" ON {row} AND r.tokens @> ARRAY[f.self # %s::bigint]"
        )
        params = (array(keys), context.project, type_number(kind), salt)
    else:
        # Of all that the tokens of a row may stand for, only what is a resource goes on.
        step = (
            "SELECT up.self FROM family f JOIN fhir_resource r"
            f" ON r.self = f.self AND {row} CROSS JOIN LATERAL unnest(r.tokens) AS t(token)"
            " JOIN fhir_resource up ON up.self = t.token # %s::bigint"
        )
        params = (array(keys), context.project, type_number(kind), salt)
    sql = (
        "WITH RECURSIVE family(self) AS"
        f" (SELECT unnest(%s::bigint[]) UNION {step}) SELECT self FROM family"
    )
    return Clause(sql, params)
