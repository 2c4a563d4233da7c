"""$validate-code of CodeSystem and ValueSet.

https://hl7.org/fhir/R4/codesystem-operation-validate-code.html and
https://hl7.org/fhir/R4/valueset-operation-validate-code.html
"""

from dataclasses import dataclass, replace
from typing import Final

from fhir import store
from fhir.documents import JsonObject
from fhir.operations.expand import asked_value_set, asked_versions
from fhir.operations.operation import HL7, Call, Operation
from fhir.operations.parameters import InvalidParameter, parameters, part
from fhir.terminology.canonical import find_system, require_system, system_of
from fhir.terminology.coded import Coded, asked_codes
from fhir.terminology.concepts import Concept
from fhir.terminology.errors import UnknownCanonical
from fhir.terminology.supplements import require_supplement, supplemented
from fhir.terminology.value_sets import Composition, systems_of

_SHARED: Final = frozenset(
    {
        *("url", "code", "version", "display", "coding", "codeableConcept", "date", "abstract"),
        *("displayLanguage", "lenient-display-validation"),
        *("useSupplement", "activeOnly"),
    }
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of one code."""

    coded: Coded
    concept: Concept | None = None
    version: str = ""
    message: str = ""
    is_open: bool = False
    """Whether the code may be right though it is not known: its system is here in part."""

    @property
    def is_right(self) -> bool:
        """Tell whether nothing speaks against the code."""
        return self.is_open or (self.concept is not None and not self.message)


def of_code_system(call: Call) -> JsonObject:
    """Tell whether a code is in a code system, and named rightly."""
    given = call.parameters
    codes = asked_codes(given, system="url")
    if call.id:
        system = system_of(store.read(resource_type="CodeSystem", id=call.id).resource)
    else:
        url = given.text("url") or codes[0].system
        if not url:
            raise InvalidParameter("Name the code system: give `url`.", param="url")
        try:
            system = require_system(url, given.text("version") or codes[0].version)
        except UnknownCanonical as error:  # whether the code is right can't be said: not that it is
            named = [replace(coded, system=coded.system or url) for coded in codes]
            return _answer(call, [Verdict(coded, message=error.message) for coded in named])
    supplements = [require_supplement(url) for url in given.texts("useSupplement")]
    system = supplemented(system, supplements)
    verdicts = []
    for coded in codes:
        if coded.system not in {"", system.url}:
            message = f"The code is of `{coded.system}`, not of `{system.url}`."
            verdicts.append(Verdict(coded, message=message))
            continue
        found = system.find(coded.code)
        verdict = Verdict(replace(coded, system=system.url), found, system.version)
        if found is None:
            message = f"The code `{coded.code}` is not in `{system.url}`."
            verdict = replace(verdict, message=message, is_open=system.content == "fragment")
        verdicts.append(_checked(call, verdict))
    return _answer(call, verdicts)


def of_value_set(call: Call) -> JsonObject:
    """Tell whether a code is in a value set, and named rightly."""
    versions = asked_versions(call)
    composition = Composition(versions=versions, refuses_versions=False)
    value_set = asked_value_set(call, composition)
    composition.begin(value_set, call.parameters.texts("useSupplement"))
    verdicts = []
    for coded in asked_codes(call.parameters):
        own = {coded.system: coded.version} if coded.version else {}
        composition.versions = replace(versions, coded=own)
        try:
            verdicts.append(_in_value_set(call, composition, value_set, coded))
        except UnknownCanonical as error:  # of what the value set draws on
            verdicts.append(Verdict(coded, message=error.message))
    return _answer(call, verdicts)


def _in_value_set(
    call: Call, composition: Composition, value_set: JsonObject, coded: Coded
) -> Verdict:
    name = str(value_set.get("url") or value_set.get("id") or "the value set")
    systems = [coded.system] if coded.system else systems_of(composition, value_set)
    found = [
        (system, member)
        for system in systems
        if (member := composition.find(value_set, system, coded.code)) is not None
    ]
    if len(found) > 1:
        several = ", ".join(f"`{system}`" for system, _ in found)
        return Verdict(coded, message=f"`{coded.code}` is in {name} in several systems: {several}.")
    if not found:
        known = find_system(coded.system, coded.version) if coded.system else None
        concept = known.find(coded.code) if known is not None else None
        where = f"{coded.system}|{coded.code}" if coded.system else coded.code
        message = f"The code `{where}` is not in the value set `{name}`."
        if known is None or concept is not None:
            version = known.version if known is not None else ""
            return Verdict(coded, concept, version, message)
        message += f" It is not in the code system `{coded.system}` either."
        is_open = known.content == "fragment" and _takes_all(value_set, coded.system)
        return Verdict(coded, message=message, is_open=is_open)
    [(system, member)] = found
    refusal = composition.versions.refusal(system, member.version)
    if refusal:
        return Verdict(replace(coded, system=system), member.concept, member.version, refusal)
    if coded.version and member.version and coded.version != member.version:
        message = (
            f"The value set has `{system}` in version `{member.version}`, not `{coded.version}`."
        )
        return Verdict(replace(coded, system=system), member.concept, member.version, message)
    named = replace(coded, system=system)
    return _checked(call, Verdict(named, member.concept, member.version))


def _takes_all(value_set: JsonObject, system: str) -> bool:
    """Tell whether a value set has every code of a system, as far as itself says."""
    compose = value_set.get("compose", {})
    return not compose.get("exclude") and any(
        include.get("system") == system and not include.keys() & {"concept", "filter", "valueSet"}
        for include in compose.get("include", ())
    )


def _checked(call: Call, verdict: Verdict) -> Verdict:
    """Hold a found code against its display, and against `abstract`."""
    concept, given = verdict.concept, call.parameters
    if concept is None or verdict.message:
        return verdict
    if given.truth("activeOnly") and concept.inactive:
        return replace(verdict, message=f"The code `{concept.code}` is inactive.")
    if concept.abstract and "abstract" in given and not given.truth("abstract"):
        return replace(verdict, message=f"The code `{concept.code}` is abstract.")
    display = verdict.coded.display
    if not display or given.truth("lenient-display-validation"):
        return verdict
    names = {" ".join(name.lower().split()) for name in concept.texts() if name}
    if names and " ".join(display.lower().split()) not in names:
        message = f"The display `{display}` is wrong: `{concept.code}` is `{concept.display}`."
        return replace(verdict, message=message)
    return verdict


def _answer(call: Call, verdicts: list[Verdict]) -> JsonObject:
    """Return the result: true when one coding of several is right."""
    right = next((v for v in verdicts if v.is_right), None)
    shown = right or next((v for v in verdicts if v.concept is not None), verdicts[0])
    found = [part("result", valueBoolean=right is not None)]
    said = verdicts if right is None else [right]
    if any(verdict.message for verdict in said):
        found.append(part("message", valueString=" ".join(v.message for v in said if v.message)))
    if shown.concept is not None:
        language = call.parameters.text("displayLanguage") or ""
        display = shown.concept.name_in(language)
        if display:
            found.append(part("display", valueString=display))
    found.append(part("code", valueCode=shown.coded.code))
    if shown.coded.system:
        found.append(part("system", valueUri=shown.coded.system))
    if shown.version:
        found.append(part("version", valueString=shown.version))
    return parameters(*found)


OPERATIONS = (
    Operation(
        name="validate-code",
        run=of_code_system,
        levels=frozenset({"type", "instance"}),
        types=frozenset({"CodeSystem"}),
        summary="Tell whether a code is in a code system.",
        inputs=_SHARED | {"codeSystem", "system"},
        definition=f"{HL7}CodeSystem-validate-code",
    ),
    Operation(
        name="validate-code",
        run=of_value_set,
        levels=frozenset({"type", "instance"}),
        types=frozenset({"ValueSet"}),
        summary="Tell whether a code is in a value set.",
        inputs=_SHARED
        | {
            *("context", "valueSet", "valueSetVersion", "system", "systemVersion", "inferSystem"),
            *("system-version", "force-system-version", "check-system-version"),
            "default-valueset-version",
        },
        definition=f"{HL7}ValueSet-validate-code",
    ),
)
