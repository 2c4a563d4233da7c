"""ValueSet/$expand. https://hl7.org/fhir/R4/valueset-operation-expand.html"""

from typing import Final

from fhir import store
from fhir.documents import JsonObject
from fhir.operations.operation import HL7, Call, Operation
from fhir.operations.parameters import InvalidParameter
from fhir.search.extractors import fold
from fhir.terminology.canonical import split
from fhir.terminology.expansion import Wish, expand
from fhir.terminology.system import Selection
from fhir.terminology.value_sets import Composition, Versions

_ECHOED: Final = (
    *("filter", "offset", "count", "activeOnly", "displayLanguage", "includeDesignations"),
    *("excludeNested", "excludeNotForUI", "excludePostCoordinated"),
)


def run(call: Call) -> JsonObject:
    """Return a value set with the codes that are in it."""
    given = call.parameters
    words = tuple(fold(given.text("filter") or "").split())
    composition = Composition(
        selection=Selection(
            words=words,
            active_only=given.truth("activeOnly"),
            selectable_only=given.truth("excludeNotForUI"),
        ),
        versions=asked_versions(call),
        excluded=frozenset(given.texts("exclude-system")),
    )
    wish = Wish(
        offset=given.integer("offset") or 0,
        count=given.integer("count"),
        designations=given.truth("includeDesignations"),
        designation_filters=tuple(given.texts("designation")),
        properties=tuple(given.texts("property")),
        language=given.text("displayLanguage") or "",
        nested=not given.truth("excludeNested", default=True),
        definition=given.truth("includeDefinition"),
        echoed=tuple((name, given.all(name)[0].value) for name in _ECHOED if name in given),
        now=call.now,
    )
    value_set = asked_value_set(call, composition)
    composition.begin(value_set, given.texts("useSupplement"))
    return expand(value_set, composition, wish)


def asked_value_set(call: Call, composition: Composition) -> JsonObject:
    """Return the value set of a call: addressed, sent or named by its url."""
    given = call.parameters
    if call.id:
        return store.read(resource_type="ValueSet", id=call.id).resource
    sent = call.body.data if call.body is not None else given.resource("valueSet")
    url = given.text("url")
    if sent is not None:
        if sent.get("resourceType") != "ValueSet":
            raise InvalidParameter("`valueSet` must be a ValueSet.", param="valueSet")
        return sent
    if not url:
        raise InvalidParameter(
            "Name the value set: give `url`, send `valueSet`, or call the operation on one.",
            param="url",
        )
    version = given.text("valueSetVersion")
    return composition.value_set(f"{url}|{version}" if version and "|" not in url else url)


def asked_versions(call: Call) -> Versions:
    """Return the versions of code systems that a call names."""
    given = call.parameters

    def named(name: str) -> dict[str, str]:
        return dict(split(text) for text in given.texts(name))

    return Versions(
        default=named("system-version"),
        forced=named("force-system-version"),
        checked=named("check-system-version"),
        value_sets=named("default-valueset-version"),
    )


OPERATION = Operation(
    name="expand",
    run=run,
    levels=frozenset({"type", "instance"}),
    types=frozenset({"ValueSet"}),
    summary="Return the codes that are in a value set.",
    inputs=frozenset(
        {
            *("url", "valueSet", "valueSetVersion", "date", "property", "designation"),
            *("includeDefinition", "exclude-system", "system-version", "check-system-version"),
            *("force-system-version", "default-valueset-version", "limitedExpansion"),
            "useSupplement",
            *_ECHOED,
        }
    ),
    definition=f"{HL7}ValueSet-expand",
    bare="valueSet",
)
