"""`Composition/$document`: a composition and all it refers to, as one document.

https://hl7.org/fhir/R4/composition-operation-document.html
"""

from typing import Final

from fhir import store
from fhir.bundles import document as document_bundle
from fhir.operations.keeping import keep_document
from fhir.operations.operation import HL7, Answer, Call, Operation
from fhir.search.includes import MAX_INCLUDED, included
from fhir.search.request import Include, SearchRequest
from healthcloud.errors import BadRequest
from healthcloud.tenancy.scope import active_project

_ALL: Final = SearchRequest("Composition", includes=(Include("", "", "", iterate=True),))


def document(call: Call) -> Answer | bytes:
    """Answer the document: the Composition, and what it refers to, directly or through others.

    At most 1,000 resources besides. On the type level `id` names the Composition. The caller
    must be allowed to read each of them. With `persist` the document is stored as a Bundle, which
    needs the scope to write Bundles.
    """
    persist = call.parameters.truth("persist")
    rid = call.id or call.parameters.required("id").removeprefix("Composition/")
    composition = store.read(resource_type="Composition", id=rid)
    _, project = active_project()
    others = included(_ALL, [composition], project)
    if others.is_cut:
        raise BadRequest(f"A document may refer to {MAX_INCLUDED} resources; this has more.")
    call.require(*sorted({f"{other.resource_type}:read" for other in others.resources}))
    made = document_bundle([composition, *others.resources], base=call.base, now=call.now)
    return keep_document(call, made) if persist else made


OPERATION = Operation(
    name="document",
    run=document,
    levels=frozenset({"type", "instance"}),
    types=frozenset({"Composition"}),
    summary="Answer a composition with all it refers to as a document.",
    inputs=frozenset({"id", "persist"}),
    definition=f"{HL7}Composition-document",
    weight=3,
)
