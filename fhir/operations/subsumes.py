"""CodeSystem/$subsumes. https://hl7.org/fhir/R4/codesystem-operation-subsumes.html"""

from fhir import store
from fhir.documents import JsonObject
from fhir.operations.operation import HL7, Call, Operation
from fhir.operations.parameters import InvalidParameter, parameters, part
from fhir.terminology.canonical import require_system, system_of
from fhir.terminology.coded import Coded, read_coding
from fhir.terminology.errors import UnknownCode
from fhir.terminology.membership import subsumes
from fhir.terminology.system import CodeSystem


def test(call: Call) -> JsonObject:
    """Tell whether one code is above the other."""
    first, second = _asked(call, "A"), _asked(call, "B")
    if call.id:
        system = system_of(store.read(resource_type="CodeSystem", id=call.id).resource)
        if {first.system, second.system} - {"", system.url}:
            raise InvalidParameter(
                f"The codes are to be of `{system.url}`, the code system addressed.",
                param="system",
            )
    else:
        system = _system(first, second)
    outcome = subsumes(system, _spelled(system, first), _spelled(system, second))
    return parameters(part("outcome", valueCode=outcome))


def _system(first: Coded, second: Coded) -> CodeSystem:
    if not first.system or not second.system:
        raise InvalidParameter("Name the code system: `system` is required.", param="system")
    if first.system != second.system:
        raise InvalidParameter("Both codes must be of one code system.", param="codingB")
    return require_system(first.system, first.version or second.version)


def _asked(call: Call, which: str) -> Coded:
    given = call.parameters
    coding = given.element(f"coding{which}", "Coding")
    if coding is not None:
        return read_coding(coding, f"coding{which}")
    return Coded(
        given.text("system") or "",
        given.required(f"code{which}"),
        version=given.text("version") or "",
    )


def _spelled(system: CodeSystem, asked: Coded) -> str:
    found = system.find(asked.code)
    if found is None:
        raise UnknownCode(system.url, asked.code)
    return found.code


OPERATION = Operation(
    name="subsumes",
    run=test,
    levels=frozenset({"type", "instance"}),
    types=frozenset({"CodeSystem"}),
    summary="Tell whether one code is above another.",
    inputs=frozenset({"codeA", "codeB", "system", "version", "codingA", "codingB"}),
    definition=f"{HL7}CodeSystem-subsumes",
)
