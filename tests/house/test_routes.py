"""Every route of /v1 is in the OpenAPI document and refuses a stranger in the one error shape."""

import json
from collections.abc import Iterator

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from healthcloud.api.openapi import build
from healthcloud.api.renderers import dump_json

UNDOCUMENTED = {"v1/openapi.json"}
ERROR_MEMBERS = {"code", "message", "param", "details", "request_id", "docs_url"}


def routes(patterns: list[URLPattern | URLResolver], prefix: str = "") -> Iterator[str]:
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, path)
        elif path.startswith("v1/"):
            yield path


def concrete(route: str) -> str:
    """Return an address that matches a route, and the document's form of it."""
    parts = [
        "{" + part.rpartition(":")[2].strip("<>") + "}" if part.startswith("<") else part
        for part in route.split("/")
    ]
    return "/" + "/".join(parts)


@pytest.fixture(scope="module")
def documented() -> set[str]:
    return set(json.loads(dump_json(build()))["paths"])


def simple_routes() -> list[str]:
    found = set(routes(get_resolver().url_patterns))
    return sorted(route for route in found if not set("^$(\\") & set(route))


@pytest.mark.parametrize("route", [r for r in simple_routes() if not r.startswith("v1/fhir")])
def test_every_route_is_documented(route: str, documented: set[str]) -> None:
    assert route in UNDOCUMENTED or concrete(route) in documented


@pytest.mark.django_db
@pytest.mark.parametrize("route", simple_routes())
def test_a_stranger_is_refused_in_the_one_shape(route: str) -> None:
    address = concrete(route).replace("{", "").replace("}", "")
    answer = Client().get(address)
    if answer.status_code == 200:
        return  # openapi.json, schemas and the capability statement are for everyone
    body = json.loads(answer.content)
    assert answer.status_code in {401, 404, 405}, address
    assert answer["X-Request-Id"].startswith("req_")
    assert answer["HealthCloud-Organization-Id"] == "null"
    if body.get("resourceType") == "OperationOutcome":
        assert body["issue"][0]["diagnostics"]
        return
    assert set(body["error"]) == ERROR_MEMBERS
    scope = {name: body[name] for name in ("organization_id", "project_id", "environment")}
    assert scope == dict.fromkeys(scope)
