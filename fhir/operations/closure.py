"""$closure. https://hl7.org/fhir/R4/conceptmap-operation-closure.html"""

from fhir.documents import JsonObject
from fhir.operations.operation import HL7, Call, Operation
from fhir.operations.parameters import InvalidParameter
from fhir.terminology import closures
from fhir.terminology.coded import read_coding


def run(call: Call) -> JsonObject:
    """Begin a closure table, add codes to it, or tell what is new since a version."""
    given = call.parameters
    name = given.required("name")
    if len(name) > 200:
        raise InvalidParameter("The `name` of a closure table has at most 200 characters.")
    codes = [read_coding(coding, "concept") for coding in given.elements("concept", "Coding")]
    if "version" in given:
        if codes:
            raise InvalidParameter("Give `concept` or `version`, not both.", param="version")
        text = given.required("version")
        if not text.isascii() or not text.isdecimal() or len(text) > 9:
            raise InvalidParameter("`version` is one that $closure answered.", param="version")
        return closures.since(name, int(text), now=call.now)
    if codes:
        return closures.add(name, codes, now=call.now)
    return closures.begin(name, now=call.now)


OPERATION = Operation(
    name="closure",
    run=run,
    levels=frozenset({"system"}),
    summary="Keep a table of which codes are below which.",
    inputs=frozenset({"name", "concept", "version"}),
    definition=f"{HL7}ConceptMap-closure",
    affects_state=True,
    scope="ConceptMap:write",
)
