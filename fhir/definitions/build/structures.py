"""StructureDefinitions → elements with cardinality, types, targets, bindings, and invariants."""

from collections.abc import Iterator
from typing import Any

from fhir.definitions.build.package import CorePackage

BASE = "http://hl7.org/fhir/StructureDefinition/"
FHIR_TYPE = BASE + "structuredefinition-fhir-type"
SYSTEM = "http://hl7.org/fhirpath/System."


def build_structures(package: CorePackage) -> dict[str, Any]:
    """Answer {type name: {kind, base, abstract, elements, constraints}}, sorted by name.

    `elements` maps the path below the type (`component.value[x]`) to
    {min, max (-1 = many), types, targets, binding, strength, ref}; empty facts are left out.
    """
    structures = {}
    for definition in package.by_type("StructureDefinition").values():
        if definition["kind"] == "logical" or definition.get("derivation") == "constraint":
            continue
        structures[definition["name"]] = _structure(definition)
    return dict(sorted(structures.items()))


def build_invariants(package: CorePackage) -> dict[str, Any]:
    """Answer {type name: {path below the type: [{key, severity, expression}]}}."""
    found: dict[str, Any] = {}
    for definition in package.by_type("StructureDefinition").values():
        if definition["kind"] == "logical" or definition.get("derivation") == "constraint":
            continue
        for path, constraint in _own_constraints(definition):
            entry = {key: constraint[key] for key in ("key", "severity", "expression")}
            found.setdefault(definition["name"], {}).setdefault(path, []).append(entry)
    return dict(sorted(found.items()))


def _structure(definition: dict[str, Any]) -> dict[str, Any]:
    root = definition["name"]
    elements = {}
    for element in definition["snapshot"]["element"][1:]:
        path = element["path"].removeprefix(root + ".")
        elements[path] = _element(root, path, element)
    if definition["kind"] == "resource":
        # The package says "string" here; the text of the specification says "id".
        elements["id"]["types"] = ["id"]
    return {
        "kind": definition["kind"],
        "base": definition.get("baseDefinition", "").removeprefix(BASE),
        "abstract": definition["abstract"],
        "elements": elements,
    }


def _element(root: str, path: str, element: dict[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "min": element["min"],
        "max": -1 if element["max"] == "*" else int(element["max"]),
    }
    if "contentReference" in element:
        facts["ref"] = element["contentReference"].removeprefix(f"#{root}.")
    types = [_type_name(kind) for kind in element.get("type", [])]
    if types:
        facts["types"] = types
    targets = sorted(
        {t.removeprefix(BASE) for kind in element.get("type", []) for t in _targets(kind)}
    )
    if targets and "Resource" not in targets:
        facts["targets"] = targets
    binding = element.get("binding", {})
    if "valueSet" in binding and binding["strength"] in {"required", "extensible"}:
        facts["binding"] = binding["valueSet"].partition("|")[0]
        facts["strength"] = binding["strength"]
    if element.get("isSummary"):
        facts["summary"] = True
    return facts


def _targets(kind: dict[str, Any]) -> list[str]:
    targets: list[str] = kind.get("targetProfile", [])
    return targets


def _type_name(kind: dict[str, Any]) -> str:
    code: str = kind["code"]
    if not code.startswith(SYSTEM):
        return code
    for extension in kind.get("extension", []):
        if extension["url"] == FHIR_TYPE:
            return str(extension.get("valueUrl") or extension["valueUri"])
    return code.removeprefix(SYSTEM).lower()


def _own_constraints(definition: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the constraints that this type itself declares (the inherited ones have a source)."""
    root = definition["name"]
    for element in definition["snapshot"]["element"]:
        path = element["path"].removeprefix(root).removeprefix(".")
        for constraint in element.get("constraint", []):
            if constraint.get("source", definition["url"]) == definition["url"]:
                yield path, constraint
