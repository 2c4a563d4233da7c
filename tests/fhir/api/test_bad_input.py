"""Bad input is refused, never a fault of ours, and changes nothing."""

import gzip
import json
import string
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

pytestmark = pytest.mark.django_db
FHIR, XML = "application/fhir+json", "application/fhir+xml"
PATIENT = {"resourceType": "Patient", "id": "a", "name": [{"family": "Abt", "given": ["A", "B"]}]}
short = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

text = st.text(max_size=12)
leaf = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text
names = st.sampled_from(
    ["resourceType", "id", "meta", "name", "given", "_given", "extension", "url", "text", "div",
     "contained", "request", "method", "resource", "fullUrl", "valueCode", "part", "op", "path"]
) | text  # fmt: skip
anything: st.SearchStrategy[Any] = st.recursive(
    leaf,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
paths = st.lists(
    st.sampled_from(
        ["Patient", "name", "given", ".", "[0]", "[1]", "(", ")", "where", "'A'", "=", "first()",
         "|", "is", "as", "String", "extension('x')", "exists()", "not()", "1", "and", "$this",
         "%x", "ofType(string)", " ", "<", "@2020", "{}", "count()", "id", "meta", "-"]
    ),
    max_size=9,
).map("".join)  # fmt: skip
header = st.text(string.ascii_letters + string.digits + '"*/W,;= -', max_size=20)


@pytest.fixture
def client(alice_client: APIClient) -> APIClient:
    made = alice_client.put("/v1/fhir/Patient/a", json.dumps(PATIENT), content_type=FHIR)
    assert made.status_code == 201
    return alice_client


@pytest.fixture
def ask(client: APIClient) -> Callable[..., int]:
    """Send a request and answer its status; what is refused says why."""

    def send(method: str, path: str, body: object = "", kind: str = FHIR, **headers: str) -> int:
        sent = body if isinstance(body, str | bytes) else json.dumps(body)
        answer = client.generic(method, f"/v1/fhir{path}", sent, kind, headers=headers)
        assert answer.status_code < 500 or answer.status_code == 501, answer.content
        if answer.status_code >= 400:
            assert json.loads(answer.content)["resourceType"] == "OperationOutcome"
        return answer.status_code

    return send


@short
@given(anything, st.sampled_from(["/Patient", "/Bundle", "/Parameters", "", "/Basic"]))
def test_any_json(ask: Callable[..., int], value: Any, path: str) -> None:
    ask("POST", path, value)
    if isinstance(value, dict):
        ask("POST", path, {"resourceType": path[1:] or "Bundle", "type": "batch", **value})


@short
@given(st.lists(anything, max_size=3), st.sampled_from(["batch", "transaction"]))
def test_any_bundle(ask: Callable[..., int], entries: list[Any], kind: str) -> None:
    bundle = {"resourceType": "Bundle", "type": kind, "entry": entries}
    ask("POST", "", bundle)


@short
@given(
    st.sampled_from(["GET", "PUT", "POST", "PATCH", "DELETE", "HEAD"]),
    st.lists(
        st.sampled_from(["Patient", "/", "a", "?", "_history", "identifier=1", "&", "_search", "$x",
                         "%", "%00", "_count=", "1", "Observation", "http://[", "urn:uuid:1"]),
        max_size=6,
    ).map("".join),
    anything,
    st.sampled_from(["batch", "transaction"]),
)  # fmt: skip
def test_any_request_in_a_bundle(
    ask: Callable[..., int], method: str, url: str, resource: Any, kind: str
) -> None:
    request = {"method": method, "url": url, "ifMatch": url, "ifNoneExist": url}
    entry = {"request": request, "fullUrl": url, "resource": {**PATIENT, "x": resource}}
    ask("POST", "", {"resourceType": "Bundle", "type": kind, "entry": [entry]})
    del request["ifMatch"]
    ask(
        "POST",
        "",
        {"resourceType": "Bundle", "type": kind, "entry": [{**entry, "resource": PATIENT}]},
    )


@short
@given(
    st.sampled_from(["add", "insert", "delete", "replace", "move"]),
    paths,
    st.sampled_from(["name", "given", "gender", "extension", "deceased", "text", "id", ""]),
    anything,
    st.integers(-2, 4),
)
def test_any_fhirpath_patch(
    ask: Callable[..., int], kind: str, path: str, name: str, value: Any, index: int
) -> None:
    parts = [
        {"name": "type", "valueCode": kind},
        {"name": "path", "valueString": path},
        {"name": "name", "valueString": name},
        {"name": "value", "valueString": value},
        *({"name": n, "valueInteger": index} for n in ("index", "source", "destination")),
    ]
    body = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}
    ask("PATCH", "/Patient/a", body)
    ask("PATCH", "/Patient/a", {**body, "parameter": value})


