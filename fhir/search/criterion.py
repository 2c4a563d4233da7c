"""From the name and value of a parameter to a criterion: chains, `_has`, modifiers, `_list`.

https://hl7.org/fhir/R4/search.html#chaining. Pure.
"""

from collections.abc import Callable
from typing import Final

from fhir.definitions import SearchParameter, is_resource_type, search_parameter
from fhir.search.errors import (
    NeverRefers,
    SearchRefused,
    UnknownSearchParameter,
    UnsupportedSearch,
)
from fhir.search.functional_lists import functional_list
from fhir.search.request import ChainCriterion, Criterion, HasCriterion, ParameterCriterion
from fhir.search.values import split_unescaped

Lookup = Callable[[str, str], SearchParameter | None]
"""Finds a search parameter of a type by its code."""

MAX_VALUES: Final = 1000
# Where all values are one array that an index is asked for: ids, tokens, references, URIs.
MANY_VALUES: Final = 20_000
MAX_CHAIN: Final = 8
MAX_CHAIN_TYPES: Final = 40
MODIFIERS: Final = {
    "string": ("missing", "exact", "contains", "text"),
    "token": ("missing", "not", "text", "of-type", "in", "not-in", "above", "below"),
    "reference": ("missing", "identifier", "text", "above", "below"),
    "uri": ("missing", "below", "above"),
    "date": ("missing",),
    "number": ("missing",),
    "quantity": ("missing",),
    "composite": ("missing",),
    "special": ("missing",),
}
# Parameters that no index answers for `:missing` and the like.
_PLAIN: Final = {"_id": ("not",), "_text": (), "_content": ()}
TEXTS: Final = frozenset({"_text", "_content"})
UNSUPPORTED: Final = frozenset({"_query"})
_HASHED: Final = frozenset({"token", "reference", "uri"})
_ONE_ARRAY: Final = frozenset({"", "not", "identifier", "of-type"})


