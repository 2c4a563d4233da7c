"""`$convert`: the same resource in another format, by content negotiation.

https://hl7.org/fhir/R4/resource-operation-convert.html
"""

from fhir.documents import JsonObject, from_dict
from fhir.errors import ResourceMismatch
from fhir.identity import check_type
from fhir.operations.operation import Call, Operation
from fhir.operations.parameters import InvalidParameter
from fhir.writing import refuse_invalid


def convert(call: Call) -> JsonObject | bytes:
    """Answer the resource that was sent, in the format that the client accepts.

    Raises ResourceMismatch, UnknownResourceType and InvalidResource for what is no valid resource:
    it has no form in the other format.
    """
    sent = call.body
    if sent is None:
        given = call.parameters.resource("input")
        if given is None:
            raise InvalidParameter("Send the resource, or Parameters with `input`.", param="input")
        sent = from_dict(given)
    if not sent.resource_type:
        raise ResourceMismatch("The body has no `resourceType`.", param="resourceType")
    check_type(sent.resource_type)
    refuse_invalid(sent)
    return sent.text


OPERATION = Operation(
    name="convert",
    run=convert,
    levels=frozenset({"system"}),
    summary="Answer a resource in another format.",
    inputs=frozenset({"input"}),
    bare="input",
)
