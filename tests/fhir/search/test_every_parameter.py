"""Every search parameter of R4, by every path that its expression has: what is there is found.

A resource is made for each path, with nothing in it but a value of the path's type, written past
validation, and searched for by that value and by another. What to search for is written here by
the type of the value, from the text of R4, not taken from the code that extracts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from fhir.api.capability import capability_statement
from fhir.definitions import (
    SearchParameter,
    parameter_by_url,
    resource_types,
    search_parameters,
)
from fhir.documents import from_dict
from fhir.search.criterion import is_searchable
from fhir.search.extractors.expressions import parse_expression
from fhir.search.extractors.paths import Access, Path, resolve_branch, root_path, values_of
from fhir.search.extractors.plan import CONVERTERS, DECEASED, parameter_paths
from fhir.search.parser import parse
from fhir.search.service import first_pages
from fhir.writing import Write
from healthcloud.actors import SYSTEM
from healthcloud.tenancy.scope import Scope

UCUM = "http://unitsofmeasure.org"
COLUMNS = frozenset({"_id", "_lastUpdated", "_text", "_content", "_filter", "_query"})
CODING = {"system": "urn:s", "code": "c1"}
MASS = {"value": 5, "system": UCUM, "code": "mg"}
BOUNDS = {"low": {"value": 4}, "high": {"value": 6}}

# (parameter type, FHIR type) → a value, what finds it, what does not.
_WORDS = ("string", "markdown", "code", "id", "uri", "url", "canonical", "oid", "uuid")
SAMPLES: dict[tuple[str, str], tuple[Any, str, str]] = {
    ("token", "Coding"): (CODING, "urn:s|c1", "urn:s|c2"),
    ("token", "CodeableConcept"): ({"coding": [CODING]}, "urn:s|c1", "urn:t|c1"),
    ("token", "Identifier"): ({"system": "urn:s", "value": "c1"}, "urn:s|c1", "urn:s|c2"),
    ("token", "ContactPoint"): ({"value": "555"}, "555", "556"),
    ("token", "boolean"): (True, "true", "false"),
    ("token", "date"): ("2020-05-06", "2020-05-06", "2020-05-07"),
    ("token", "dateTime"): ("2020-05-06", "2020-05-06", "2020-05-07"),
    ("token", "instant"): ("2020-05-06T01:02:03Z", "2020-05-06T01:02:03Z", "2020-05-06"),
    **{("token", kind): ("urn:c1", "urn:c1", "urn:c2") for kind in _WORDS},
    ("string", "HumanName"): ({"family": "Zebra"}, "zeb", "bra"),
    ("string", "Address"): ({"city": "Zürich"}, "zur", "rich"),
    ("string", "CodeableConcept"): ({"text": "Zebra"}, "zeb", "bra"),
    **{("string", kind): ("Zebra", "zeb", "bra") for kind in _WORDS},
    ("date", "date"): ("2020-05-06", "2020-05", "2020-06"),
    ("date", "dateTime"): ("2020-05-06T10:00:00Z", "2020-05-06", "2020-05-07"),
    ("date", "instant"): ("2020-05-06T10:00:00Z", "2020-05-06", "2020-05-07"),
    ("date", "Period"): ({"start": "2020-05-06", "end": "2020-05-08"}, "2020-05", "2020-06"),
    ("date", "Timing"): ({"event": ["2020-05-06"]}, "2020-05-06", "2020-05-07"),
    ("quantity", "Money"): ({"value": 5, "currency": "EUR"}, "5", "6"),
    ("quantity", "Range"): (BOUNDS, "gt1", "gt9"),
    ("quantity", "SampledData"): (
        {"origin": {"value": 0}, "period": 1, "dimensions": 1, "lowerLimit": 4, "upperLimit": 6},
        "gt1",
        "gt9",
    ),
    **{
        ("quantity", kind): (MASS, f"5|{UCUM}|mg", f"5|{UCUM}|g")
        for kind in ("Quantity", "Age", "Duration", "Count", "Distance", "SimpleQuantity")
    },
    **{("number", k): (5, "5", "6") for k in ("decimal", "integer", "positiveInt", "unsignedInt")},
    ("number", "Range"): (BOUNDS, "gt1", "gt9"),
    ("reference", "canonical"): ("http://x.org/a|2", "http://x.org/a", "http://x.org/b"),
    ("reference", "uri"): ("http://x.org/a", "http://x.org/a", "http://x.org/b"),
    **{("uri", kind): ("http://x.org/a", "http://x.org/a", "http://x.org/b") for kind in _WORDS},
    ("special", "BackboneElement"): ({"latitude": 1, "longitude": 2}, "1|2|9|km", "50|50|9|km"),
}


@dataclass(frozen=True)
class Case:
    """A resource, and what finds it and what does not by one parameter."""

    code: str
    resource: dict[str, Any]
    hit: str
    miss: str


def sample(parameter: SearchParameter, path: Path) -> tuple[Any, str, str]:
    """Answer a value for the end of a path, what finds it, and what does not."""
    if (parameter.type, path.type) in {("reference", "Reference"), ("reference", "Resource")}:
        resolved = [access.name for access in path.steps if access.kind == "resolves"]
        only = ["Patient"] if parameter.code == "patient" else list(parameter.targets)
        target = (resolved or only or ["Patient"])[0]
        if path.type == "Resource":
            return {"resourceType": target, "id": "t1"}, f"{target}/t1", f"{target}/t2"
        return {"reference": f"{target}/t1"}, f"{target}/t1", f"{target}/t2"
    return SAMPLES[parameter.type, path.type]


def place(resource: Any, steps: Sequence[Access], value: Any) -> Any:
    """Put a value at the end of the steps; conditions on the way are made true."""
    if not steps:
        return {**resource, **value} if isinstance(value, dict) else value
    access, *rest = steps
    if access.kind == "key":
        inner = place(resource.get(access.name, {}), rest, value)
        return {**resource, access.name: inner}
    if access.kind in {"each", "item"}:
        before = resource.get(access.name, [{}])[0]
        return {**resource, access.name: [place(before, rest, value)]}
    if access.kind == "equals":
        return {**place(resource, rest, value), access.name: access.literal}
    if access.kind == "has_extension":
        marked = {**resource, "extension": [{"url": access.name, "valueBoolean": True}]}
        return place(marked, rest, value)
    assert access.kind == "resolves"
    return place(resource, rest, value)


def cases(resource_type: str) -> Iterator[Case]:
    """Yield a case for each path of each parameter of a type."""
    empty = {"resourceType": resource_type}
    for parameter in search_parameters(resource_type).values():
        if parameter.code in COLUMNS or not is_searchable(parameter):
            continue
        if parameter.expression == DECEASED:
            for name, value in (("deceasedBoolean", True), ("deceasedDateTime", "2020")):
                yield Case(parameter.code, {**empty, name: value}, "true", "false")
        elif parameter.components:
            yield from composite_cases(resource_type, parameter)
        else:
            for path in parameter_paths(resource_type, parameter):
                if (parameter.type, path.type) in CONVERTERS:
                    value, hit, miss = sample(parameter, path)
                    yield Case(parameter.code, place(empty, path.steps, value), hit, miss)


def composite_cases(resource_type: str, parameter: SearchParameter) -> Iterator[Case]:
    """Yield a case for each focus: all components there, and the last one another."""
    for focus in parameter_paths(resource_type, parameter):
        resource: Any = {"resourceType": resource_type}
        hits, misses = [], []
        for component in parameter.components:
            definition = parameter_by_url(component.definition)
            assert definition is not None
            below = component.expression.startswith("%resource.")
            start = root_path(resource_type) if below else focus
            path = next(
                path
                for branch in parse_expression(component.expression.removeprefix("%resource."))
                for found in resolve_branch(branch, Path((), start.type, start.inside))
                for path in values_of(found)
                if (definition.type, path.type) in CONVERTERS
            )
            value, hit, miss = sample(definition, path)
            steps = path.steps if below else (*focus.steps, *path.steps)
            resource = place(resource, steps, value)
            hits.append(hit)
            misses.append(miss)
        yield Case(parameter.code, resource, "$".join(hits), "$".join([*hits[:-1], misses[-1]]))


@pytest.fixture
def write(in_riverside: Scope, now: datetime, monkeypatch: pytest.MonkeyPatch) -> Write:
    """A writer past validation: the resources here have nothing but what is searched for."""
    monkeypatch.setattr(Write, "_take_effect", lambda self, done: None)
    return Write.begin(actor=SYSTEM, now=now)


@pytest.mark.parametrize("part", range(8))
def test_what_a_parameter_leads_to_is_found_by_it(write: Write, now: datetime, part: int) -> None:
    wrong: list[tuple[str, str, str]] = []
    for resource_type in resource_types()[part::8]:
        found = list(cases(resource_type))
        versions = [
            write.version_of(from_dict({**case.resource}), rid=f"r{n}", method="POST")
            for n, case in enumerate(found)
        ]
        assert len(write.write(versions)) == len(found)
        for expected, name in ((True, "hit"), (False, "miss")):
            requests = [
                parse(
                    resource_type,
                    [(case.code, getattr(case, name)), ("_id", f"r{n}")],
                    strict=True,
                )
                for n, case in enumerate(found)
            ]
            for case, page in zip(found, first_pages(requests, now=now), strict=True):
                if bool(page) != expected:
                    wrong.append((resource_type, case.code, getattr(case, name)))
    assert wrong == []


def test_there_is_a_case_for_every_parameter_and_all_are_declared() -> None:
    [rest] = capability_statement("http://localhost/v1/fhir")["rest"]
    declared = {
        (entry["type"], parameter["name"])
        for entry in rest["resource"]
        for parameter in entry["searchParam"]
    }
    known = {(name, code) for name in resource_types() for code in search_parameters(name)}
    tried = {(name, case.code) for name in resource_types() for case in cases(name)}
    columns = {(name, code) for name in resource_types() for code in COLUMNS}
    everywhere = {parameter["name"] for parameter in rest["searchParam"]} | {"_query"}
    assert {pair for pair in known - declared if pair[1] not in everywhere} == set()
    assert (known - columns) - tried == set()