@short
@given(
    st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]),
    st.lists(st.sampled_from(["name", "0", "given", "-", "~1", "1", "id", ""]), max_size=4),
    anything,
)
def test_any_json_patch(ask: Callable[..., int], kind: str, steps: list[str], value: Any) -> None:
    pointer = "".join(f"/{step}" for step in steps)
    operation = {"op": kind, "path": pointer, "from": pointer[:6], "value": value}
    ask("PATCH", "/Patient/a", [operation], "application/json-patch+json")
    ask("PATCH", "/Patient/a", value, "application/json-patch+json")
    ask("PATCH", "/Patient/a", value, "application/merge-patch+json")


@short
@given(header, header)
def test_any_header(ask: Callable[..., int], one: str, other: str) -> None:
    body = {**PATIENT, "active": True}
    ask("GET", "/Patient/a", **{"If-None-Match": one, "If-Modified-Since": other})
    ask("PUT", "/Patient/a", body, **{"If-Match": one, "If-None-Match": other, "Prefer": one})
    ask("POST", "/Patient", body, **{"If-None-Exist": one, "X-Provenance": other})
    ask("DELETE", "/Patient/a", **{"If-Match": one})


@short
@given(st.text(string.ascii_letters + "<>/=\"'& \n!-[]?", max_size=60))
def test_any_xml(ask: Callable[..., int], inner: str) -> None:
    ask("POST", "/Patient", f'<Patient xmlns="http://hl7.org/fhir">{inner}</Patient>', XML)
    ask("PATCH", "/Patient/a", f'<Parameters xmlns="http://hl7.org/fhir">{inner}</Parameters>', XML)


@short
@given(st.binary(max_size=60), st.sampled_from([FHIR, XML, "application/json", "text/xml"]))
def test_any_bytes(ask: Callable[..., int], body: bytes, kind: str) -> None:
    ask("POST", "/Patient", body, kind)
    ask("PATCH", "/Patient/a", body, kind)


@short
@given(st.text(max_size=12), st.sampled_from(["_since", "_at", "_count", "_sort", "_after"]))
def test_any_history(client: APIClient, value: str, name: str) -> None:
    for path in ("/v1/fhir/_history", "/v1/fhir/Patient/a/_history"):
        assert client.get(path, {name: value}).status_code in {200, 400}


def test_packed_bodies_are_unpacked_within_limits(alice_client: APIClient) -> None:
    body = json.dumps({"resourceType": "Patient", "active": True}).encode()
    packed = gzip.compress(body)

    def send(content: bytes, encoding: str = "gzip") -> int:
        headers = {"Content-Encoding": encoding}
        answer = alice_client.post(
            "/v1/fhir/Patient", content, content_type="application/fhir+json", headers=headers
        )
        return int(answer.status_code)

    assert send(packed) == 201
    assert send(body, "identity") == 201
    assert send(body) == send(packed[:-4]) == 400
    assert send(packed, "br") == 415
    assert send(gzip.compress(b" " * (17 * 1024 * 1024))) == 413
    assert alice_client.get("/v1/fhir/Patient?_summary=count").json()["total"] == 2
