"""ConceptMap/$translate. https://hl7.org/fhir/R4/conceptmap-operation-translate.html"""

from fhir import store
from fhir.documents import JsonObject
from fhir.operations.operation import HL7, Call, Operation
from fhir.operations.parameters import InvalidParameter, parameters, part, parts
from fhir.terminology.coded import Coded, asked_codes, read_coding
from fhir.terminology.maps import NEGATIVE, Match, Question, maps_between, require_map, translate
from healthcloud.tenancy.scope import active_project


def run(call: Call) -> JsonObject:
    """Return the codes that a code means in another system or value set."""
    codes = asked_codes(call.parameters)
    if any(not coded.system for coded in codes):
        raise InvalidParameter("Name the code system: `system` is required.", param="system")
    maps = _maps(call)
    found: dict[Match, None] = {}
    for concept_map in maps:
        for coded in codes:
            found.update(dict.fromkeys(_told(translate(concept_map, _question(call, coded)))))
    matches = list(found)
    result = any(match.equivalence not in NEGATIVE for match in matches)
    answer = [part("result", valueBoolean=result)]
    if not matches:
        named = ", ".join(f"{coded.system}|{coded.code}" for coded in codes)
        tried = f"{len(maps)} concept maps" if len(maps) != 1 else "The concept map"
        answer.append(part("message", valueString=f"No match of {named}. Asked: {tried}."))
    return parameters(*answer, *(_part(match) for match in matches))


def _told(matches: list[Match]) -> list[Match]:
    return [match for match in matches if match.code or match.equivalence in NEGATIVE]


def _question(call: Call, coded: Coded) -> Question:
    given = call.parameters
    dependencies = []
    for inner in given.parts("dependency"):
        concept = inner.element("concept", "CodeableConcept") or {}
        for coding in concept.get("coding", ()):
            read = read_coding(coding, "dependency.concept")
            dependencies.append((inner.text("element") or "", read.system, read.code))
    return Question(
        coded,
        target_system=given.text("targetsystem") or given.text("targetSystem") or "",
        dependencies=tuple(dependencies),
        reverse=given.truth("reverse"),
    )


def _maps(call: Call) -> list[JsonObject]:
    given = call.parameters
    if call.id:
        return [store.read(resource_type="ConceptMap", id=call.id).resource]
    sent = call.body.data if call.body is not None else given.resource("conceptMap")
    if sent is not None:
        if sent.get("resourceType") != "ConceptMap":
            raise InvalidParameter("`conceptMap` must be a ConceptMap.", param="conceptMap")
        return [sent]
    url = given.text("url")
    if url:
        version = given.text("conceptMapVersion")
        return [require_map(f"{url}|{version}" if version else url)]
    source, target = given.text("source") or "", given.text("target") or ""
    if given.truth("reverse"):
        source, target = target, source
    if not (source or target or given.text("targetsystem") or given.text("targetSystem")):
        raise InvalidParameter(
            "Name the map: give `url`, `source` and `target`, `targetsystem`, or send"
            " `conceptMap`.",
            param="url",
        )
    return maps_between(source, target, active_project()[1])


def _part(match: Match) -> JsonObject:
    coding = {"system": match.system, "version": match.version, "code": match.code}
    shown = {**coding, "display": match.display, "userSelected": False}
    inner = [part("equivalence", valueCode=match.equivalence)]
    if match.code:
        filled = {name: value for name, value in shown.items() if value != ""}
        inner.append(part("concept", valueCoding=filled))
    for element, system, value, display in match.products:
        concept = {"system": system, "code": value, "display": display}
        filled = {name: text for name, text in concept.items() if text}
        inner.append(
            parts("product", part("element", valueUri=element), part("concept", valueCoding=filled))
        )
    if match.source:
        inner.append(part("source", valueUri=match.source))
    return parts("match", *inner)


OPERATION = Operation(
    name="translate",
    run=run,
    levels=frozenset({"type", "instance"}),
    types=frozenset({"ConceptMap"}),
    summary="Return the codes that a code means elsewhere.",
    inputs=frozenset(
        {
            *("url", "conceptMap", "conceptMapVersion", "code", "system", "version", "source"),
            *("coding", "codeableConcept", "target", "targetsystem", "targetSystem"),
            *("dependency", "reverse"),
        }
    ),
    definition=f"{HL7}ConceptMap-translate",
    bare="conceptMap",
)
