"""URI parameters. https://hl7.org/fhir/R4/search.html#uri"""

from collections.abc import Callable
from typing import Final

from fhir import hashes
from fhir.index_rows import FOLDED_LENGTH
from fhir.search.clause import Clause, all_of, any_of, has_any_token
from fhir.search.context import SearchContext, salts
from fhir.search.errors import SearchRefused
from fhir.search.params.string import starts_with
from fhir.search.request import ParameterCriterion
from fhir.search.values import unescape


def condition(criterion: ParameterCriterion, alias: str, context: SearchContext) -> Clause:
    """Return the condition for the whole URI, `:below` and `:above`.

    `contains`, `starts` and `ends` are operators of `_filter`.
    """
    values = [unescape(value) for value in criterion.values]
    code = criterion.parameter.code
    match = _MATCHES.get(criterion.modifier)
    if match is None:
        params = salts(criterion.resource_type, code)
        return has_any_token(alias, [hashes.uri(v) ^ param for v in values for param in params])
    if criterion.modifier in {"above", "below"}:
        _check_urls(values, f"{code}:{criterion.modifier}")
    return context.parameter_rows(
        alias, "string", criterion, any_of([match(value) for value in values])
    )


def _check_urls(values: list[str], param: str) -> None:
    """Paths lie under paths; names such as urn:oid:1.2 do not."""
    for value in values:
        if "://" not in value:
            raise SearchRefused(f"`{value[:80]}` is no URL with a path.", param=param)


def below(value: str) -> Clause:
    """Return the condition that a URI is the value or lies in the folder it names."""
    folder = value.rstrip("/")
    return any_of([Clause("v.exact = %s::text", (folder,)), _begins(folder + "/")])


def _begins(text: str) -> Clause:
    """Return the condition that a URI begins so; the index holds its first characters only."""
    whole = Clause("starts_with(v.exact, %s::text)", (text,))
    return all_of([starts_with("v.folded", text[:FOLDED_LENGTH]), whole])


def above(value: str) -> Clause:
    """Return the condition that a URI is the value or one of the folders it lies in."""
    root, _, path = value.partition("://")
    names = path.rstrip("/").split("/")
    folders = [f"{root}://{'/'.join(names[:n])}" for n in range(1, len(names) + 1)]
    wanted = [value, *folders, *(folder + "/" for folder in folders)]
    return Clause("v.exact = ANY(%b::text[])", (wanted,))


_MATCHES: Final[dict[str, Callable[[str], Clause]]] = {
    "below": below,
    "above": above,
    "contains": lambda value: Clause("strpos(v.exact, %s::text) > 0", (value,)),
    "starts": _begins,
    "ends": lambda value: Clause("right(v.exact, %s::int) = %s::text", (len(value), value)),
}
