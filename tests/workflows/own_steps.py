"""Steps that write resources, named so that tests find them again."""

from tests.workflows.conftest import Json

SYSTEM = "urn:own"
FIND: Json = {
    "id": "find",
    "kind": "fhir_search",
    "with": {"query": f"Basic?identifier={SYSTEM}|"},
}


def basic(name: str, **more: object) -> Json:
    """Return a resource that has this name as its identifier."""
    identifier = [{"system": SYSTEM, "value": name}]
    return {"resourceType": "Basic", "code": {"text": "x"}, "identifier": identifier, **more}


def create(name: str, **more: object) -> Json:
    """Return the step that creates it."""
    return {"id": name, "kind": "fhir_create", "with": {"resource": basic(name)}, **more}


def change(name: str, text: str = "changed") -> Json:
    """Return the step that changes what the step of this name created."""
    resource = basic(name, id=f"{{{{ steps.{name}.output.id }}}}", code={"text": text})
    return {"id": f"change_{name}", "kind": "fhir_update", "with": {"resource": resource}}
