"""What a SearchParameter says, read from the resource and checked before it is stored.

https://hl7.org/fhir/R4/searchparameter.html
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, get_args

from fhir.definitions import (
    SearchParameter,
    is_resource_type,
    parameter_by_url,
    resource_types,
    search_parameter,
    structure,
)
from fhir.definitions.parameters import Component, ParameterType
from fhir.documents import JsonObject
from fhir.errors import InvalidResource
from fhir.search.extractors import UnsupportedExpressionError, compile_extractor
from fhir.search.extractors.plan import CONVERTERS, parameter_condition, parameter_paths

TYPE: Final = "SearchParameter"
ByUrl = Callable[[str, str], SearchParameter | None]
"""Finds a parameter of the project's own by its canonical URL, for a resource type."""

_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
# Of these the store keeps more than index rows, in columns of their own.
_PROMOTED: Final = frozenset({"patient", "subject"})
_MEMBERS: Final = ("code", "type", "base", "expression", "target", "component", "url")
_KINDS: Final = frozenset(get_args(ParameterType)) - {"special"}
_HASHED: Final = frozenset({"token", "reference", "uri"})


class InvalidSearchParameter(InvalidResource):
    """The SearchParameter can't be searched by."""

    def __init__(self, expression: str, diagnostics: str, code: str = "invalid") -> None:
        issue = {
            "severity": "error",
            "code": code,
            "diagnostics": diagnostics,
            "expression": [expression],
        }
        super().__init__(TYPE, [issue])


def is_active(resource: JsonObject) -> bool:
    """Tell whether searches are to use the SearchParameter."""
    return resource.get("status") == "active"


def members(resource: JsonObject) -> JsonObject:
    """Return what matters of a SearchParameter to searches."""
    return {name: resource[name] for name in _MEMBERS if name in resource}


def check(resource: JsonObject) -> None:
    """Refuse an active SearchParameter that can't be compiled, as far as it tells by itself.

    What its project has besides (components, other parameters with the code) is not looked at.
    Raises InvalidSearchParameter.
    """
    if is_active(resource):
        read(members(resource), lambda url, resource_type: _unknown_component(url))


def _unknown_component(url: str) -> SearchParameter:
    """Return what stands for a component that only the project's table knows."""
    return _parameter({"code": "component", "url": url}, "Resource", "token", None, ())


def read(
    definition: JsonObject, by_url: ByUrl, *, compiles: bool = True
) -> dict[str, SearchParameter]:
    """Return the parameter for each resource type that it adds one to.

    Types of which R4 has the same parameter are left out. What was checked when it was stored
    need not be compiled again (`compiles=False`). Raises InvalidSearchParameter.
    """
    kind = _kind(definition)
    _expression(definition, kind)
    wanted = list(_bases(definition["base"]))
    found, misses = {}, []
    for resource_type in wanted:
        parameter = _of_type(definition, resource_type, kind, by_url, compiles=compiles)
        if parameter is None:
            misses.append(resource_type)
        elif not _is_official(parameter, resource_type):
            found[resource_type] = parameter
    abstract = not all(is_resource_type(base) for base in definition["base"])
    if misses and (not abstract or len(misses) == len(wanted)):
        raise InvalidSearchParameter(
            f"{TYPE}.expression",
            f"The expression leads to nothing in {misses[0]}: begin it with `{misses[0]}.` and"
            " name its elements as R4 does.",
        )
    return found


def _kind(definition: JsonObject) -> ParameterType:
    kind: ParameterType = definition["type"]
    if kind not in _KINDS:
        raise InvalidSearchParameter(
            f"{TYPE}.type",
            f"A parameter of the type `{kind}` needs code of the server's own: use one of"
            f" {', '.join(sorted(_KINDS))}.",
            "not-supported",
        )
    return kind


def _expression(definition: JsonObject, kind: ParameterType) -> None:
    if not definition.get("expression"):
        raise InvalidSearchParameter(
            f"{TYPE}.expression",
            "An active parameter needs a FHIRPath expression, such as `Patient.extension"
            ".where(url='…').value`.",
            "required",
        )
    if (kind == "composite") != bool(definition.get("component")):
        raise InvalidSearchParameter(
            f"{TYPE}.component",
            "A composite needs components, and no other type has any.",
            "required" if kind == "composite" else "invalid",
        )


