"""Every fault that is put into a valid resource is found, wherever it is put."""

import copy
from functools import cache

import pytest

from fhir.validation import validate
from tests.fhir.conftest import read_archive
from tests.fhir.validation.mutations import FAULTS, at, mutated, sites

EACH = 120
# No official example holds an oid outside of extensions.
WITHOUT_SITES = {"oid with letters"}

IN_OTHERS = {
    "an entry of a bundle": lambda inner: {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": {"resourceType": "Basic", "code": {"text": "x"}}}, inner],
    },
    "an entry with a fullUrl": lambda inner: {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"fullUrl": "urn:uuid:7b9ea2cf-bdfc-460f-b7a0-49f70201e177", **inner}],
    },
    "a document": lambda inner: {
        "resourceType": "Bundle",
        "type": "document",
        "identifier": {"system": "urn:x", "value": "1"},
        "timestamp": "2026-01-01T00:00:00Z",
        "entry": [{"fullUrl": "urn:uuid:7b9ea2cf-bdfc-460f-b7a0-49f70201e177", **inner}],
    },
    "a parameter": lambda inner: {
        "resourceType": "Parameters",
        "parameter": [{"name": "a", "part": [{"name": "b", **inner}]}],
    },
    "a response": lambda inner: {
        "resourceType": "Bundle",
        "type": "batch-response",
        "entry": [{"response": {"status": "200"}, **inner}],
    },
}


@cache
def places():
    """Answer (resource, site) for the first site of each element in the examples."""
    found = {}
    for resource in read_archive("r4-examples-675.tar.xz").values():
        if validate(resource, warnings=False):
            continue
        for site in sites(resource):
            found.setdefault((site.type_name, site.element.path, site.kind), (resource, site))
    return list(found.values())


def mutants(fault, count=EACH):
    """Yield up to `count` mutants of a fault class with their sites, spread over the types."""
    applies, change = FAULTS[fault]
    suited = [(resource, site) for resource, site in places() if applies(site)]
    for resource, site in suited[:: max(1, len(suited) // count)]:
        yield site, mutated(resource, site, change)


def errors(resource):
    return [issue for issue in validate(resource) if issue.severity in {"error", "fatal"}]


@pytest.mark.parametrize("fault", FAULTS)
def test_every_mutant_is_refused(fault):
    tried = 0
    for site, mutant in mutants(fault):
        assert errors(mutant), (fault, site.type_name, site.element.path)
        tried += 1
    assert tried or fault in WITHOUT_SITES


@pytest.mark.parametrize("fault", FAULTS)
def test_the_issue_names_the_element(fault):
    for site, mutant in mutants(fault, 20):
        inside = [step for step in site.owner if isinstance(step, int)]
        found = [issue.expression for issue in errors(mutant)]
        assert any(expression.count("[") >= len(inside) for expression in found), (site, found)
        assert all(expression.startswith(mutant["resourceType"]) for expression in found)
        assert all(issue.diagnostics and issue.code for issue in errors(mutant))


@pytest.mark.parametrize("where", IN_OTHERS)
def test_faults_are_found_inside_of(where):
    for fault in set(FAULTS) - WITHOUT_SITES:
        for site, mutant in mutants(fault, 2):
            outer = IN_OTHERS[where]({"resource": mutant})
            found = [issue.expression for issue in errors(outer)]
            assert any(".resource" in expression for expression in found), (fault, site, found)


def test_faults_are_found_inside_of_contained_resources():
    for fault in set(FAULTS) - WITHOUT_SITES:
        for site, mutant in mutants(fault, 3):
            inner = {k: v for k, v in copy.deepcopy(mutant).items() if k not in {"meta", "text"}}
            if "contained" in inner or site.owner[:1] in {("text",), ("meta",)} or not site.owner:
                continue
            outer = {
                "resourceType": "Basic",
                "code": {"text": "x"},
                "subject": {"reference": "#inner"},
                "contained": [{**inner, "id": "inner"}],
            }
            found = [issue.expression for issue in errors(outer)]
            assert any(e.startswith("Basic.contained[0]") for e in found), (fault, site, found)


def test_a_mutant_differs_from_its_origin_in_one_place():
    resource, site = next((r, s) for r, s in places() if s.key == "status" and not s.owner)
    mutant = mutated(resource, site, FAULTS["number for string"][1])
    assert at(mutant, (*site.owner, "status")) == 7
    assert {k: v for k, v in mutant.items() if k != "status"} == {
        k: v for k, v in resource.items() if k != "status"
    }
