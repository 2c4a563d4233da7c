"""`$convert`: the same resource in another format, by content negotiation.

https://hl7.org/fhir/R4/resource-operation-convert.html
"""

from fhir.documents import JsonObject
from fhir.operations.operation import Call, Operation
from fhir.operations.parameters import InvalidParameter


def convert(call: Call) -> JsonObject | bytes:
    """Answer the resource that was sent, in the format that the client accepts."""
    if call.body is not None:
        return call.body.text
    sent = call.parameters.resource("input")
    if sent is None:
        raise InvalidParameter("Send the resource, or Parameters with `input`.", param="input")
    return sent


OPERATION = Operation(
    name="convert",
    run=convert,
    levels=frozenset({"system"}),
    summary="Answer a resource in another format.",
    inputs=frozenset({"input"}),
    bare="input",
)
