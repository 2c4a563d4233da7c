"""`persist=true`: a document that an operation made is stored as a Bundle, too."""

from fhir import store
from fhir.operations.operation import Answer, Call
from healthcloud.errors import Conflict


def keep_document(call: Call, document: bytes) -> Answer:
    """Store a document and answer it as it is stored, with its address in Location."""
    call.require("Bundle:write")
    if call.is_archived:
        raise Conflict("The project is archived and can't be changed: leave `persist` out.")
    stored = store.create(resource=document, resource_type="Bundle", actor=call.actor, now=call.now)
    location = f"{call.base}/{stored.versioned_reference}"
    return Answer(stored.content, headers={"Location": location, "ETag": stored.etag})
