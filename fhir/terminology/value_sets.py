"""Value sets: what they hold, and whether a code is in them.

https://hl7.org/fhir/R4/valueset.html#compositions
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fhir.terminology import canonical, implicit
from fhir.terminology.canonical import split
from fhir.terminology.concepts import Concept, read_designations
from fhir.terminology.errors import NotComputable, TooCostly, UnknownCanonical
from fhir.terminology.filters import read_filter
from fhir.terminology.memory import has_words
from fhir.terminology.supplements import require_supplement, supplemented, supplements_of
from fhir.terminology.system import CodeSystem, Selection

MAX_CODES: Final = 50_000
"""How many codes may be gathered for one expansion or filter."""

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Member:
    """A code in a value set: its system, its concept and the version it was taken from."""

    system: str
    concept: Concept
    version: str = ""
    is_listed: bool = False
    """Whether the value set lists it one by one, in an order of its own."""


@dataclass(frozen=True, slots=True)
class Versions:
    """Which versions of code systems a call wants, by url.

    `default` counts where the value set names none, `forced` always; `checked` must agree, and
    is the last to be asked; `coded` is of the codes themselves, where it fits what is wanted.
    """

    default: Mapping[str, str] = field(default_factory=dict)
    forced: Mapping[str, str] = field(default_factory=dict)
    checked: Mapping[str, str] = field(default_factory=dict)
    value_sets: Mapping[str, str] = field(default_factory=dict)
    coded: Mapping[str, str] = field(default_factory=dict)

    def of(self, system: str, named: str) -> str:
        """Return the version to use for a system, empty for the latest."""
        wanted = (
            self.forced.get(system)
            or named
            or self.default.get(system)
            or self.checked.get(system, "")
        )
        own = self.coded.get(system, "")
        return own if own and wanted and canonical.matches(own, wanted) else wanted

    def refusal(self, system: str, version: str) -> str:
        """Return what speaks against a version, empty where nothing does."""
        wanted = self.checked.get(system, "")
        if canonical.matches(version, wanted):
            return ""
        return (
            f"`{system}` is used in version `{version}`, and `check-system-version` asks for"
            f" `{wanted}`."
        )


@dataclass(slots=True)
class Composition:
    """Evaluates value sets for one call; remembers which versions it used.

    `selection` narrows every include: words of a text filter, active and selectable codes.
    """

    selection: Selection = field(default_factory=Selection)
    versions: Versions = field(default_factory=Versions)
    excluded: frozenset[str] = frozenset()
    supplements: list[dict[str, Any]] = field(default_factory=list)
    refuses_versions: bool = True
    """Whether a version that `check-system-version` does not allow ends the call."""
    contained: dict[str, dict[str, Any]] = field(default_factory=dict)
    used_systems: dict[str, str] = field(default_factory=dict)
    used_sets: dict[str, str] = field(default_factory=dict)
    _gathered: int = 0
    _open: list[str] = field(default_factory=list)

    # --- value sets and systems ---------------------------------------------------------------

    def value_set(self, url: str) -> dict[str, Any]:
        """Return a value set by canonical url; raise UnknownCanonical."""
        if url.startswith("#") and url in self.contained:
            return self.contained[url]
        bare, version = split(url)
        version = version or self.versions.value_sets.get(bare, "")
        found = canonical.find_resource("ValueSet", bare, version) or implicit.value_set(bare)
        if found is None:
            raise UnknownCanonical("ValueSet", bare, version)
        self.used_sets[bare] = str(found.get("version", ""))
        return found

    def begin(self, value_set: dict[str, Any], supplements: Iterable[str] = ()) -> None:
        """Take what a value set brings and needs: contained value sets, supplements.

        Raises UnknownCanonical for a supplement that is not here.
        """
        for resource in value_set.get("contained", ()):
            if resource.get("resourceType") == "ValueSet":
                self.contained[f"#{resource.get('id')}"] = resource
        for canonical_url in dict.fromkeys([*supplements_of(value_set), *supplements]):
            self.supplements.append(require_supplement(canonical_url))

    def system(self, include: Mapping[str, Any]) -> CodeSystem | None:
        """Return the code system of an include, None where its concepts are not known here."""
        url = str(include["system"])
        version = self.versions.of(url, str(include.get("version", "")))
        found = canonical.find_system(url, version)
        if found is not None:
            self._check_version(found)
            self.used_systems[found.url] = found.version
            found = supplemented(found, self.supplements) if self.supplements else found
        return found

    def _check_version(self, system: CodeSystem) -> None:
        refusal = self.versions.refusal(system.url, system.version)
        if refusal and self.refuses_versions:
            raise NotComputable(refusal, param="check-system-version")

    # --- all members --------------------------------------------------------------------------

    def members(self, value_set: dict[str, Any]) -> dict[Key, Member]:
        """Return everything in a value set, in its order; raise TooCostly above MAX_CODES."""
        compose = value_set.get("compose")
        if compose is None:
            return self._of_expansion(value_set)
        self._enter(value_set)
        found: dict[Key, Member] = {}
        for include in compose.get("include", ()):
            for key, member in self._included(include, self.narrowed(compose)).items():
                found.setdefault(key, member)
        for exclude in compose.get("exclude", ()):
            for key in self._included(exclude, Selection(words=self.selection.words)):
                found.pop(key, None)
        self._open.pop()
        return found

    def narrowed(self, compose: Mapping[str, Any]) -> Selection:
        """Return what the call selects, without inactive codes where the value set has none."""
        base = self.selection
        if compose.get("inactive") is not False:
            return base
        return Selection(words=base.words, active_only=True, selectable_only=base.selectable_only)

    def _included(self, include: Mapping[str, Any], narrow: Selection) -> dict[Key, Member]:
        sets = [self.members(self.value_set(url)) for url in include.get("valueSet", ())]
        if "system" in include:
            if include["system"] in self.excluded:
                return {}
            sets.insert(0, self._of_system(include, narrow))
        if not sets:
            raise NotComputable(
                "An include names a system or value sets.", param="ValueSet.compose.include"
            )
        first, *others = sets
        return {key: m for key, m in first.items() if all(key in other for other in others)}

    def _of_system(self, include: Mapping[str, Any], narrow: Selection) -> dict[Key, Member]:
        system = self.system(include)
        url = str(include["system"])
        if include.get("concept"):
            found = self._listed(include, system, narrow)
        elif system is None:
            raise _unknown_system(include)
        else:
            room = MAX_CODES - self._gathered
            concepts = system.select(self.wanted(include, narrow), offset=0, limit=room + 1)
            found = [Member(url, concept, system.version) for concept in concepts]
        self._gathered += len(found)
        if self._gathered > MAX_CODES:
            raise TooCostly(
                f"The value set has more than {MAX_CODES} codes. Narrow it with `filter`, or page"
                " through one code system with `count` and `offset`.",
                param="ValueSet.compose",
            )
        return {(member.system, member.concept.code): member for member in found}

    def wanted(self, include: Mapping[str, Any], narrow: Selection) -> Selection:
        """Return what an include selects of its system, narrowed by what the call wants."""
        return Selection(
            filters=tuple(read_filter(entry) for entry in include.get("filter", ())),
            words=narrow.words,
            active_only=narrow.active_only,
            selectable_only=narrow.selectable_only,
        )

    def _listed(
        self, include: Mapping[str, Any], system: CodeSystem | None, narrow: Selection
    ) -> list[Member]:
        """Return the concepts that an include lists, with what their system knows of them."""
        entries = {str(entry["code"]): entry for entry in include["concept"]}
        known: dict[str, Concept] = {}
        if system is not None:
            codes = tuple(entries)
            found = system.select(Selection(codes=codes), offset=0, limit=len(codes))
            known = {concept.code: concept for concept in found}
            lowered = {code.lower(): concept for code, concept in known.items()}
            for code in codes:  # where the system says that case is nothing
                if code not in known and system.find(code) is not None:
                    known[code] = lowered[code.lower()]
        members = []
        is_complete = system is not None and system.content == "complete"
        for code, entry in entries.items():
            if is_complete and code not in known:
                continue  # a code that its system does not have is no code
            concept = _as_listed(entry, known.get(code))
            if _passes(concept, narrow):
                version = system.version if system else ""
                members.append(Member(str(include["system"]), concept, version, is_listed=True))
        return members

    def _of_expansion(self, value_set: dict[str, Any]) -> dict[Key, Member]:
        """Return the members of a value set that brings its expansion and no definition."""
        found: dict[Key, Member] = {}
        waiting = list(reversed(value_set.get("expansion", {}).get("contains", ())))
        while waiting:
            entry = waiting.pop()
            waiting += reversed(entry.get("contains", ()))
            if "code" in entry and "system" in entry and not entry.get("abstract"):
                concept = _as_listed(entry, None)
                if _passes(concept, self.selection):
                    member = Member(str(entry["system"]), concept, str(entry.get("version", "")))
                    found[(member.system, concept.code)] = member
        return found

    # --- one code -----------------------------------------------------------------------------

    def find(self, value_set: dict[str, Any], system: str, code: str) -> Member | None:
        """Return a code of a value set, None where it is not in it; nothing is expanded."""
        compose = value_set.get("compose")
        if compose is None:
            return self._of_expansion(value_set).get((system, code))
        self._enter(value_set)
        found = None
        for include in compose.get("include", ()):
            found = self._find_included(include, system, code)
            if found is not None:
                break
        if found is not None and compose.get("inactive") is False and found.concept.inactive:
            found = None
        excludes = compose.get("exclude", ()) if found is not None else ()
        if any(self._find_included(exclude, system, code) for exclude in excludes):
            found = None
        self._open.pop()
        return found

    def _find_included(self, include: Mapping[str, Any], system: str, code: str) -> Member | None:
        found = None
        if "system" in include:
            found = self._find_in_system(include, code) if include["system"] == system else None
            if found is None:
                return None
        for url in include.get("valueSet", ()):
            also = self.find(self.value_set(url), system, code)
            if also is None:
                return None
            found = found or also
        return found

    def _find_in_system(self, include: Mapping[str, Any], code: str) -> Member | None:
        system = self.system(include)
        url = str(include["system"])
        if include.get("concept"):
            entry = next((e for e in include["concept"] if e.get("code") == code), None)
            if entry is None:
                return None
            known = system.find(code) if system else None
            if known is None and system is not None and system.content == "complete":
                return None
            concept = _as_listed(entry, known)
            return Member(url, concept, system.version if system else "")
        if system is None:
            raise _unknown_system(include)
        filters = tuple(read_filter(entry) for entry in include.get("filter", ()))
        found = system.select(Selection(filters=filters, codes=(code,)), offset=0, limit=1)
        return Member(url, found[0], system.version) if found else None

    def _enter(self, value_set: dict[str, Any]) -> None:
        """Refuse a value set that imports itself."""
        url = str(value_set.get("url", ""))
        if url and url in self._open:
            raise NotComputable(f"The value set `{url}` imports itself.", param="ValueSet.compose")
        self._open.append(url)


def systems_of(composition: Composition, value_set: dict[str, Any]) -> list[str]:
    """Return the code systems that a value set draws on, through its imports too."""
    found: dict[str, None] = {}
    waiting, seen = [value_set], set[str]()
    while waiting:
        current = waiting.pop()
        for include in current.get("compose", {}).get("include", ()):
            if "system" in include:
                found[str(include["system"])] = None
            for url in set(include.get("valueSet", ())) - seen:
                seen.add(url)
                waiting.append(composition.value_set(url))
        for entry in current.get("expansion", {}).get("contains", ()):
            found[str(entry.get("system", ""))] = None
    return [url for url in found if url]


def _as_listed(entry: Mapping[str, Any], known: Concept | None) -> Concept:
    """Return a concept as a value set shows it: its own display wins."""
    own = read_designations(entry.get("designation", ()))
    base = known or Concept(str(entry["code"]))
    return Concept(
        code=base.code,
        display=str(entry.get("display") or base.display),
        definition=base.definition,
        parents=base.parents,
        designations=(*own, *base.designations),
        properties=base.properties,
    )


def _passes(concept: Concept, narrow: Selection) -> bool:
    if narrow.active_only and concept.inactive:
        return False
    if narrow.selectable_only and concept.abstract:
        return False
    return not narrow.words or has_words(concept, narrow.words)


def _unknown_system(include: Mapping[str, Any]) -> UnknownCanonical:
    return UnknownCanonical(
        "CodeSystem",
        str(include["system"]),
        str(include.get("version", "")),
        hint="Its concepts are needed here: store it as a CodeSystem, or import its release.",
    )
