"""$import: lines are written in batches, refused one by one, and never twice."""

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any, BinaryIO

import pytest
from rest_framework.test import APIClient

from fhir.bulk import importing
from fhir.documents import MAX_BYTES
from fhir.operations.parameters import InvalidParameter
from healthcloud.http import Response
from healthcloud.http.errors import ConnectionFailed
from healthcloud.ledger.models import DueWork
from healthcloud.ledger.worker import run_until_idle

ClientFor = Callable[..., APIClient]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("empty_ledger")]
NDJSON = "application/fhir+ndjson"
FHIR = "application/fhir+json"


def patient(rid: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": rid, **more}


def ndjson(*resources: dict[str, Any] | str) -> bytes:
    lines = [r if isinstance(r, str) else json.dumps(r) for r in resources]
    return "\n".join(lines).encode() + b"\n"


def send(client: APIClient, content: bytes) -> str:
    answer = client.post("/v1/fhir/$import", content, content_type=NDJSON)
    assert answer.status_code == 202, answer.content
    return str(answer["Content-Location"]).removeprefix("http://testserver")


def by_address(client: APIClient, *inputs: tuple[str, str]) -> Any:
    entries = [
        {
            "name": "input",
            "part": [{"name": "url", "valueUrl": url}]
            + ([{"name": "type", "valueCode": kind}] if kind else []),
        }
        for kind, url in inputs
    ]
    body = {"resourceType": "Parameters", "parameter": entries}
    return client.post("/v1/fhir/$import", json.dumps(body), content_type=FHIR)


def errors(client: APIClient, manifest: dict[str, Any]) -> list[str]:
    found = []
    for entry in manifest["error"]:
        part = client.get(entry["url"].removeprefix("http://testserver"))
        for line in part.content.splitlines():
            found += [issue["diagnostics"] for issue in json.loads(line)["issue"]]
    return found


def test_lines_that_are_sent_are_written_and_refused_one_by_one(alice_client: APIClient) -> None:
    content = ndjson(
        patient("p1", gender="female"),
        patient("p2", gender="feminine"),
        "{nonsense",
        "",
        {"resourceType": "Observation", "status": "final", "code": {"text": "x"}},
    )
    place = send(alice_client, content)
    run_until_idle()
    manifest = alice_client.get(place).json()
    assert manifest["output"] == [{"type": "Bundle", "count": 2}]
    told = errors(alice_client, manifest)
    assert len(told) == 2
    assert told[0].startswith("Line 2 of the body: ")
    assert told[1].startswith("Line 3 of the body: The body is not JSON")
    assert alice_client.get("/v1/fhir/Patient/p1").json()["gender"] == "female"
    assert alice_client.get("/v1/fhir/Patient/p2").status_code == 404
    assert alice_client.get("/v1/fhir/Observation").json()["entry"]


def test_an_id_that_comes_twice_is_written_twice(alice_client: APIClient) -> None:
    place = send(alice_client, ndjson(patient("p1"), patient("p2"), patient("p1", active=True)))
    run_until_idle()
    assert alice_client.get(place).json()["output"][0]["count"] == 3
    stored = alice_client.get("/v1/fhir/Patient/p1").json()
    assert (stored["active"], stored["meta"]["versionId"]) == (True, "2")


def test_a_crash_in_the_middle_writes_nothing_twice(
    alice_client: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "BATCH", 2)
    place = send(alice_client, ndjson(*(patient(f"p{n}") for n in range(5))))
    whole, calls = importing._write, []

    def crash(*given: Any, **named: Any) -> Any:
        calls.append(given)
        found = whole(*given, **named)
        if len(calls) == 2:
            raise RuntimeError("killed")
        return found

    monkeypatch.setattr(importing, "_write", crash)
    with pytest.raises(RuntimeError):
        run_until_idle()
    DueWork.objects.filter(state="running").update(state="ready", lease_until=None)
    run_until_idle()
    assert alice_client.get(place).json()["output"][0]["count"] == 5
    versions = {
        entry["resource"]["meta"]["versionId"]
        for entry in alice_client.get("/v1/fhir/Patient").json()["entry"]
    }
    assert versions == {"1"}


def test_large_inputs_are_cut_at_lines() -> None:
    line = b'{"resourceType":"Patient"}\n'
    content = line * 400_000
    parts = list(importing.split_lines(BytesIO(content)))
    assert b"".join(part for _, part in parts) == content
    assert sum(count for count, _ in parts) == 400_000
    assert all(len(part) <= importing.PART_BYTES and part.endswith(b"\n") for _, part in parts)
    assert list(importing.split_lines(BytesIO())) == []
    assert [n for n, _ in importing.split_lines(BytesIO(b"x" * (importing.PART_BYTES + 9)))] == [1]


def test_a_line_without_end_is_refused(alice_client: APIClient) -> None:
    endless = BytesIO(b"x" * (MAX_BYTES + importing.PART_BYTES))
    with pytest.raises(InvalidParameter, match="limit of a resource"):
        list(importing.split_lines(endless))


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What the addresses of the outside world answer."""
    pages: dict[str, bytes] = {}

    class Door:
        def download(self, url: str, into: BinaryIO, **named: object) -> Response:
            if url not in pages:
                raise ConnectionFailed("there is nobody")
            into.write(pages[url])
            return Response(200, {}, b"", "example.org", 1)

    monkeypatch.setattr(importing, "client", lambda **named: Door())
    return pages


def test_inputs_are_fetched_from_their_addresses(
    alice_client: APIClient, served: dict[str, bytes]
) -> None:
    served["https://example.org/1"] = ndjson(patient("p1"), patient("p2"))
    served["https://example.org/2"] = ndjson(patient("p3"), {"resourceType": "Group", "id": "g"})
    answer = by_address(
        alice_client, ("Patient", "https://example.org/1"), ("Patient", "https://example.org/2")
    )
    place = str(answer["Content-Location"]).removeprefix("http://testserver")
    run_until_idle()
    manifest = alice_client.get(place).json()
    assert manifest["output"][0]["count"] == 3
    assert errors(alice_client, manifest) == [
        "Line 2 of https://example.org/2: Group is none of the types of this import."
    ]


def test_an_address_that_does_not_answer_ends_the_import(
    alice_client: APIClient, served: dict[str, bytes]
) -> None:
    answer = by_address(alice_client, ("Patient", "https://example.org/1"))
    place = str(answer["Content-Location"]).removeprefix("http://testserver")
    run_until_idle()
    ended = alice_client.get(place)
    assert ended.status_code == 400
    assert "there is nobody" in ended.json()["issue"][0]["diagnostics"]


@pytest.mark.parametrize(
    ("kind", "url"),
    [
        ("Patient", "http://127.0.0.1/x"),
        ("Patient", "file:///etc/passwd"),
        ("Nothing", "https://example.org/1"),
    ],
)
def test_addresses_that_may_not_be_called_are_refused_at_once(
    alice_client: APIClient, kind: str, url: str
) -> None:
    assert by_address(alice_client, (kind, url)).status_code == 400
    assert by_address(alice_client).status_code == 400
    assert not DueWork.objects.filter(kind="fhir.job").exists()


def test_an_import_needs_the_scopes_of_what_it_writes(client_for: ClientFor) -> None:
    reader = client_for(scopes=("fhir:read",))
    answer = reader.post("/v1/fhir/$import", ndjson(patient("p1")), content_type=NDJSON)
    assert answer.status_code == 403
    narrow = client_for(scopes=("Patient:write",))
    assert by_address(narrow, ("Group", "https://example.org/1")).status_code == 403
    assert not DueWork.objects.filter(kind="fhir.job").exists()
