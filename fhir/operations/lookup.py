"""CodeSystem/$lookup. https://hl7.org/fhir/R4/codesystem-operation-lookup.html"""

from collections.abc import Iterator

from fhir.documents import JsonObject
from fhir.operations.operation import HL7, Call, Operation
from fhir.operations.parameters import InvalidParameter, parameters, part, parts
from fhir.terminology.canonical import require_system
from fhir.terminology.coded import Coded, read_coding
from fhir.terminology.concepts import Concept
from fhir.terminology.errors import UnknownCode
from fhir.terminology.supplements import require_supplement, supplemented
from fhir.terminology.system import CodeSystem


def lookup(call: Call) -> JsonObject:
    """Return what a code system knows of a code: names, properties, parents and children."""
    asked = _asked(call)
    supplements = [require_supplement(url) for url in call.parameters.texts("useSupplement")]
    system = supplemented(require_system(asked.system, asked.version), supplements)
    concept = system.find(asked.code)
    if concept is None:
        raise UnknownCode(asked.system, asked.code)
    language = call.parameters.text("displayLanguage") or ""
    head = [part("name", valueString=system.name)]
    if system.version:
        head.append(part("version", valueString=system.version))
    display = concept.name_in(language) or concept.code
    head.append(part("display", valueString=display))
    wanted = set(call.parameters.texts("property"))
    return parameters(*head, *_designations(concept, wanted), *_properties(system, concept, wanted))


def _asked(call: Call) -> Coded:
    given = call.parameters
    coding = given.element("coding", "Coding")
    if coding is not None:
        asked = read_coding(coding)
    else:
        version = given.text("version") or ""
        asked = Coded(given.text("system") or "", given.required("code"), version=version)
    if not asked.system:
        raise InvalidParameter("Name the code system: `system` is required.", param="system")
    return asked


def _designations(concept: Concept, wanted: set[str]) -> Iterator[JsonObject]:
    if wanted and "designation" not in wanted and not any(w.startswith("lang.") for w in wanted):
        return
    for designation in concept.designations:
        inner = []
        if designation.language:
            inner.append(part("language", valueCode=designation.language))
        if designation.use:
            inner.append(part("use", valueCoding=dict(designation.use)))
        yield parts("designation", *inner, part("value", valueString=designation.value))


def _properties(system: CodeSystem, concept: Concept, wanted: set[str]) -> Iterator[JsonObject]:
    """Yield the properties asked for, all of them when none is named."""
    for name, entry in _all_properties(system, concept):
        if not wanted or name in wanted or "*" in wanted:
            yield entry


def _all_properties(system: CodeSystem, concept: Concept) -> Iterator[tuple[str, JsonObject]]:
    if concept.definition:
        yield "definition", _property("definition", valueString=concept.definition)
    for known in concept.properties:
        yield known.code, _property(known.code, **{f"value{known.kind}": known.value})
    if not any(known.code == "inactive" for known in concept.properties):
        yield "inactive", _property("inactive", valueBoolean=concept.inactive)
    for parent in concept.parents:
        yield "parent", _property("parent", valueCode=parent)
    for child in system.children(concept.code):
        yield "child", _property("child", valueCode=child)


def _property(code: str, **value: object) -> JsonObject:
    return parts("property", part("code", valueCode=code), part("value", **value))


OPERATION = Operation(
    name="lookup",
    run=lookup,
    levels=frozenset({"type"}),
    types=frozenset({"CodeSystem"}),
    summary="Tell what a code system knows of a code.",
    inputs=frozenset(
        {
            *("code", "system", "version", "coding", "date", "displayLanguage", "property"),
            "useSupplement",
        }
    ),
    definition=f"{HL7}CodeSystem-lookup",
)
