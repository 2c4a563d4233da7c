"""Pages and forms of Studio with odd addresses and values: refused or empty, never an error."""

from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from healthcloud.organizations.models import SmartClient
from tests.healthcloud.conftest import client_for
from tests.studio.conftest import PLACE

__all__ = ["client_for"]
pytestmark = pytest.mark.django_db
MANY_DIGITS = "9" * 5000
ODD = (MANY_DIGITS, "0" * 5000 + "1", "²", "٣", "-1", "1e5", "x")
STEP = {"id": "a", "kind": "transform", "with": {"output": {}}}
BROKEN_SCHEMAS: list[Any] = [
    {"type": "object", "properties": 3},
    {"type": "object", "properties": {"a": 3}},
    {"type": "object", "properties": {"a": {"type": "string"}}, "required": 5},
    {"type": "object", "properties": {"a": {"enum": 5}}},
    {"type": 3},
]


@pytest.fixture
def sandbox(client_for: Any) -> APIClient:
    return client_for("riverside", project="screening")


@pytest.mark.parametrize("value", [MANY_DIGITS, "²"])
@pytest.mark.parametrize(
    "path", ["workflows", "runs", "tasks", "deployments", "webhooks", "settings/audit"]
)
def test_an_odd_place_in_a_list_is_its_beginning(
    alice_browser: Client, path: str, value: str
) -> None:
    assert alice_browser.get(f"{PLACE}/{path}", {"from": value}).status_code == 200


@pytest.mark.parametrize("value", ODD)
def test_an_odd_version_is_the_current_one(alice_browser: Client, maya: str, value: str) -> None:
    page = alice_browser.get(f"{PLACE}/records/Patient/{maya}", {"version": value})
    assert page.status_code == 200
    assert "Okafor" in page.content.decode()


@pytest.mark.parametrize("value", ODD)
def test_an_odd_release_is_none(alice_browser: Client, value: str) -> None:
    form = {"number": value}
    assert alice_browser.post(f"{PLACE}/deployments/dep_x/rollback", form).status_code == 404


@pytest.mark.parametrize(
    "path",
    ["runs?status=%00", "events?type=a%00b", "events/%00", "webhooks/a%00b", "runs/%00",
     "records/patients/%00", "records/Patient/%00", "catalog/%00", "workflows?q=%00"],
)  # fmt: skip
def test_the_character_nul_is_refused(alice_browser: Client, path: str) -> None:
    page = alice_browser.get(f"{PLACE}/{path}")
    assert page.status_code == 400
    assert "U+0000" in page.content.decode()


def test_a_form_with_the_character_nul_is_refused(alice_browser: Client) -> None:
    form = {"name": "a\0", "kind": "public", "redirect_uris": "https://a.example/",
            "scopes": "patient/*.rs"}  # fmt: skip
    assert alice_browser.post(f"{PLACE}/settings/apps/create", form).status_code == 400
    assert SmartClient.objects.count() == 0


@pytest.mark.parametrize("kind", ["", "../..", "Nothing", "patient"])
def test_a_type_that_is_none_is_told(alice_browser: Client, kind: str) -> None:
    page = alice_browser.get(f"{PLACE}/records/find", {"type": kind})
    assert page.status_code == 400
    assert "is no resource type" in page.content.decode()


@pytest.mark.parametrize("reference", ["", "/", "Patient/", "/x", "Patient"])
def test_a_reference_that_is_none_leads_to_the_records(
    alice_browser: Client, reference: str
) -> None:
    page = alice_browser.get(f"{PLACE}/records/reference", {"reference": reference})
    assert (page.status_code, page["Location"]) == (302, f"{PLACE}/records")


@pytest.mark.parametrize("jwks", [MANY_DIGITS, "[" * 100_000, '{"keys": [{"kid": "\\u0000"}]}'])
def test_keys_that_can_not_be_read_are_told(alice_browser: Client, jwks: str) -> None:
    form = {"name": "a", "kind": "confidential-asymmetric", "redirect_uris": "https://a.example/",
            "scopes": "patient/*.rs", "jwks": jwks}  # fmt: skip
    answer = alice_browser.post(f"{PLACE}/settings/apps/create", form)
    assert answer.status_code in {302, 422}
    assert SmartClient.objects.count() == 0


def test_a_workflow_that_never_ran_is_listed(alice_browser: Client, sandbox: APIClient) -> None:
    made = sandbox.post("/v1/workflows", {"slug": "new", "steps": [STEP]}, format="json")
    assert made.status_code == 201, made.json()
    page = alice_browser.get(f"{PLACE}/workflows")
    assert page.status_code == 200
    assert "Never" in page.content.decode()


@pytest.mark.parametrize("schema", BROKEN_SCHEMAS)
def test_a_draft_whose_schema_is_broken_is_kept_and_shown(
    alice_browser: Client, sandbox: APIClient, schema: Any
) -> None:
    draft = {"slug": "new", "steps": [STEP], "input_schema": schema}
    made = sandbox.post("/v1/workflows", draft, format="json")
    assert made.status_code == 201, made.json()
    checked = sandbox.post("/v1/workflows/validate", draft, format="json").json()
    assert any(problem["field"] == "input_schema" for problem in checked["problems"])
    assert alice_browser.get(f"{PLACE}/workflows/new").status_code == 200
    assert sandbox.post("/v1/workflows/new/publish").status_code == 422


@pytest.mark.parametrize("metadata", [1, 1.5, True, "x", [1], [["a", "b"]]])
def test_metadata_that_is_no_object_is_refused(sandbox: APIClient, metadata: Any) -> None:
    draft = {"slug": "new", "steps": [STEP], "metadata": metadata}
    answer = sandbox.post("/v1/workflows", draft, format="json")
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, "metadata")
    assert sandbox.get("/v1/workflows").json()["meta"]["total"] == 0


@pytest.mark.parametrize("value", [MANY_DIGITS, "0" * 5000 + "1", "²"])
def test_odd_numbers_in_the_address_are_refused(sandbox: APIClient, value: str) -> None:
    sandbox.post("/v1/workflows", {"slug": "new", "steps": [STEP]}, format="json")
    for path in ("workflows", "events", "api-keys", "smart/clients", "assets", "deployments"):
        answer = sandbox.get(f"/v1/{path}", {"limit": value})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "limit")
    answer = sandbox.get("/v1/workflows/new/export", {"version": value})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "version")


def test_a_draft_is_exported_by_its_name(sandbox: APIClient) -> None:
    draft = {"slug": "new", "steps": [STEP]}
    sandbox.post("/v1/workflows", draft, format="json")
    for query in ({}, {"version": "draft"}):
        answer = sandbox.get("/v1/workflows/new/export", query)
        assert answer.json()["definition"] == draft
    assert sandbox.get("/v1/workflows/new/export", {"version": "1"}).status_code == 404
