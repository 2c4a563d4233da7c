"""What a reference may point to. https://hl7.org/fhir/R4/references.html"""

from fhir.definitions import is_resource_type
from fhir.validation.invariants.rule import Context, Node


def points_to(targets: tuple[str, ...], node: Node, _: Context) -> bool:
    """Say whether a reference points to one of the types, as far as it says where it points.

    The schema has seen to relative references; an absolute one counts when it is a RESTful url
    (`…/Type/id`), and Reference.type when it names a resource type.
    """
    kind = node.get("type")
    if kind is not None and is_resource_type(kind) and kind not in targets:
        return False
    literal = node.get("reference")
    if literal is None or "://" not in literal:
        return True
    url = literal.partition("/_history/")[0]
    parts = url.rsplit("/", 2)
    return len(parts) < 3 or not is_resource_type(parts[1]) or parts[1] in targets
