"""Invariants of StructureDefinition, ElementDefinition, ImplementationGuide and TestScript.

https://hl7.org/fhir/R4/structuredefinition.html#invs
"""

import re

from fhir.validation.invariants.rule import (
    Context,
    Holds,
    Node,
    Rule,
    are_distinct,
    has,
    has_any,
    has_choice,
    implies,
    items,
)

_BASE = "http://hl7.org/fhir/StructureDefinition"
_SLICE = re.compile(r"[a-zA-Z0-9/\-_\[\]@]+")
_PART = r"[^\s.,:;'\"/|?!@#$%&*()\[\]{}]{1,64}"
_PATH = re.compile(rf"{_PART}(\.{_PART}(\[x\])?(:[^\s.]+)?)*")
_PLAIN_PATH = re.compile(r"[A-Za-z][A-Za-z0-9]*(\.[a-z][A-Za-z0-9]*(\[x])?)*")
_SYSTEM_TYPE = r"http://hl7\.org/fhirpath/System\.[A-Z][A-Za-z]+"
_DIFFERENTIAL_TYPE = re.compile(rf"[a-zA-Z0-9]+|{_SYSTEM_TYPE}")
_SNAPSHOT_TYPE = re.compile(rf"[a-zA-Z0-9.]+|{_SYSTEM_TYPE}")
_DESCRIBED = (
    *("type", "min", "max", "maxLength", "binding"),
    *("defaultValue", "fixed", "pattern", "example", "minValue", "maxValue"),
)


def _count_is_number(node: Node, _: Context) -> bool:
    maximum = node.get("max", "*")
    return bool(maximum == "*" or maximum.isdecimal())


def _min_fits_max(node: Node, _: Context) -> bool:
    maximum = node.get("max", "*")
    return maximum == "*" or not maximum.isdecimal() or node.get("min", 0) <= int(maximum)


def _repeats_content_only(node: Node, _: Context) -> bool:
    described = [name for name in _DESCRIBED if name not in {"min", "max"}]
    return not has(node, "contentReference") or not any(
        has(node, name) or has_choice(node, name) for name in described
    )


def _has_one_type(choice: str) -> Holds:
    return lambda n, c: not has_choice(n, choice) or len(n.get("type", ())) <= 1


def _points(name: str) -> Holds:
    return lambda n, c: name not in n or n.get("code") in {"Reference", "canonical"}


def _elements(node: Node, *views: str) -> list[Node]:
    return [
        entry
        for view in views or ("snapshot", "differential")
        for entry in items(node, view, "element")
    ]


def _first(node: Node, view: str) -> Node:
    found: Node = next(items(node, view, "element"), {})
    return found


def _starts_with_type(node: Node, _: Context) -> bool:
    snapshot = _first(node, "snapshot")
    return node.get("kind") == "logical" or not snapshot or snapshot.get("path") == node.get("type")


def _first_lacks_type(node: Node, _: Context) -> bool:
    return node.get("kind") == "logical" or "type" not in _first(node, "snapshot")


def _differential_root_lacks_type(node: Node, _: Context) -> bool:
    first = _first(node, "differential")
    is_root = node.get("kind") != "logical" and "." not in first.get("path", ".")
    return implies(is_root, "type" not in first)


def _have_distinct_ids(*views: str) -> Holds:
    def holds(node: Node, _: Context) -> bool:
        found = _elements(node, *views)
        return all("id" in e for e in found) and are_distinct(e["id"] for e in found)

    return holds


def _types_are_named(node: Node, _: Context) -> bool:
    if not node.get("url", "").startswith(_BASE):
        return True
    return all(
        pattern.fullmatch(kind.get("code", ""))
        for view, pattern in (
            ("differential", _DIFFERENTIAL_TYPE),
            ("snapshot", _SNAPSHOT_TYPE),
        )
        for kind in items(node, view, "element", "type")
    )


def _any_default(node: Node, *views: str) -> bool:
    return any(has_choice(element, "defaultValue") for element in _elements(node, *views))


def _roots(node: Node, *views: str) -> list[Node]:
    return [element for element in _elements(node, *views) if "." not in element.get("path", "")]


def _paths_are_below(node: Node, context: Context) -> bool:
    """sdf-8, sdf-8a: the first element is the type, the others lie below it."""
    elements = node.get("element", [{}])
    resource, first = context.resource, elements[0].get("path", "")
    root = first.partition(".")[0]
    starts = resource.get("kind") == "logical" or root == resource.get("type")
    return starts and all(entry.get("path", "").startswith(f"{root}.") for entry in elements[1:])


