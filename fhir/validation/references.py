"""What a reference may point to. https://hl7.org/fhir/R4/references.html"""

from collections.abc import Mapping

from fhir.definitions import is_resource_type
from fhir.validation.invariants.rule import Context, Node


def points_to(targets: tuple[str, ...], node: Node, context: Context) -> bool:
    """Say whether a reference points to one of the types, as far as it says where it points.

    Its type is known from Reference.type, from a RESTful literal (`Type/id`, `…/Type/id`), from
    the contained resource (`#id`) and from the entry of the Bundle that it names.
    """
    kind = node.get("type")
    if kind is not None and is_resource_type(kind) and kind not in targets:
        return False
    literal = node.get("reference")
    if literal is None:
        return True
    found = literal_type(literal, context)
    return found is None or found in targets


def literal_type(literal: str, context: Context) -> str | None:
    """Answer the resource type that a literal reference points to, where it can be known."""
    if literal.startswith("#"):
        return _contained_type(literal[1:], context.root)
    if context.entries and literal in context.entries:
        return context.entries[literal]
    parts = literal.partition("/_history/")[0].rsplit("/", 2)
    if len(parts) > 1 and is_resource_type(parts[-2]):
        return parts[-2]
    return None


def agrees_with_type(node: Node, context: Context) -> bool:
    """Say whether Reference.type is the type of the literal reference, where both are known."""
    if "type" not in node or "reference" not in node or not is_resource_type(node["type"]):
        return True
    return literal_type(node["reference"], context) in {None, node["type"]}


def names_one_of(targets: tuple[str, ...], name: str, node: Node, _: Context) -> bool:
    """Say whether canonical urls of the specification itself name a resource of a right type.

    Other urls do not tell the type: https://hl7.org/fhir/R4/references.html#canonical
    """
    value = node.get(name, ())
    for url in value if isinstance(value, list) else (value,):
        if isinstance(url, str) and url.startswith(_SPECIFICATION):
            kind = url[len(_SPECIFICATION) :].partition("/")[0]
            if kind not in targets and is_resource_type(kind):
                return False
    return True


_SPECIFICATION = "http://hl7.org/fhir/"


def entry_types(bundle: Node) -> Mapping[str, str]:
    """Answer {full url: resource type} of the entries of a Bundle of any shape."""
    entries = bundle.get("entry")
    return {
        entry["fullUrl"]: entry["resource"]["resourceType"]
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, dict)
        and isinstance(entry.get("fullUrl"), str)
        and isinstance(entry.get("resource"), dict)
        and isinstance(entry["resource"].get("resourceType"), str)
    }


def _contained_type(wanted: str, root: Node) -> str | None:
    if not wanted:
        found = root.get("resourceType")
        return found if isinstance(found, str) else None
    contained = root.get("contained")
    for entry in contained if isinstance(contained, list) else ():
        if isinstance(entry, dict) and entry.get("id") == wanted:
            kind = entry.get("resourceType")
            return kind if isinstance(kind, str) else None
    return None
