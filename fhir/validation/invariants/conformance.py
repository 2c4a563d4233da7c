"""Invariants of questionnaires, definitions and terminology. /R4/conformance-module.html"""

import re

from fhir.validation.invariants.rule import (
    Context,
    Holds,
    Node,
    Rule,
    are_distinct,
    descendants,
    has,
    has_any,
    implies,
    items,
)

_NAME = re.compile(r"[A-Z]([A-Za-z0-9_]){0,254}")
_QUESTIONS_WITH_OPTIONS = {
    *("choice", "open-choice", "decimal", "integer", "date", "dateTime", "time", "string"),
    "quantity",
}
_QUESTIONS_WITH_LENGTH = {
    *("boolean", "decimal", "integer", "string", "text", "url", "open-choice"),
}

NAME_RULE = Rule(
    lambda n, c: "name" not in n or bool(_NAME.fullmatch(n["name"])),
    "name should be usable in programs: a capital, then letters, digits and underscores.",
    "warning",
)


def _group_has_items(node: Node, _: Context) -> bool:
    kind = node.get("type")
    return implies(kind == "group", "item" in node) and implies(
        kind == "display", "item" not in node
    )


def _is_not(kind: str, *names: str) -> Holds:
    return lambda n, c: n.get("type") != kind or not has_any(n, *names)


def _fits_kind(node: Node, _: Context) -> bool:
    has_implementation, has_software = has(node, "implementation"), has(node, "software")
    return node.get("kind") != "capability" or (not has_implementation and has_software)


def _requires_nothing_real(node: Node, _: Context) -> bool:
    return node.get("kind") != "requirements" or not has_any(node, "implementation", "software")


def _roots_lack_uuids(node: Node, _: Context) -> bool:
    return node.get("kind") != "root" or all(
        entry.get("type") != "uuid" for entry in items(node, "uniqueId")
    )


def _answers_existence(node: Node, _: Context) -> bool:
    return node.get("operator") != "exists" or "answerBoolean" in node


def _is_explained(node: Node, _: Context) -> bool:
    return has(node, "comment") or node.get("equivalence") not in {"narrower", "inexact"}


def _filters_by_snomed_codes(node: Node, _: Context) -> bool:
    if node.get("system") != _SNOMED:
        return True
    return all(
        is_snomed_id(str(entry.get("value", "")))
        for entry in items(node, "filter")
        if entry.get("property") == "concept" and entry.get("op") in _BY_CONCEPT
    )


def is_snomed_id(text: str) -> bool:
    """Say whether a text is a SNOMED CT identifier: 6 to 18 digits, the last by Verhoeff.

    https://confluence.ihtsdotools.org/display/DOCRELFMT/6.2+SCTID+Data+Type
    """
    if not (text.isascii() and text.isdecimal()) or not 6 <= len(text) <= 18:
        return False
    check = 0
    for place, digit in enumerate(reversed(text)):
        check = _DIHEDRAL[check][_PERMUTED[place % 8][int(digit)]]
    return check == 0


def _dihedral(first: int, second: int) -> int:
    """Multiply in the symmetries of a pentagon: below 5 rotations, from 5 on reflections."""
    turned = second if first < 5 else -second
    reflected = (first >= 5) != (second >= 5)
    return (first + turned) % 5 + 5 * reflected


_SNOMED = "http://snomed.info/sct"
_BY_CONCEPT = frozenset({"is-a", "descendent-of", "is-not-a", "generalizes", "="})
_DIHEDRAL = [[_dihedral(first, second) for second in range(10)] for first in range(10)]
_TURN = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)
_PERMUTED = [list(range(10))]
while len(_PERMUTED) < 8:
    _PERMUTED.append([_TURN[digit] for digit in _PERMUTED[-1]])

_KIND = "Software and implementation do not fit the kind of statement."
_EXCLUSIVE_CRITERIA = "Give either code, description or criteria, or components."

