"""Reads the release files of LOINC, SNOMED CT, RxNorm and CodeSystem resources.

https://loinc.org/kb/loinc-release-artifacts/, https://docs.snomed.org/snomed-ct-specifications,
https://www.nlm.nih.gov/research/umls/rxnorm/docs/techdoc.html
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import orjson

from fhir.terminology.concepts import Concept, Designation, Property
from fhir.terminology.errors import NotComputable
from fhir.terminology.implicit import LOINC, SNOMED
from fhir.terminology.importing.files import ReleaseFiles
from fhir.terminology.importing.loading import Release
from fhir.terminology.memory import MemorySystem
from fhir.terminology.system import Selection

RXNORM: Final = "http://www.nlm.nih.gov/research/umls/rxnorm"
_LOINC_AXES: Final = (
    *("COMPONENT", "PROPERTY", "TIME_ASPCT", "SYSTEM", "SCALE_TYP", "METHOD_TYP", "CLASS"),
    *("STATUS", "ORDER_OBS"),
)
_IS_A: Final = "116680003"
_FULL_NAME: Final = "900000000000003001"
_PREFERRED: Final = "900000000000548007"
_EDITION: Final = "http://snomed.info/sct/900000000000207008"
_RXNORM_NAMES: Final = ("SCD", "SBD", "GPCK", "BPCK", "IN", "PIN", "MIN", "BN", "PSN", "SY")


def read_loinc(files: ReleaseFiles, version: str) -> Release:
    """Return LOINC: its terms, the parts of its hierarchy, the answers of its lists."""
    return Release(LOINC, version, "LOINC", _loinc(files), f"{LOINC}/vs")


def _loinc(files: ReleaseFiles) -> Iterator[Concept]:
    parents: dict[str, list[str]] = {}
    parts: dict[str, str] = {}
    for name in files.find("*ComponentHierarchyBySystem.csv"):
        for row in files.rows(name, ("IMMEDIATE_PARENT", "CODE", "CODE_TEXT")):
            if row["IMMEDIATE_PARENT"]:
                parents.setdefault(row["CODE"], []).append(row["IMMEDIATE_PARENT"])
            if row["CODE"].startswith("LP"):
                parts[row["CODE"]] = row["CODE_TEXT"]
    for name in files.require("*Loinc.csv"):
        for row in files.rows(name, ("LOINC_NUM", "LONG_COMMON_NAME", "STATUS")):
            yield _loinc_term(row, tuple(dict.fromkeys(parents.get(row["LOINC_NUM"], ()))))
    for code, text in parts.items():
        yield Concept(code, text, parents=tuple(dict.fromkeys(parents.get(code, ()))))
    yield from _loinc_answers(files)


def _loinc_term(row: dict[str, str], parents: tuple[str, ...]) -> Concept:
    properties = [Property(a, "String", row[a]) for a in _LOINC_AXES if row.get(a)]
    if row["STATUS"] == "DEPRECATED":
        properties.append(Property("inactive", "Boolean", True))
    names = [row.get("SHORTNAME", ""), row.get("CONSUMER_NAME", "")]
    return Concept(
        code=row["LOINC_NUM"],
        display=row["LONG_COMMON_NAME"],
        parents=parents,
        designations=tuple(Designation(name, "en") for name in names if name),
        properties=tuple(properties),
    )


def _loinc_answers(files: ReleaseFiles) -> Iterator[Concept]:
    lists: dict[str, list[str]] = {}
    texts: dict[str, str] = {}
    for name in files.find("*AnswerList.csv"):
        for row in files.rows(name, ("AnswerListId", "AnswerStringId", "DisplayText")):
            if row["AnswerStringId"]:
                texts.setdefault(row["AnswerStringId"], row["DisplayText"])
                lists.setdefault(row["AnswerStringId"], []).append(row["AnswerListId"])
    for code, text in texts.items():
        of = tuple(Property("answer-list", "Code", found) for found in lists[code])
        yield Concept(code, text, properties=of)


def read_snomed(files: ReleaseFiles, version: str) -> Release:
    """Return the active and inactive concepts of a SNOMED CT snapshot with their names."""
    uri = version if version.startswith("http") else f"{_EDITION}/version/{version}"
    return Release(SNOMED, uri, "SNOMED CT", _snomed(files), f"{SNOMED}?fhir_vs")


def _snomed(files: ReleaseFiles) -> Iterator[Concept]:
    names = _snomed_names(files)
    relations = files.require("*sct2_Relationship_Snapshot*.txt")
    parents = _active(files, relations, "sourceId", "destinationId", typeId=_IS_A)
    refsets = files.find("*der2_Refset_Simple*Snapshot*.txt")
    members = _active(files, refsets, "referencedComponentId", "refsetId")
    for name in files.require("*sct2_Concept_Snapshot*.txt"):
        for row in files.rows(name, ("id", "active"), delimiter="\t"):
            code = row["id"]
            display, designations = names.get(code, (code, ()))
            properties = [Property("inactive", "Boolean", row["active"] != "1")]
            properties += [Property("refset", "Code", found) for found in members.get(code, ())]
            above = tuple(dict.fromkeys(parents.get(code, ())))
            yield Concept(code, display, "", above, designations, tuple(properties))


def _active(
    files: ReleaseFiles, names: Sequence[str], key: str, value: str, **wanted: str
) -> dict[str, list[str]]:
    """Return a column of the active rows of RF2 files by another column."""
    found: dict[str, list[str]] = {}
    for name in names:
        for row in files.rows(name, ("active", key, value), delimiter="\t"):
            if row["active"] == "1" and all(row[c] == text for c, text in wanted.items()):
                found.setdefault(row[key], []).append(row[value])
    return found


def _snomed_names(files: ReleaseFiles) -> dict[str, tuple[str, tuple[Designation, ...]]]:
    """Return the preferred name and all other names of each concept."""
    preferred: set[str] = set()
    for name in files.find("*der2_cRefset_Language*Snapshot*.txt"):
        for row in files.rows(name, ("active", "acceptabilityId"), delimiter="\t"):
            if row["active"] == "1" and row["acceptabilityId"] == _PREFERRED:
                preferred.add(row["referencedComponentId"])
    found: dict[str, list[tuple[int, Designation]]] = {}
    for name in files.require("*sct2_Description_Snapshot*.txt"):
        for row in files.rows(name, ("id", "active", "conceptId", "term"), delimiter="\t"):
            if row["active"] != "1":
                continue
            is_full = row["typeId"] == _FULL_NAME
            rank = (0 if row["id"] in preferred else 1) if not is_full else 2
            use = {"system": SNOMED, "code": row["typeId"]}
            designation = Designation(row["term"], row["languageCode"], use)
            found.setdefault(row["conceptId"], []).append((rank, designation))
    best = {code: min(names, key=lambda pair: pair[0])[1] for code, names in found.items()}
    return {
        code: (best[code].value, tuple(designation for _, designation in names))
        for code, names in found.items()
    }


def read_rxnorm(files: ReleaseFiles, version: str) -> Release:
    """Return RxNorm: its own names, and what is a form of what."""
    return Release(RXNORM, version, "RxNorm", _rxnorm(files), f"{RXNORM}/vs")


def _rxnorm(files: ReleaseFiles) -> Iterator[Concept]:
    parents: dict[str, list[str]] = {}
    for name in files.find("*RXNREL.RRF"):
        for row in files.lines(name):
            if len(row) > 7 and row[7] == "isa":  # the second is a kind of the first
                parents.setdefault(row[4], []).append(row[0])
    names: dict[str, list[tuple[str, str, str]]] = {}
    for name in files.require("*RXNCONSO.RRF"):
        for row in files.lines(name):
            if len(row) > 16 and row[11] == "RXNORM":
                names.setdefault(row[0], []).append((row[12], row[14], row[16]))
    for code, known in names.items():
        ranked = sorted(known, key=lambda entry: _rank(entry[0]))
        kind, display, _ = ranked[0]
        is_gone = all(suppressed in {"O", "Y", "E"} for _, _, suppressed in known)
        yield Concept(
            code=code,
            display=display,
            parents=tuple(dict.fromkeys(parents.get(code, ()))),
            designations=tuple(Designation(text, "en") for _, text, _ in ranked[1:]),
            properties=(Property("TTY", "Code", kind), Property("inactive", "Boolean", is_gone)),
        )


def _rank(kind: str) -> int:
    return _RXNORM_NAMES.index(kind) if kind in _RXNORM_NAMES else len(_RXNORM_NAMES)


def read_resource(files: ReleaseFiles, version: str) -> Release:
    """Return the concepts of a CodeSystem resource."""
    [name] = files.require("*.json")[:1]
    with files.open(name) as text:
        resource = orjson.loads(text.read())
    if not isinstance(resource, dict) or resource.get("resourceType") != "CodeSystem":
        raise NotComputable(f"{name} holds no CodeSystem.", param="resourceType")
    system = MemorySystem(resource)
    concepts = system.select(Selection(), offset=0, limit=10_000_000)
    return Release(system.url, version or system.version, system.name, concepts, system.value_set)


FORMATS: Final[dict[str, Callable[[ReleaseFiles, str], Release]]] = {
    "loinc": read_loinc,
    "snomed": read_snomed,
    "rxnorm": read_rxnorm,
    "codesystem": read_resource,
}


def read_release(kind: str, path: Path, version: str) -> Release:
    """Return the release in a folder, a zip archive or a file; raises MissingFile."""
    return FORMATS[kind](ReleaseFiles(path), version)
