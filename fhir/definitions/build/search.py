"""SearchParameters and CompartmentDefinitions → what search and compartments need."""

from typing import Any

from fhir.definitions.build.package import CorePackage


def build_search_parameters(package: CorePackage) -> dict[str, Any]:
    """Answer {base type: {code: {url, type, expression, targets, components, …}}}.

    The expression keeps only the branches of the base type; parameters that the package gives
    no base type are left out (they cannot be searched).
    """
    found: dict[str, dict[str, Any]] = {}
    for url, parameter in package.by_type("SearchParameter").items():
        for base in parameter.get("base", []):
            entries = found.setdefault(base, {})
            if _is_second_choice(entries.get(parameter["code"]), parameter):
                continue
            entries[parameter["code"]] = _parameter(url, parameter, base)
    return {base: dict(sorted(entries.items())) for base, entries in sorted(found.items())}


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
        facts["components"] = [
            [component["definition"], component["expression"]]
            for component in parameter["component"]
        ]
    return facts


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
