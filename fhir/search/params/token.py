"""Token parameters. https://hl7.org/fhir/R4/search.html#token"""

from fhir import hashes
from fhir.indexing import TEXT
from fhir.search.clause import Clause, has_any_token, negate
from fhir.search.context import SearchContext, salts
from fhir.search.errors import SearchRefused
from fhir.search.extractors import fold
from fhir.search.request import ParameterCriterion
from fhir.search.values import split_unescaped, unescape


def condition(criterion: ParameterCriterion, alias: str, context: SearchContext) -> Clause:
    """Return the condition for `code`, `system|code`, `|code`, `system|` and the modifiers."""
    if criterion.modifier == "text":
        return text_condition(criterion, alias, context)
    form = of_type_form if criterion.modifier == "of-type" else token_form
    wanted = [form(value) for value in criterion.values]
    params = salts(criterion.resource_type, criterion.parameter.code)
    found = has_any_token(alias, [form ^ param for form in wanted for param in params])
    return negate(found) if criterion.modifier == "not" else found


def token_form(value: str) -> int:
    """Return the hash of what a token value asks for."""
    parts = [unescape(part) for part in split_unescaped(value, "|")]
    if len(parts) == 1:
        return hashes.token_code(parts[0])
    system, code = parts[0], "|".join(parts[1:])
    return hashes.token_exact(system, code) if code else hashes.token_system(system)


def of_type_form(value: str) -> int:
    """Return the hash of `type system|type code|value`."""
    parts = [unescape(part) for part in split_unescaped(value, "|")]
    if len(parts) != 3 or not parts[1] or not parts[2]:
        raise SearchRefused("Write `:of-type=system|code|value`.", param=":of-type")
    return hashes.of_type(parts[0], parts[1], parts[2])


def text_condition(criterion: ParameterCriterion, alias: str, context: SearchContext) -> Clause:
    """Return the condition that a display or text has a word that starts with the value."""
    code = criterion.parameter.code
    params = salts(criterion.resource_type, code, TEXT)
    texts = [fold(unescape(value)) for value in criterion.values]
    matches = " OR ".join("starts_with(v.folded, %s) OR strpos(v.folded, %s) > 0" for _ in texts)
    words = tuple(part for text in texts for part in (text, " " + text))
    return context.side_rows(
        alias, "string", criterion.resource_type, params, Clause(matches, words)
    )
