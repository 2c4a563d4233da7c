"""`$versions`: the versions of FHIR that this server speaks.

https://hl7.org/fhir/R4/capabilitystatement-operation-versions.html
"""

from typing import Final

import orjson

from fhir.documents import JsonObject
from fhir.operations.operation import HL7, Answer, Call, Operation
from fhir.operations.parameters import parameters, part

_VERSION: Final = "4.0"


def versions(call: Call) -> Answer | JsonObject:
    """Answer the version, as Parameters or, where plain JSON is asked for, as plain JSON."""
    if call.accept.partition(";")[0].strip() == "application/json":
        plain = {"versions": [_VERSION], "default": _VERSION}
        return Answer(orjson.dumps(plain), content_type="application/json")
    return parameters(part("version", valueCode=_VERSION), part("default", valueCode=_VERSION))


OPERATION = Operation(
    name="versions",
    run=versions,
    levels=frozenset({"system"}),
    summary="Tell the versions of FHIR that are spoken.",
    definition=f"{HL7}CapabilityStatement-versions",
)