RULES: dict[str, Rule] = {
    "cmd-1": Rule(_is_explained, "A narrower or inexact mapping needs a comment."),
    "cmd-2": Rule(lambda n, c: n.get("mode") != "fixed" or has(n, "code"), "Add the fixed code."),
    "cmd-3": Rule(
        lambda n, c: n.get("mode") != "other-map" or has(n, "url"), "Add the other map's url."
    ),
    "cpb-1": Rule(
        lambda n, c: has_any(n, "rest", "messaging", "document"),
        "Say something of rest, messaging or document.",
    ),
    "cpb-2": Rule(
        lambda n, c: has_any(n, "description", "software", "implementation"),
        "Give a description, software or implementation.",
    ),
    "cpb-3": Rule(
        lambda n, c: n.get("kind") == "instance" or not any(items(n, "messaging", "endpoint")),
        "messaging.endpoint is only for an instance.",
    ),
    "cpb-7": Rule(
        lambda n, c: are_distinct((d.get("profile"), d.get("mode")) for d in items(n, "document")),
        "Two documents have the same profile and mode.",
    ),
    "cpb-9": Rule(
        lambda n, c: are_distinct(r.get("type") for r in items(n, "resource")),
        "A resource type is described twice: merge them.",
    ),
    "cpb-12": Rule(
        lambda n, c: are_distinct(p.get("name") for p in items(n, "searchParam")),
        "A search parameter is described twice: drop one.",
    ),
    "cpb-14": Rule(lambda n, c: n.get("kind") != "instance" or has(n, "implementation"), _KIND),
    "cpb-15": Rule(_fits_kind, _KIND),
    "cpb-16": Rule(_requires_nothing_real, _KIND),
    "csd-1": Rule(
        lambda n, c: are_distinct(concept.get("code") for concept in descendants(n, "concept")),
        "A code is defined twice: drop one of the concepts.",
    ),
    "display-link-id": Rule(
        lambda n, c: n.get("type") != "display" or has(n, "linkId"),
        "R4 gives every item a linkId, displays too: add it.",
        "warning",
    ),
    "mea-1": Rule(
        lambda n, c: all(
            has_any(s, "code", "description", "criteria") != has(s, "component")
            for s in items(n, "group", "stratifier")
        ),
        _EXCLUSIVE_CRITERIA,
    ),
    "md-1": Rule(
        lambda n, c: n.get("max", "*") == "*" or (n["max"].isdecimal() and int(n["max"]) > 0),
        "max is '*' or a number above 0.",
    ),
    "mrp-1": Rule(
        lambda n, c: n.get("type") != "data-collection" or "group" not in n,
        "A data-collection report has no group.",
    ),
    "mrp-2": Rule(
        lambda n, c: all(
            has(s, "value") != has(s, "component")
            for s in items(n, "group", "stratifier", "stratum")
        ),
        "Give the stratum's value or its components.",
    ),
    "msq-3": Rule(lambda n, c: n.get("coordinateSystem") in {0, 1}, "coordinateSystem is 0 or 1."),
    "msq-5": Rule(
        lambda n, c: has(n, "chromosome") == has(n, "genomeBuild"),
        "Give chromosome and genomeBuild together.",
    ),
    "msq-6": Rule(
        lambda n, c: (
            [
                has(n, name)
                for name in (
                    *("genomeBuild", "referenceSeqId", "referenceSeqPointer"),
                    "referenceSeqString",
                )
            ].count(True)
            == 1
        ),
        "Give one of genomeBuild, referenceSeqId, referenceSeqPointer and referenceSeqString.",
    ),
    "nsd-1": Rule(_roots_lack_uuids, "A root of OIDs has no uuid."),
    "nsd-2": Rule(
        lambda n, c: are_distinct(
            entry.get("type") for entry in items(n, "uniqueId") if entry.get("preferred") is True
        ),
        "Two identifiers of one type are preferred: choose one.",
    ),
    "opd-1": Rule(lambda n, c: has_any(n, "type", "part"), "A parameter needs a type or parts."),
    "opd-2": Rule(
        lambda n, c: not has(n, "searchType") or n.get("type") == "string",
        "searchType is only for parameters of type string.",
    ),
    "opd-3": Rule(
        lambda n, c: "targetProfile" not in n or n.get("type") in {"Reference", "canonical"},
        "targetProfile is only for Reference and canonical.",
    ),
    "que-1": Rule(_group_has_items, "A group needs items; a display has none."),
    "que-2": Rule(
        lambda n, c: are_distinct(str(link) for link in descendants(n, "linkId")),
        "A linkId is used twice: give each item its own.",
    ),
    "que-3": Rule(_is_not("display", "code"), "A display has no code."),
    "que-4": Rule(
        lambda n, c: "answerOption" not in n or not has(n, "answerValueSet"),
        "Give answerOption or answerValueSet, not both.",
    ),
    "que-5": Rule(
        lambda n, c: (
            n.get("type") in _QUESTIONS_WITH_OPTIONS
            or not has_any(n, "answerValueSet", "answerOption")
        ),
        "Items of this type have no answer options.",
    ),
    "que-6": Rule(
        _is_not("display", "required", "repeats"), "A display is not required and does not repeat."
    ),
    "que-7": Rule(_answers_existence, "operator exists needs answerBoolean."),
    "que-8": Rule(
        lambda n, c: n.get("type") not in {"group", "display"} or "initial" not in n,
        "A group or display has no initial value.",
    ),
    "que-9": Rule(_is_not("display", "readOnly"), "A display is not readOnly."),
    "que-10": Rule(
        lambda n, c: n.get("type") in _QUESTIONS_WITH_LENGTH or not has(n, "maxLength"),
        "maxLength is only for simple answers.",
    ),
    "que-11": Rule(
        lambda n, c: "answerOption" not in n or "initial" not in n,
        "With answerOption mark the initial one by initialSelected.",
    ),
    "que-12": Rule(
        # R4's expression says more than two, its text (and its validator) more than one.
        lambda n, c: len(n.get("enableWhen", ())) <= 1 or has(n, "enableBehavior"),
        "Several enableWhen need an enableBehavior: all or any.",
    ),
    "que-13": Rule(
        lambda n, c: n.get("repeats") is True or len(n.get("initial", ())) <= 1,
        "Only a repeating item has several initial values.",
    ),
    "snomed-filter": Rule(
        _filters_by_snomed_codes, "The value of this filter is no SNOMED CT code: correct it."
    ),
    "system-absolute": Rule(
        lambda n, c: ":" in n.get("system", ":"),
        "system is absolute: give the code system's url, not a #fragment or a relative url.",
    ),
    "url-absolute": Rule(
        lambda n, c: ":" in n.get("url", ":"),
        "A canonical url is absolute: give http://…, https://… or urn:….",
    ),
    "smp-1": Rule(lambda n, c: not has(n, "element") or has(n, "context"), "Add the context."),
    "smp-2": Rule(lambda n, c: not has(n, "context") or has(n, "contextType"), "Add contextType."),
    "spd-1": Rule(lambda n, c: not has(n, "xpath") or has(n, "xpathUsage"), "Add the xpathUsage."),
    "spd-2": Rule(
        lambda n, c: "chain" not in n or n.get("type") == "reference",
        "Chains are only for reference parameters.",
    ),
    "tcp-1": Rule(
        lambda n, c: len(n.get("version", ())) <= 1 or all("code" in v for v in n["version"]),
        "Each of several versions needs a code.",
    ),
    "tcp-2": Rule(
        lambda n, c: has_any(n, "description", "software", "implementation"),
        "Give a description, software or implementation.",
    ),
    "tcp-3": Rule(lambda n, c: n.get("kind") != "instance" or has(n, "implementation"), _KIND),
    "tcp-4": Rule(_fits_kind, _KIND),
    "tcp-5": Rule(_requires_nothing_real, _KIND),
    "TestReport.inv-1": Rule(
        lambda n, c: has(n, "operation") != has(n, "assert"), "Give an operation or an assert."
    ),
    "TestReport.inv-2": Rule(
        lambda n, c: has(n, "operation") != has(n, "assert"), "Give an operation or an assert."
    ),
    "tst-1": Rule(
        lambda n, c: has(n, "operation") != has(n, "assert"), "Give an operation or an assert."
    ),
    "tst-2": Rule(
        lambda n, c: has(n, "operation") != has(n, "assert"), "Give an operation or an assert."
    ),
    "tst-3": Rule(
        lambda n, c: not has(n, "expression", "headerField", "path"),
        "Give one of expression, headerField and path.",
    ),
    "vsd-1": Rule(
        lambda n, c: has_any(n, "valueSet", "system"), "Include a system or other value sets."
    ),
    "vsd-2": Rule(
        lambda n, c: not has_any(n, "concept", "filter") or has(n, "system"),
        "Concepts and filters need their system.",
    ),
    "vsd-3": Rule(
        lambda n, c: "concept" not in n or "filter" not in n, "Give concepts or filters, not both."
    ),
    "vsd-6": Rule(lambda n, c: has_any(n, "code", "display"), "Give a code or a display."),
    "vsd-9": Rule(
        lambda n, c: has(n, "code") or n.get("abstract") is True,
        "Only an abstract entry has no code.",
    ),
    "vsd-10": Rule(lambda n, c: not has(n, "code") or has(n, "system"), "Add the code's system."),
}
