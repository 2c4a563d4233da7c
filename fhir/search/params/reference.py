"""Reference parameters. https://hl7.org/fhir/R4/search.html#reference"""

from collections.abc import Iterator

from fhir import hashes
from fhir.definitions import SearchParameter, resource_types
from fhir.indexing import MANY_PATIENTS, own_base
from fhir.search.clause import Clause, array, has_any_token
from fhir.search.context import SearchContext
from fhir.search.request import ParameterCriterion
from fhir.search.values import split_unescaped, unescape


def condition(criterion: ParameterCriterion, alias: str, context: SearchContext) -> Clause:
    """Return the condition for `id`, `Type/id`, a URL, `:Type` and `:identifier`."""
    parameter = criterion.parameter
    salt = hashes.param_salt(criterion.resource_type, parameter.code)
    if criterion.modifier == "identifier":
        forms = [_identifier_form(value) ^ salt for value in criterion.values]
        return has_any_token(alias, forms)
    names = [
        name for value in criterion.values for name in targets(value, parameter, criterion.modifier)
    ]
    if is_promoted(criterion.resource_type, parameter) and all(map(_is_patient, names)):
        wanted = [_name_form(name) for name in names]
        return Clause(f"{alias}.patient = ANY(%s::bigint[])", (array(wanted),))
    return has_any_token(alias, [_name_form(name) ^ salt for name in names])


def _name_form(name: str) -> int:
    """Return the hash of `Type/id`, or of a URL as that of a canonical resource's own `url`."""
    return hashes.uri(name) if ":" in name else hashes.hash64(name)


def targets(value: str, parameter: SearchParameter, modifier: str) -> Iterator[str]:
    """Yield the names under which what a value refers to may have been indexed."""
    name = unescape(value).removeprefix(own_base())
    if "/" in name or ":" in name:
        yield name
        return
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


def refers_to(
    resource_type: str, parameter: SearchParameter, target_type: str, alias: str, matches: Clause
) -> Clause:
    """Return the condition that a row refers to one of the `self` hashes a query selects."""
    if target_type == "Patient" and is_promoted(resource_type, parameter):
        return Clause(f"{alias}.patient IN (SELECT {matches.sql})", matches.params)
    salt = hashes.param_salt(resource_type, parameter.code)
    selected = f"SELECT m.self # %s::bigint FROM (SELECT {matches.sql}) AS m(self)"
    return Clause(f"{alias}.tokens && ARRAY({selected})", (salt, *matches.params))


def referred_by(source_type: str, parameter: SearchParameter, target_type: str) -> Clause:
    """Return what to select of a referring row `{alias}`: the `self` hashes it refers to."""
    if target_type == "Patient" and is_promoted(source_type, parameter):
        return Clause("{alias}.patient")
    salt = hashes.param_salt(source_type, parameter.code)
    return Clause("unnest({alias}.tokens) # %s::bigint", (salt,))