class CriterionReader:
    """Reads criteria with the parameters that a lookup knows."""

    def __init__(self, lookup: Lookup = search_parameter) -> None:
        self._lookup = lookup

    def read(self, resource_type: str, name: str, value: str, depth: int = 0) -> Criterion:
        """Return the criterion of one parameter, chain or `_has` of a type."""
        if depth > MAX_CHAIN:
            raise SearchRefused(f"A chain may have {MAX_CHAIN} links.", param=name[:120])
        if name.startswith("_has:"):
            return self._has(resource_type, name, value, depth)
        if name == "_list":
            return self._list(resource_type, value)
        head, dot, rest = name.partition(".")
        code, _, modifier = head.partition(":")
        parameter = self.parameter(resource_type, code, name)
        if dot:
            return self._chain(resource_type, parameter, modifier, rest, value, depth)
        check_modifier(parameter, modifier, name)
        values = values_of(name, value, most_values(parameter, modifier))
        return ParameterCriterion(resource_type, parameter, modifier, values)

    def parameter(self, resource_type: str, code: str, name: str) -> SearchParameter:
        """Return a parameter that can be searched by.

        Raises UnknownSearchParameter and UnsupportedSearch.
        """
        if code in UNSUPPORTED:
            raise UnsupportedSearch(f"This server does not search by `{code}`.", param=name[:120])
        parameter = self._lookup(resource_type, code)
        if parameter is None or not is_searchable(parameter):
            raise UnknownSearchParameter(
                f"{resource_type} has no search parameter `{code[:80]}`;"
                " GET /v1/fhir/metadata lists them.",
                param=name[:120],
            )
        return parameter

    def candidates(
        self, resource_type: str, parameter: SearchParameter, modifier: str, rest: str
    ) -> tuple[str, ...]:
        """Return the types that a link of a chain may lead to.

        Raises SearchRefused where the parameter can't be chained.
        """
        name = f"{parameter.code}.{rest}"
        if parameter.type != "reference":
            raise SearchRefused(
                f"`{parameter.code}` is no reference and can't be chained.", param=name
            )
        if modifier and not is_resource_type(modifier):
            raise SearchRefused(f"`{modifier[:80]}` is no resource type.", param=name)
        if modifier:
            return (modifier,)
        if parameter.code == "patient":
            return ("Patient",)
        if not parameter.targets or len(parameter.targets) > MAX_CHAIN_TYPES:
            raise SearchRefused(
                f"`{parameter.code}` may refer to many types: write"
                f" `{parameter.code}:Type.{rest}`.",
                param=name,
            )
        return parameter.targets

    def _chain(
        self,
        resource_type: str,
        parameter: SearchParameter,
        modifier: str,
        rest: str,
        value: str,
        depth: int,
    ) -> ChainCriterion:
        alternatives: list[Criterion] = []
        unknown: SearchRefused | None = None
        for target in self.candidates(resource_type, parameter, modifier, rest):
            try:
                alternatives.append(self.read(target, rest, value, depth + 1))
            except (UnknownSearchParameter, NeverRefers) as error:
                unknown = error
        if not alternatives and unknown is not None:
            raise unknown
        return ChainCriterion(resource_type, parameter, tuple(alternatives))

    def _has(self, resource_type: str, name: str, value: str, depth: int) -> HasCriterion:
        parts = name.split(":", 3)
        if len(parts) < 4 or not is_resource_type(parts[1]):
            raise SearchRefused("Write `_has:Type:reference:parameter=value`.", param=name[:120])
        _, source_type, code, rest = parts
        parameter = self.parameter(source_type, code, name)
        if parameter.type != "reference":
            raise SearchRefused(f"`{code}` of {source_type} is no reference.", param=name[:120])
        if parameter.targets and resource_type not in parameter.targets:
            raise NeverRefers(
                f"`{source_type}.{code}` never refers to {resource_type}.", param=name[:120]
            )
        criterion = self.read(source_type, rest, value, depth + 1)
        return HasCriterion(resource_type, source_type, parameter, criterion)

    def _list(self, resource_type: str, value: str) -> Criterion:
        """Return the criterion that a List has the resource among its items."""
        if value.startswith("$"):
            return functional_list(resource_type, value, self.read)
        lists = self.read("List", "_id", value.removeprefix("List/"))
        item = self.parameter("List", "item", "_list")
        return HasCriterion(resource_type, "List", item, lists)


def is_searchable(parameter: SearchParameter) -> bool:
    """Tell whether this server searches by a parameter."""
    return parameter.expression is not None or parameter.code in TEXTS


def check_modifier(parameter: SearchParameter, modifier: str, name: str) -> None:
    """Raise SearchRefused for a modifier that the parameter does not have."""
    allowed = _PLAIN.get(parameter.code, MODIFIERS.get(parameter.type, ()))
    if not modifier or modifier in allowed:
        return
    if parameter.type == "reference" and is_resource_type(modifier):
        return
    raise SearchRefused(
        f"`:{modifier[:60]}` is no modifier of the {parameter.type} parameter `{parameter.code}`.",
        param=name[:120],
    )


def most_values(parameter: SearchParameter, modifier: str) -> int:
    """Return how many alternatives a parameter may have."""
    is_plain = modifier in _ONE_ARRAY or is_resource_type(modifier)
    return MANY_VALUES if parameter.type in _HASHED and is_plain else MAX_VALUES


def values_of(name: str, value: str, most: int = MAX_VALUES) -> tuple[str, ...]:
    """Return the alternatives of a value; raises SearchRefused for none and for too many."""
    values = tuple(part for part in split_unescaped(value, ",") if part)
    if len(values) > most:
        raise SearchRefused(
            f"`{name[:80]}` may have {most} values; it has {len(values)}.", param=name[:120]
        )
    if not values:
        raise SearchRefused(f"`{name[:80]}` has no value.", param=name[:120])
    return values
