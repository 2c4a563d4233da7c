"""The official cases of JSON Patch and FHIRPath Patch."""

import json
import tarfile
from functools import cache
from typing import Any
from xml.etree import ElementTree

import pytest

from fhir.codecs.xml import from_xml
from fhir.patches import PatchFailed, read_patch
from fhir.patches.json_patch import apply_operations, read_operations
from fhir.patches.values import decode, encode
from tests.fhir.conftest import DATA

ARCHIVE = DATA / "fhirpath-patch-sqlonfhir-tests.tar.xz"
needs_archive = pytest.mark.skipif(
    not ARCHIVE.exists(), reason="../shared/data/fhirpath-patch-sqlonfhir-tests.tar.xz is not here"
)


@cache
def case_file(name: str) -> bytes:
    with tarfile.open(ARCHIVE) as archive:
        file = archive.extractfile(f"patch/{name}")
        assert file is not None
        return file.read()


@needs_archive
def test_json_patch() -> None:
    cases = json.loads(case_file("json-patch-tests.json"))
    assert len(cases) == 16
    for case in cases:
        document = decode(json.dumps(case["doc"]))
        if "expected" in case:
            result = apply_operations(document, read_operations(case["patch"]))
            assert json.loads(encode(result)) == case["expected"], case["comment"]
        else:
            with pytest.raises(PatchFailed):
                apply_operations(document, read_operations(case["patch"]))


def resource_in(case: ElementTree.Element, name: str) -> bytes | None:
    found = case.find(name)
    if found is None:
        return None
    return from_xml(ElementTree.tostring(found[0], encoding="utf-8"))


def plain(resource: Any) -> Any:
    """Leave out the narrative: white space in it is spelled differently in each place."""
    return {**resource, "text": None} if "text" in resource else resource


@needs_archive
def test_fhirpath_patch() -> None:
    cases = ElementTree.fromstring(case_file("fhir-patch-tests.xml")).findall("case")
    assert len(cases) == 33
    for case in cases:
        before, patch = resource_in(case, "input"), resource_in(case, "diff")
        assert before is not None
        assert patch is not None
        after = resource_in(case, "output")
        for kind in ("application/fhir+json", "application/json"):
            read = read_patch(patch, kind)
            if after is None:
                with pytest.raises(PatchFailed):
                    read.apply(before)
                continue
            result = read.apply(before).data
            assert plain(result) == plain(json.loads(after)), case.get("name")
