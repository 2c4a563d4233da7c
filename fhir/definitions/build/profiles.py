"""Profiles and extensions of the package → what they constrain, without their prose.

https://hl7.org/fhir/R4/profiling.html -- Kept as StructureDefinitions with a differential, which is
what `fhir.validation.profiles` reads from a project too.
"""

from typing import Any, Final

from fhir.definitions.build.package import CorePackage

_PROSE: Final = frozenset(
    {
        *("alias", "comment", "condition", "definition", "example", "extension", "isModifier"),
        *("isModifierReason", "isSummary", "mapping", "mustSupport", "requirements", "short"),
    }
)
_CONSTRAINT: Final = ("key", "severity", "expression")
_BINDING: Final = ("strength", "valueSet")


def build_profiles(package: CorePackage) -> dict[str, Any]:
    """Answer {url: {version, name, kind, type, baseDefinition, context, differential, …}}."""
    return {
        url: _profile(definition)
        for url, definition in package.by_type("StructureDefinition").items()
        if definition.get("derivation") == "constraint" and definition["kind"] != "logical"
    }


def _profile(definition: dict[str, Any]) -> dict[str, Any]:
    names = ("version", "name", "kind", "type", "baseDefinition", "derivation", "context")
    facts = {name: definition[name] for name in names if name in definition}
    elements = [_element(element) for element in definition["differential"]["element"]]
    return {**facts, "differential": {"element": elements}}


def _element(element: dict[str, Any]) -> dict[str, Any]:
    facts = {name: value for name, value in element.items() if name not in _PROSE}
    if "binding" in facts:
        facts["binding"] = _chosen(facts["binding"], _BINDING)
    if "constraint" in facts:
        facts["constraint"] = [_chosen(entry, _CONSTRAINT) for entry in facts["constraint"]]
    if "slicing" in facts:
        facts["slicing"] = {k: v for k, v in facts["slicing"].items() if k != "description"}
    return facts


def _chosen(facts: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: facts[name] for name in names if name in facts}