def _is_asserted_once(node: Node, _: Context) -> bool:
    names = (
        *("contentType", "expression", "headerField", "minimumId", "navigationLinks", "path"),
        *("requestMethod", "resource", "responseCode", "response", "validateProfileId"),
    )
    return "extension" in node or [has(node, name) for name in names].count(True) <= 1


def _is_compared(node: Node, _: Context) -> bool:
    compared = has_any(node, "compareToSourceExpression", "compareToSourcePath")
    return has(node, "compareToSourceId") == compared


def _fits_direction(node: Node, _: Context) -> bool:
    return node.get("direction") != "request" or not has_any(node, "response", "responseCode")


def _has_target(node: Node, _: Context) -> bool:
    targets = [has(node, name) for name in ("targetId", "url", "params")].count(True)
    kind = node.get("type", {}).get("code")
    general = kind in {"capabilities", "search", "transaction", "history"}
    return has(node, "sourceId") or targets == 1 or general


def _groups_exist(node: Node, context: Context) -> bool:
    groups = {group.get("id") for group in items(node, "grouping")}
    return all(
        resource.get("groupingId", None) in {None, *groups} for resource in items(node, "resource")
    )


def _versions_fit(node: Node, _: Context) -> bool:
    versions = set(items(node, "fhirVersion"))
    return all(found in versions for found in items(node, "definition", "resource", "fhirVersion"))


_ASSERTED = Rule(_is_asserted_once, "An assert tests one thing: split it.")
_COMPARED = Rule(_is_compared, "compareToSourceId needs an expression or path, and they need it.")
_DIRECTED = Rule(_fits_direction, "Asserts on requests have no response or responseCode.")
_TARGETED = Rule(_has_target, "Give a sourceId, or one of targetId, url and params.")
_DISTINCT = "Every element needs an id of its own."

