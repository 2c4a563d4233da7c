"""View definitions give the tables that SQL on FHIR v2's own cases expect."""

import json
import tarfile
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from fhir.analytics.errors import InvalidView
from fhir.analytics.view import compile_view
from tests.fhir.conftest import DATA

ARCHIVE = DATA / "fhirpath-patch-sqlonfhir-tests.tar.xz"
decode = msgspec.json.Decoder(float_hook=Decimal).decode


def read_cases() -> list[Any]:
    if not ARCHIVE.exists():
        reason = pytest.mark.skip(reason="the shared corpora are not here")
        return [pytest.param({}, [], marks=reason, id="none")]
    cases = []
    with tarfile.open(ARCHIVE) as archive:
        for member in archive:
            if "sql-on-fhir/" in member.name and member.name.endswith(".json"):
                content = decode(archive.extractfile(member).read())  # type: ignore[union-attr]
                name = member.name.rpartition("/")[2].removesuffix(".json")
                cases += [
                    pytest.param(case, content["resources"], id=f"{name}: {case['title']}")
                    for case in content["tests"]
                ]
    return cases


def table(view: dict[str, Any], resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    compiled = compile_view(view)
    return [
        row
        for resource in resources
        if resource["resourceType"] == compiled.resource_type
        for row in compiled.rows(resource)
    ]


@pytest.mark.parametrize(("case", "resources"), read_cases())
def test_the_cases_of_sql_on_fhir(case: dict[str, Any], resources: list[dict[str, Any]]) -> None:
    if case.get("expectError"):
        with pytest.raises(InvalidView):
            table(case["view"], resources)
        return
    found = table(case["view"], resources)

    def ordered(rows: list[dict[str, Any]]) -> list[str]:
        return sorted(json.dumps(row, sort_keys=True, default=float) for row in rows)

    assert ordered(found) == ordered(case["expect"])
    if "expectColumns" in case:
        assert [c.name for c in compile_view(case["view"]).columns] == case["expectColumns"]
