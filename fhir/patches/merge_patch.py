"""JSON Merge Patch. https://www.rfc-editor.org/rfc/rfc7386"""

from fhir.patches.values import Json


def merge(target: Json, patch: Json) -> Json:
    """Return the target with the patch's members put in, and those that are null taken out."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result
