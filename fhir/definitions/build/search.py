"""SearchParameters and CompartmentDefinitions → what search and compartments need."""

import re
from typing import Any

from fhir.definitions.build.package import CorePackage

# R4 names the definitions of these components in the wrong order.
_EXCHANGED = {"http://hl7.org/fhir/SearchParameter/DocumentReference-relationship"}


def build_search_parameters(package: CorePackage) -> dict[str, Any]:
    """Answer {base type: {code: {url, type, expression, targets, components, …}}}.

    The expression keeps only the branches of the base type. What cannot be searched is left out:
    examples without a base type or an expression, and one whose path starts at another type.
    """
    found: dict[str, dict[str, Any]] = {}
    for url, parameter in package.by_type("SearchParameter").items():
        for base in parameter.get("base", []):
            entries = found.setdefault(base, {})
            if not _is_searchable(parameter, base) or _is_second_choice(
                entries.get(parameter["code"]), parameter
            ):
                continue
            entries[parameter["code"]] = _parameter(url, parameter, base)
    return {base: dict(sorted(entries.items())) for base, entries in sorted(found.items())}


def _is_searchable(parameter: dict[str, Any], base: str) -> bool:
    expression = parameter.get("expression")
    if not expression:
        return str(parameter["code"]).startswith("_")  # `_text` and its kin need special code
    heads = set(re.findall(r"(?:^|\|)\s*\(?\s*([A-Z][A-Za-z]*)", expression))
    return not heads or base in heads


def _is_second_choice(existing: dict[str, Any] | None, parameter: dict[str, Any]) -> bool:
    """Some codes are defined twice for a type: the one with an expression wins, then the first."""
    return existing is not None and ("expression" in existing or not parameter.get("expression"))


def _parameter(url: str, parameter: dict[str, Any], base: str) -> dict[str, Any]:
    facts: dict[str, Any] = {"url": url, "type": parameter["type"]}
    if parameter.get("expression"):
        facts["expression"] = _expression_for(parameter["expression"], base)
    if parameter.get("target"):
        facts["targets"] = sorted(parameter["target"])
    if parameter.get("component"):
        facts["components"] = _components(url, parameter["component"])
    return facts


def _components(url: str, components: list[dict[str, str]]) -> list[list[str]]:
    definitions = [component["definition"] for component in components]
    if url in _EXCHANGED:
        definitions.reverse()
    return [
        [definition, component["expression"]]
        for definition, component in zip(definitions, components, strict=True)
    ]


def _expression_for(expression: str, base: str) -> str:
    """Keep the union branches that start at the base type (`A.x | B.y` for A → `A.x`)."""
    branches = [branch.strip() for branch in expression.split("|")]
    own = [branch for branch in branches if _starts_at(branch, base)]
    return " | ".join(own or branches)


def _starts_at(branch: str, base: str) -> bool:
    head = branch.lstrip("(")
    return head == base or head.startswith((base + ".", base + " "))


def build_compartments(package: CorePackage) -> dict[str, Any]:
    """Answer {compartment type: {resource type: [parameter codes]}}."""
    return {
        definition["code"]: {
            entry["code"]: entry["param"]
            for entry in sorted(definition["resource"], key=lambda entry: entry["code"])
            if entry.get("param")
        }
        for definition in package.by_type("CompartmentDefinition").values()
        if definition.get("code")
    }
