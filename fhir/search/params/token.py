"""Token parameters. https://hl7.org/fhir/R4/search.html#token"""

from typing import Final

from fhir import hashes
from fhir.search import terminology
from fhir.search.clause import Clause, has_any_token, has_no_token
from fhir.search.context import SearchContext, salts
from fhir.search.errors import SearchRefused
from fhir.search.request import ParameterCriterion
from fhir.search.values import split_unescaped, unescape

# The implicit system of booleans, which "isn't actually used" and may be written.
_BOOLEANS: Final = frozenset(
    {
        "http://hl7.org/fhir/special-values",
        "http://terminology.hl7.org/CodeSystem/special-values",
    }
)


def condition(criterion: ParameterCriterion, alias: str, context: SearchContext) -> Clause:
    """Return the condition for `code`, `system|code`, `|code`, `system|` and the modifiers."""
    forms = [form for value in criterion.values for form in _forms(value, criterion)]
    params = salts(criterion.resource_type, criterion.parameter.code)
    tokens = [form ^ param for form in forms for param in params]
    is_negated = criterion.modifier in {"not", "not-in"}
    return has_no_token(alias, tokens) if is_negated else has_any_token(alias, tokens)


def _forms(value: str, criterion: ParameterCriterion) -> list[int]:
    code = criterion.parameter.code
    match criterion.modifier:
        case "in" | "not-in":
            codes = terminology.members(unescape(value), param=f"{code}:{criterion.modifier}")
        case "below":
            codes = terminology.subsumed(*_concept(value, code), param=f"{code}:below")
        case "above":
            codes = terminology.subsuming(*_concept(value, code), param=f"{code}:above")
        case "of-type":
            return [of_type_form(value, code)]
        case _:
            return [token_form(value, code)]
    return [hashes.token_exact(system, name) for system, name in codes]


def _concept(value: str, param: str) -> tuple[str, str]:
    """Return system and code of a value; the system is empty where it names none."""
    parts = [unescape(part) for part in split_unescaped(value, "|")]
    system, code = ("", parts[0]) if len(parts) == 1 else (parts[0], "|".join(parts[1:]))
    if not code:
        raise SearchRefused(f"`{value[:60]}` names no code.", param=param)
    return system, code


def token_form(value: str, param: str = "") -> int:
    """Return the hash of what a token value asks for."""
    parts = [unescape(part) for part in split_unescaped(value, "|")]
    if len(parts) == 1:
        return hashes.token_code(parts[0])
    system, code = parts[0], "|".join(parts[1:])
    if system in _BOOLEANS and code in {"true", "false"}:
        return hashes.token_code(code)
    if code:
        return hashes.token_exact(system, code)
    if not system:
        raise SearchRefused(
            f"`{value[:60]}` is no token: write code, system|code, |code or system|.", param=param
        )
    return hashes.token_system(system)


def of_type_form(value: str, param: str) -> int:
    """Return the hash of `type system|type code|value`."""
    parts = [unescape(part) for part in split_unescaped(value, "|")]
    if len(parts) != 3 or not parts[1] or not parts[2]:
        raise SearchRefused(f"Write `{param}:of-type=system|code|value`.", param=f"{param}:of-type")
    return hashes.of_type(parts[0], parts[1], parts[2])