RULES: dict[str, Rule] = {
    "eld-1": Rule(
        lambda n, c: has_any(n, "discriminator", "description"),
        "A slicing needs a discriminator or a description.",
    ),
    "eld-2": Rule(_min_fits_max, "min is greater than max: correct them."),
    "eld-3": Rule(_count_is_number, "max is '*' or a number."),
    "eld-4": Rule(_points("aggregation"), "aggregation is only for Reference and canonical."),
    "eld-5": Rule(
        _repeats_content_only, "With contentReference nothing else describes the element."
    ),
    "eld-6": Rule(_has_one_type("fixed"), "A fixed value needs a single type."),
    "eld-7": Rule(_has_one_type("pattern"), "A pattern needs a single type."),
    "eld-8": Rule(
        lambda n, c: not has_choice(n, "pattern") or not has_choice(n, "fixed"),
        "Give a pattern or a fixed value, not both.",
    ),
    "eld-12": Rule(
        lambda n, c: n.get("valueSet", "urn:").startswith(("http:", "https", "urn:")),
        "valueSet is an absolute url or a urn.",
    ),
    "eld-13": Rule(
        lambda n, c: are_distinct(kind.get("code") for kind in items(n, "type")),
        "A type is given twice: merge its profiles.",
    ),
    "eld-14": Rule(
        lambda n, c: are_distinct(entry.get("key") for entry in items(n, "constraint")),
        "A constraint key is given twice: rename one.",
    ),
    "eld-15": Rule(
        lambda n, c: not has_choice(n, "defaultValue") or not has(n, "meaningWhenMissing"),
        "Give a default value or meaningWhenMissing, not both.",
    ),
    "eld-16": Rule(
        lambda n, c: "sliceName" not in n or bool(_SLICE.fullmatch(n["sliceName"])),
        "sliceName holds letters, digits and / - _ [ ] @ only.",
    ),
    "eld-17": Rule(_points("targetProfile"), "targetProfile is only for Reference and canonical."),
    "eld-18": Rule(
        lambda n, c: n.get("isModifier") is not True or has(n, "isModifierReason"),
        "A modifier needs its isModifierReason.",
    ),
    "eld-19": Rule(
        lambda n, c: bool(_PATH.match(n.get("path", "a"))), "path holds a forbidden character."
    ),
    "eld-20": Rule(
        lambda n, c: bool(_PLAIN_PATH.match(n.get("path", "a"))),
        "path should be made of letters and digits.",
        "warning",
    ),
    "eld-21": Rule(
        lambda n, c: has(n, "expression"), "A constraint should have an expression.", "warning"
    ),
    "eld-22": Rule(
        lambda n, c: not has(n, "sliceIsConstraining") or has(n, "sliceName"),
        "sliceIsConstraining needs a sliceName.",
    ),
    "ig-1": Rule(_groups_exist, "groupingId names no grouping of the guide: correct it."),
    "ig-2": Rule(_versions_fit, "A resource has a fhirVersion that the guide has not."),
    "sdf-1": Rule(
        lambda n, c: (
            n.get("derivation") == "constraint"
            or are_distinct(e.get("path") for e in _elements(n, "snapshot"))
        ),
        "Two elements have the same path.",
    ),
    "sdf-2": Rule(lambda n, c: has_any(n, "name", "uri"), "A mapping needs a name or a uri."),
    "sdf-3": Rule(
        lambda n, c: all(has(e, "definition", "min", "max") for e in items(n, "element")),
        "Elements of a snapshot need definition, min and max.",
    ),
    "sdf-4": Rule(
        # R4's own logical models (FiveWs, Event …) have none either.
        lambda n, c: (
            n.get("abstract") is True or n.get("kind") == "logical" or has(n, "baseDefinition")
        ),
        "Only an abstract or logical structure has no baseDefinition.",
    ),
    "sdf-5": Rule(
        lambda n, c: (
            n.get("type") != "Extension"
            or n.get("derivation") == "specialization"
            or has(n, "context")
        ),
        "An extension needs its context.",
    ),
    "sdf-6": Rule(
        lambda n, c: has_any(n, "snapshot", "differential"), "Give a snapshot or differential."
    ),
    "sdf-8": Rule(_paths_are_below, "The first path is the type; the others lie below it."),
    "sdf-8a": Rule(_paths_are_below, "The first path is the type; the others lie below it."),
    "sdf-8b": Rule(
        lambda n, c: all(has(e, "base") for e in items(n, "element")),
        "Elements of a snapshot need their base.",
    ),
    "sdf-9": Rule(
        lambda n, c: not any(has_any(e, "label", "code", "requirements") for e in _roots(n)),
        "The root element has no label, code or requirements.",
    ),
    "sdf-10": Rule(
        lambda n, c: "binding" not in n or has_any(n["binding"], "valueSet", "description"),
        "A binding needs a valueSet or a description.",
    ),
    "sdf-11": Rule(_starts_with_type, "The snapshot starts with the type."),
    "sdf-14": Rule(
        lambda n, c: all("id" in element for element in _elements(n)), "Every element needs an id."
    ),
    "sdf-15": Rule(_first_lacks_type, "The first element has no type."),
    "sdf-15a": Rule(_differential_root_lacks_type, "The root element has no type."),
    "sdf-16": Rule(_have_distinct_ids("snapshot"), _DISTINCT),
    "sdf-17": Rule(_have_distinct_ids("differential"), _DISTINCT),
    "sdf-18": Rule(
        lambda n, c: "contextInvariant" not in n or n.get("type") == "Extension",
        "contextInvariant is only for extensions.",
    ),
    "sdf-19": Rule(_types_are_named, "Structures of the specification use its own types only."),
    "sdf-20": Rule(
        lambda n, c: (
            not any("slicing" in e for e in items(n, "element") if "." not in e.get("path", "."))
        ),
        "The root element is not sliced.",
    ),
    "sdf-21": Rule(
        lambda n, c: n.get("derivation") == "specialization" or not _any_default(n, "differential"),
        "Only specializations have default values.",
    ),
    "sdf-22": Rule(
        lambda n, c: not n.get("url", "").startswith(_BASE) or not _any_default(n),
        "Structures of the specification have no default values.",
    ),
    "sdf-23": Rule(
        lambda n, c: not any(has(element, "sliceName") for element in _roots(n)),
        "The root element has no sliceName.",
    ),
    "tst-4": Rule(
        lambda n, c: all(has_any(e, "required", "validated") for e in items(n, "capability")),
        "A capability is required or validated.",
    ),
    "tst-5": _ASSERTED,
    "tst-6": _ASSERTED,
    "tst-7": _TARGETED,
    "tst-8": _TARGETED,
    "tst-9": _TARGETED,
    "tst-10": _COMPARED,
    "tst-11": _COMPARED,
    "tst-12": _DIRECTED,
    "tst-13": _DIRECTED,
}
