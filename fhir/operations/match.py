"""`Patient/$match`: who of the known patients someone could be.

https://hl7.org/fhir/R4/patient-operation-match.html
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from fhir.bundles import scored_set
from fhir.documents import JsonObject, from_dict
from fhir.errors import ResourceMismatch
from fhir.operations.operation import HL7, Call, Operation
from fhir.operations.parameters import InvalidParameter
from fhir.search.extractors import fold
from fhir.search.service import search
from fhir.search.values import escape
from fhir.stored import StoredResource
from fhir.writing import refuse_invalid

GRADE: Final = "http://hl7.org/fhir/StructureDefinition/match-grade"
CERTAIN: Final = 0.95
PROBABLE: Final = 0.8
POSSIBLE: Final = 0.5
_CANDIDATES: Final = 200
_COUNT: Final = 20
_DIGITS: Final = re.compile(r"\D+")


@dataclass(frozen=True, slots=True)
class Trait:
    """What is compared: its weight where both sides have it, and how alike they are (0 to 1)."""

    name: str
    weight: float
    alike: Callable[[JsonObject, JsonObject], float | None]


def _shared(one: Iterable[str], other: Iterable[str]) -> float | None:
    first, second = set(one), set(other)
    if not first or not second:
        return None
    return 1.0 if first & second else 0.0


def _names(patient: JsonObject, member: str) -> list[str]:
    found: list[str] = []
    for name in patient.get("name", ()):
        value = name.get(member, ())
        found += [fold(text) for text in ([value] if isinstance(value, str) else value) if text]
    return found


def _family(one: JsonObject, other: JsonObject) -> float | None:
    return _closest(_names(one, "family"), _names(other, "family"))


def _given(one: JsonObject, other: JsonObject) -> float | None:
    return _closest(_names(one, "given"), _names(other, "given"))


def _closest(one: Sequence[str], other: Sequence[str]) -> float | None:
    """Return how alike the most alike pair is, None where a side has none."""
    if not one or not other:
        return None
    return max(similarity(first, second) for first in one for second in other)


def similarity(one: str, other: str) -> float:
    """Return the Jaro-Winkler similarity of two texts (Winkler 1990), 0 to 1."""
    if one == other:
        return 1.0
    matches, swapped = _jaro_matches(one, other)
    if not matches:
        return 0.0
    jaro = (matches / len(one) + matches / len(other) + (matches - swapped) / matches) / 3
    prefix = next((i for i in range(4) if one[i : i + 1] != other[i : i + 1]), 4)
    return jaro + prefix * 0.1 * (1 - jaro)


def _jaro_matches(one: str, other: str) -> tuple[int, float]:
    """Return how many characters match within the window, and half of those out of order."""
    window = max(len(one), len(other)) // 2 - 1
    free = [True] * len(other)
    first: list[str] = []
    for position, character in enumerate(one):
        low, high = max(0, position - window), min(len(other), position + window + 1)
        at = next((i for i in range(low, high) if free[i] and other[i] == character), None)
        if at is not None:
            free[at] = False
            first.append(character)
    second = [character for character, unused in zip(other, free, strict=True) if not unused]
    return len(first), sum(a != b for a, b in zip(first, second, strict=True)) / 2


def _birth(one: JsonObject, other: JsonObject) -> float | None:
    first, second = str(one.get("birthDate", "")), str(other.get("birthDate", ""))
    if not first or not second:
        return None
    length = min(len(first), len(second))
    if first[:length] == second[:length]:
        return 1.0 if length == 10 else 0.7
    differing = sum(a != b for a, b in zip(first, second, strict=False))
    # One digit off, or day and month the other way round, is how dates are mistyped.
    turned = length == 10 and first == f"{second[:4]}-{second[8:]}-{second[5:7]}"
    return 0.6 if turned or (length == 10 and differing == 1) else 0.0


def _gender(one: JsonObject, other: JsonObject) -> float | None:
    known = [side.get("gender") for side in (one, other)]
    if not all(known) or "unknown" in known:
        return None
    return 1.0 if known[0] == known[1] else 0.0


def _telecom(one: JsonObject, other: JsonObject) -> float | None:
    return _shared(_contacts(one), _contacts(other))


def _contacts(patient: JsonObject) -> list[str]:
    found = []
    for point in patient.get("telecom", ()):
        value = str(point.get("value", ""))
        if point.get("system") == "email":
            found.append(value.lower())
        elif digits := _DIGITS.sub("", value):
            found.append(digits[-9:])
    return found


def _postal(one: JsonObject, other: JsonObject) -> float | None:
    return _shared(*([a["postalCode"] for a in side.get("address", ()) if "postalCode" in a]
                     for side in (one, other)))  # fmt: skip


def _identifiers(patient: JsonObject) -> set[tuple[str, str]]:
    return {
        (str(i.get("system", "")), str(i["value"]))
        for i in patient.get("identifier", ())
        if i.get("value")
    }


_TRAITS: Final = (
    Trait("birthDate", 4.0, _birth),
    Trait("family", 3.5, _family),
    Trait("given", 3.0, _given),
    Trait("telecom", 2.0, _telecom),
    Trait("address", 1.0, _postal),
    Trait("gender", 0.5, _gender),
)
_ENOUGH: Final = 8.0


def score(wanted: JsonObject, known: JsonObject) -> float:
    """Return how likely two records are one person, 0 to 1.

    The weighted likeness of what both have, in proportion to what it takes to be sure: names and
    date of birth alone are enough for `probable`, with a contact for `certain`. A common
    identifier of the same system makes it certain unless name and date of birth both speak
    against it.
    """
    pairs = [(trait, trait.alike(wanted, known)) for trait in _TRAITS]
    present = [(trait.weight, alike) for trait, alike in pairs if alike is not None]
    weight = sum(weight for weight, _ in present)
    found = sum(weight * alike for weight, alike in present)
    demographic = found / max(weight, _ENOUGH) if weight else 0.0
    if weight >= 10.5:
        demographic = found / weight
    demographic = min(demographic, PROBABLE + 0.1 if weight < 12 else 0.99)
    if _identifiers(wanted) & _identifiers(known):
        contradicted = weight >= 7 and found / weight < 0.3
        return 0.6 if contradicted else max(demographic, 0.99)
    return demographic


def grade(value: float) -> str:
    """Return the code of match-grade for a score."""
    if value >= CERTAIN:
        return "certain"
    if value >= PROBABLE:
        return "probable"
    return "possible" if value >= POSSIBLE else "certainly-not"


def match(call: Call) -> bytes:
    """Answer the patients that the one sent could be, the likeliest first, with score and grade.

    `onlyCertainMatches` answers at most one, and none where two are certain; `count` limits (20).
    """
    wanted = _wanted(call)
    only = call.parameters.truth("onlyCertainMatches")
    count = call.parameters.integer("count", minimum=1) or _COUNT
    scored = [(score(wanted, known.resource), known) for known in _candidates(call, wanted)]
    likely = sorted(
        ((value, known) for value, known in scored if value >= POSSIBLE),
        key=lambda pair: (-pair[0], pair[1].id),
    )
    if only:
        likely = [pair for pair in likely if grade(pair[0]) == "certain"]
        likely = likely if len(likely) == 1 else []
    return scored_set(
        [(known, _judged(value)) for value, known in likely[:count]],
        base=call.base,
        address=call.address,
        now=call.now,
    )


def _wanted(call: Call) -> JsonObject:
    wanted = call.body.data if call.body is not None else call.parameters.resource("resource")
    if wanted is None:
        raise InvalidParameter("Send the Patient as `resource`.", param="resource")
    if wanted.get("resourceType") != "Patient":
        raise ResourceMismatch("`resource` must be a Patient.", param="resource")
    refuse_invalid(from_dict(wanted))
    return wanted


def _candidates(call: Call, wanted: JsonObject) -> list[StoredResource]:
    """Return who shares an identifier, the date of birth, or the family name and a given name."""
    queries: list[list[tuple[str, str]]] = []
    identifiers = [f"{escape(s)}|{escape(v)}" for s, v in sorted(_identifiers(wanted))]
    if identifiers:
        queries.append([("identifier", ",".join(identifiers))])
    if len(str(wanted.get("birthDate", ""))) == 10:
        queries.append([("birthdate", str(wanted["birthDate"]))])
    family, given = _names(wanted, "family"), _names(wanted, "given")
    if family:
        names = [("family", ",".join(escape(name) for name in family))]
        if given:
            names.append(("given", ",".join(escape(name[:3]) for name in given)))
        queries.append(names)
    if not queries:
        raise InvalidParameter(
            "Send an identifier, a full birthDate or a family name to match by.", param="resource"
        )
    found: dict[str, StoredResource] = {}
    for query in queries:
        pairs = [*query, ("_count", str(_CANDIDATES))]
        page = search(resource_type="Patient", query=pairs, now=call.now, strict=True)
        found.update({patient.id: patient for patient in page.entries})
    return list(found.values())


def _judged(value: float) -> JsonObject:
    return {"extension": [{"url": GRADE, "valueCode": grade(value)}], "score": round(value, 3)}


OPERATION = Operation(
    name="match",
    run=match,
    levels=frozenset({"type"}),
    types=frozenset({"Patient"}),
    summary="Answer the patients that someone could be.",
    inputs=frozenset({"resource", "onlyCertainMatches", "count"}),
    definition=f"{HL7}Patient-match",
    bare="resource",
    weight=3,
)