def _bases(names: Sequence[str]) -> Iterator[str]:
    """Yield the concrete types, those below an abstract base included."""
    for name in dict.fromkeys(names):
        if is_resource_type(name):
            yield name
        else:
            yield from (known for known in resource_types() if _is_below(known, name))


def _is_below(name: str, base: str) -> bool:
    found = structure(name)
    return found is not None and (found.base == base or _is_below(found.base, base))


def _of_type(
    definition: JsonObject,
    resource_type: str,
    kind: ParameterType,
    by_url: ByUrl,
    *,
    compiles: bool,
) -> SearchParameter | None:
    """Return the parameter of a type, None where its expression leads to nothing in it."""
    expression = definition["expression"]
    components = tuple(_components(definition, resource_type, by_url))
    parameter = _parameter(definition, resource_type, kind, expression, components)
    try:
        if parameter_condition(resource_type, parameter) is not None:
            return parameter
        paths = parameter_paths(resource_type, parameter)
        if compiles:
            compile_extractor(resource_type, [parameter])
    except UnsupportedExpressionError as error:
        raise InvalidSearchParameter(
            f"{TYPE}.expression",
            f"{error} An expression is a union of paths, with where(…), as, ofType(), extension(),"
            " exists(), first() and resolve() is.",
        ) from None
    if not paths:
        return None
    kinds = {path.type for path in paths}
    if kind != "composite" and not any((kind, found) in CONVERTERS for found in kinds):
        usable = sorted({name for known, name in CONVERTERS if known == kind})
        raise InvalidSearchParameter(
            f"{TYPE}.type",
            f"In {resource_type} the expression leads to {', '.join(sorted(kinds)[:5])}; a {kind}"
            f" parameter takes {', '.join(usable)}.",
        )
    return parameter


def _parameter(
    definition: JsonObject,
    resource_type: str,
    kind: ParameterType,
    expression: str | None,
    components: tuple[Component, ...],
) -> SearchParameter:
    return SearchParameter(
        code=definition["code"],
        type=kind,
        base=resource_type,
        url=definition["url"],
        expression=expression,
        targets=tuple(definition.get("target", ())),
        components=components,
        multiple_or=True,
        multiple_and=True,
    )


def _components(definition: JsonObject, resource_type: str, by_url: ByUrl) -> Iterator[Component]:
    ordered = 0
    parts: list[dict[str, Any]] = definition.get("component", [])
    for number, part in enumerate(parts):
        url = part["definition"].partition("|")[0]
        official = parameter_by_url(url)
        found = official or by_url(url, resource_type)
        where = f"{TYPE}.component[{number}].definition"
        if found is None:
            raise InvalidSearchParameter(
                where, f"{url[:200]} is no active search parameter: store it first.", "not-found"
            )
        if found.type in {"composite", "special"}:
            raise InvalidSearchParameter(where, f"{url[:200]} is a {found.type} parameter itself.")
        ordered += found.type not in _HASHED
        if ordered > 1:
            raise InvalidSearchParameter(
                where,
                "Of the components of a composite one at most may be a date, number, quantity or"
                " string; the others are tokens, references and URIs.",
                "not-supported",
            )
        yield Component(url, part["expression"], None if official else found)


def _is_official(parameter: SearchParameter, resource_type: str) -> bool:
    """Tell whether R4 has the parameter; raise InvalidSearchParameter where its code is taken."""
    official = search_parameter(resource_type, parameter.code)
    if official is None:
        if not _CODE.fullmatch(parameter.code) or parameter.code in _PROMOTED:
            raise InvalidSearchParameter(
                f"{TYPE}.code",
                f"`{parameter.code[:80]}` can't be the code of a parameter of {resource_type}: take"
                " letters, digits, - and _, beginning with a letter, and not patient or subject.",
            )
        return False
    if official.type == parameter.type and _says_the_same(official, parameter, resource_type):
        return True
    raise InvalidSearchParameter(
        f"{TYPE}.code",
        f"{resource_type} has another parameter `{parameter.code}` in R4 ({official.type},"
        f" {official.expression}): choose a code of your own.",
        "duplicate",
    )


def _says_the_same(
    official: SearchParameter, parameter: SearchParameter, resource_type: str
) -> bool:
    if official.components or official.expression is None:
        return official.url == parameter.url
    if official.expression == parameter.expression:
        return True
    try:
        own = parameter_paths(resource_type, official)
    except UnsupportedExpressionError:  # Patient.deceased, which is no path
        return False
    return set(own) == set(parameter_paths(resource_type, parameter))
