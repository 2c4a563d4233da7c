"""Reference parameters. https://hl7.org/fhir/R4/search.html#reference"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final

from fhir import hashes
from fhir.definitions import SearchParameter, resource_types, search_parameter
from fhir.indexing import MANY_PATIENTS, own_bases
from fhir.search.clause import Clause, any_of, array, has_any_token
from fhir.search.context import SearchContext
from fhir.search.errors import SearchRefused
from fhir.search.extractors import UnsupportedExpressionError
from fhir.search.extractors.plan import parameter_paths
from fhir.search.params import hierarchy
from fhir.search.request import ParameterCriterion
from fhir.search.values import split_unescaped, unescape

MAX_NAMES: Final = 20_000
Select = Callable[[str], Clause]
"""Returns `what FROM … WHERE …` for what to select of the rows of an inner search."""


def condition(criterion: ParameterCriterion, alias: str, context: SearchContext) -> Clause:
    """Return the condition for `id`, `Type/id`, a URL and the modifiers."""
    parameter = criterion.parameter
    salt = hashes.param_salt(criterion.resource_type, parameter.code)
    if criterion.modifier == "identifier":
        return has_any_token(alias, [_identifier_form(value) ^ salt for value in criterion.values])
    is_hierarchy = criterion.modifier in {"above", "below"}
    names = list(_names(criterion, "" if is_hierarchy else criterion.modifier))
    if is_hierarchy:
        return hierarchy.condition(criterion, names, alias, context)
    if is_promoted(criterion.resource_type, parameter) and all(map(_is_patient, names)):
        wanted = [hashes.hash64(name) for name in names]
        if len(wanted) == 1:
            return Clause(f"{alias}.patient = %s::bigint", tuple(wanted))
        return Clause(f"{alias}.patient = ANY(%s::bigint[])", (array(wanted),))
    return has_any_token(alias, [_name_form(name) ^ salt for name in names])


def _names(criterion: ParameterCriterion, kind: str) -> Iterator[str]:
    count = 0
    for value in criterion.values:
        for name in targets(value, criterion.parameter, kind):
            count += 1
            if count > MAX_NAMES:
                raise SearchRefused(
                    f"`{criterion.parameter.code}` may refer to many types: name them, as in"
                    " Type/id.",
                    param=criterion.parameter.code,
                )
            yield name


def _name_form(name: str) -> int:
    """Return the hash of `Type/id`, or of a URL as that of a canonical resource's own `url`."""
    return hashes.uri(name) if ":" in name else hashes.hash64(name)


def targets(value: str, parameter: SearchParameter, modifier: str) -> Iterator[str]:
    """Yield the names under which what a value refers to may have been indexed."""
    name = unescape(value)
    for base in own_bases() if ":" in name else ():
        name = name.removeprefix(base)
    if ":" in name:
        yield name
    elif "/" in name:
        if not modifier or name.startswith(f"{modifier}/"):
            yield name
    else:
        for target in _types(parameter, modifier):
            yield f"{target}/{name}"


def _types(parameter: SearchParameter, modifier: str) -> tuple[str, ...]:
    """Return the types a bare id may be of; `patient` names patients, whatever R4's list says."""
    if modifier:
        return (modifier,)
    if parameter.code == "patient":
        return ("Patient",)
    return parameter.targets or resource_types()


def is_promoted(resource_type: str, parameter: SearchParameter) -> bool:
    """Tell whether the promoted patient of a type answers for a parameter."""
    return parameter.code in {"patient", "subject"} and resource_type not in MANY_PATIENTS


def _is_patient(name: str) -> bool:
    return name.startswith("Patient/") and "/_history/" not in name


def _identifier_form(value: str) -> int:
    parts = [unescape(part) for part in split_unescaped(value, "|")]
    if len(parts) == 1:
        return hashes.identifier_value(parts[0])
    return hashes.identifier_exact(parts[0], "|".join(parts[1:]))


@lru_cache(maxsize=4096)
def refers_by(resource_type: str, parameter: SearchParameter) -> frozenset[str]:
    """Return how a parameter refers: by `id` (Reference) or by `url` (canonical), or both."""
    try:
        kinds = {path.type for path in parameter_paths(resource_type, parameter)}
    except UnsupportedExpressionError:
        return frozenset({"id"})
    by_url = {"url"} if kinds & {"canonical", "uri"} else set()
    return frozenset(by_url | ({"id"} if kinds - {"canonical", "uri"} else set()))


def has_url(resource_type: str) -> bool:
    """Tell whether resources of a type can be referred to by their `url`."""
    return search_parameter(resource_type, "url") is not None


def refers_to(
    resource_type: str, parameter: SearchParameter, target_type: str, alias: str, select: Select
) -> Clause:
    """Return the condition that a row refers to one of the rows of an inner search."""
    ways = refers_by(resource_type, parameter)
    found = []
    if "id" in ways:
        found.append(_refers_by_id(resource_type, parameter, target_type, alias, select))
    if "url" in ways and has_url(target_type):
        own = hashes.param_salt(resource_type, parameter.code)
        found.append(_shares_url(alias, own, select, hashes.param_salt(target_type, "url")))
    return any_of(found)


def _refers_by_id(
    resource_type: str, parameter: SearchParameter, target_type: str, alias: str, select: Select
) -> Clause:
    matches = select("{alias}.self")
    if target_type == "Patient" and is_promoted(resource_type, parameter):
        return Clause(f"{alias}.patient IN (SELECT {matches.sql})", matches.params)
    salt = hashes.param_salt(resource_type, parameter.code)
    selected = f"SELECT m.self # %s::bigint FROM (SELECT {matches.sql}) AS m(self)"
    return Clause(f"{alias}.tokens && ARRAY({selected})", (salt, *matches.params))


def _shares_url(alias: str, own: int, select: Select, inner: int) -> Clause:
    """Return the condition that a parameter of the row has a URL that one of inner rows has.

    `own` and `inner` are the numbers of both parameters; that both have a value is no match.
    """
    matches = select("unnest({alias}.tokens)")
    selected = (
        f"SELECT m.token # %s::bigint FROM (SELECT {matches.sql}) AS m(token)"
        " WHERE m.token <> %s::bigint"
    )
    present = hashes.PRESENT ^ inner
    return Clause(f"{alias}.tokens && ARRAY({selected})", (own ^ inner, *matches.params, present))


def referred_by(
    source_type: str, parameter: SearchParameter, target_type: str, alias: str, select: Select
) -> Clause:
    """Return the condition that one of the rows of an inner search refers to a row."""
    ways = refers_by(source_type, parameter)
    found = []
    if "id" in ways and target_type == "Patient" and is_promoted(source_type, parameter):
        rows = select("{alias}.patient")
        found.append(Clause(f"{alias}.self IN (SELECT {rows.sql})", rows.params))
    elif "id" in ways:
        rows = select("unnest({alias}.tokens)")
        salt = hashes.param_salt(source_type, parameter.code)
        found.append(
            Clause(
                f"{alias}.self IN (SELECT m.token # %s::bigint FROM"
                f" (SELECT {rows.sql}) AS m(token))",
                (salt, *rows.params),
            )
        )
    if "url" in ways and has_url(target_type):
        inner = hashes.param_salt(source_type, parameter.code)
        found.append(_shares_url(alias, hashes.param_salt(target_type, "url"), select, inner))
    return any_of(found)
