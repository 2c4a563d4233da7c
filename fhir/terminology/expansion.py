"""Expansions: pages of codes, named in a language, flat or nested.

https://hl7.org/fhir/R4/valueset.html#expansion
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from fhir.documents import JsonObject, instant
from fhir.terminology.concepts import Concept
from fhir.terminology.errors import TooCostly
from fhir.terminology.system import CodeSystem
from fhir.terminology.value_sets import Composition, Member

MAX_RETURNED: Final = 10_000
"""How many codes one answer may have."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How a client wants its expansion."""

    now: datetime
    offset: int = 0
    count: int | None = None
    designations: bool = False
    designation_filters: tuple[str, ...] = ()
    properties: tuple[str, ...] = ()
    language: str = ""
    nested: bool = False
    definition: bool = False
    echoed: tuple[tuple[str, Any], ...] = ()

    @property
    def is_page(self) -> bool:
        """Tell whether only a part is wanted."""
        return self.count is not None or self.offset > 0


def expand(value_set: JsonObject, composition: Composition, wish: Wish) -> JsonObject:
    """Return the value set with its expansion; raise TooCostly for more than one answer holds."""
    members, total = _page(value_set, composition, wish)
    if len(members) > MAX_RETURNED:
        raise TooCostly(
            f"The expansion has {total} codes, and an answer at most {MAX_RETURNED}: page through"
            " it with `count` and `offset`, or narrow it with `filter`.",
            param="count",
        )
    expansion: JsonObject = {
        "identifier": f"urn:uuid:{uuid.uuid4()}",
        "timestamp": instant(wish.now),
        "total": total,
    }
    if wish.is_page:
        expansion["offset"] = wish.offset
    expansion["parameter"] = _parameters(composition, wish)
    contains = [_entry(member, wish) for member in members]
    if wish.nested and not wish.is_page:
        contains = _nested(members, contains)
    if contains:
        expansion["contains"] = contains
    return {**_head(value_set, wish), "expansion": expansion}


def _head(value_set: JsonObject, wish: Wish) -> JsonObject:
    left_out = {"expansion", "text"} | (set() if wish.definition else {"compose"})
    return {
        "resourceType": "ValueSet",
        "status": "active",
        **{name: value for name, value in value_set.items() if name not in left_out},
    }


def _page(
    value_set: JsonObject, composition: Composition, wish: Wish
) -> tuple[Sequence[Member], int]:
    """Return the members of the page and how many there are in all."""
    simple = _single_system(value_set, composition)
    if simple is not None:
        system, include = simple
        wanted = composition.wanted(include, composition.narrowed(value_set["compose"]))
        total = system.count(wanted)
        limit = MAX_RETURNED + 1 if wish.count is None else wish.count
        concepts = system.select(wanted, offset=wish.offset, limit=min(limit, MAX_RETURNED + 1))
        return [Member(system.url, concept, system.version) for concept in concepts], total
    members = list(composition.members(value_set).values())
    end = None if wish.count is None else wish.offset + wish.count
    return members[wish.offset : end], len(members)


def _single_system(
    value_set: JsonObject, composition: Composition
) -> tuple[CodeSystem, JsonObject] | None:
    """Return the system of a value set that is one include by filters: it pages in the system."""
    compose = value_set.get("compose") or {}
    includes = compose.get("include", ())
    if len(includes) != 1 or compose.get("exclude"):
        return None
    [include] = includes
    if include.get("concept") or include.get("valueSet") or "system" not in include:
        return None
    if include["system"] in composition.excluded:
        return None
    system = composition.system(include)
    return None if system is None else (system, include)


def _parameters(composition: Composition, wish: Wish) -> list[JsonObject]:
    """Return what was asked for, and which versions were used."""
    found: list[JsonObject] = [{"name": n, **_value(value)} for n, value in wish.echoed]
    for name, used in (
        ("used-codesystem", composition.used_systems),
        ("used-valueset", composition.used_sets),
    ):
        found += [
            {"name": name, "valueUri": f"{url}|{version}" if version else url}
            for url, version in used.items()
        ]
    found += [
        {"name": "version", "valueUri": f"{url}|{version}"}
        for url, version in composition.used_systems.items()
        if version
    ]
    return found


def _value(value: object) -> JsonObject:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if text in {"true", "false"}:
        return {"valueBoolean": text == "true"}
    return {"valueInteger": int(text)} if text.isdecimal() else {"valueString": text}


def _entry(member: Member, wish: Wish) -> JsonObject:
    concept = member.concept
    entry: JsonObject = {"system": member.system}
    if concept.abstract:
        entry["abstract"] = True
    if concept.inactive:
        entry["inactive"] = True
    if member.version:
        entry["version"] = member.version
    entry["code"] = concept.code
    display = concept.name_in(wish.language)
    if display:
        entry["display"] = display
    designations = _designations(concept, wish) if wish.designations else []
    if designations:
        entry["designation"] = designations
    return entry


def _designations(concept: Concept, wish: Wish) -> list[JsonObject]:
    """Return the designations, of the languages and uses that are asked for."""
    wanted = [text.rpartition("|")[2] for text in wish.designation_filters]
    return [
        designation.as_fhir()
        for designation in concept.designations
        if not wanted
        or designation.language in wanted
        or str((designation.use or {}).get("code")) in wanted
    ]


def _nested(members: Iterable[Member], entries: list[JsonObject]) -> list[JsonObject]:
    """Return the entries under their first parent that is in the expansion too.

    What a value set lists one by one stays in the order of its list.
    """
    by_code = {(entry["system"], entry["code"]): entry for entry in entries}
    top: list[JsonObject] = []
    for member, entry in zip(members, entries, strict=True):
        parents = () if member.is_listed else member.concept.parents
        above = (by_code.get((member.system, parent)) for parent in parents)
        parent = next((found for found in above if found is not None), None)
        (top if parent is None else parent.setdefault("contains", [])).append(entry)
    return top
