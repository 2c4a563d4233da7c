"""/v1/smart: apps, their launches and grants over the API."""

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from healthcloud.organizations import keys
from healthcloud.organizations.models import ApiKey, SmartClient, SmartLaunch

pytestmark = pytest.mark.django_db
BODY: dict[str, Any] = {
    "name": "Growth chart",
    "client_type": "confidential-symmetric",
    "redirect_uris": ["https://app.example/cb"],
    "launch_uri": "https://app.example/launch",
    "scopes": ["launch", "patient/*.rs"],
}
ClientOf = Callable[..., APIClient]


@pytest.fixture
def client_of(db: None) -> ClientOf:
    def make(organization: str = "riverside", *scopes: str) -> APIClient:
        secret = keys.generate("sandbox")
        ApiKey.objects.create(
            organization_id=f"org_{organization}",
            environment_id=f"env_{organization}_sandbox",
            project_id=f"proj_{organization}_screening",
            name="test",
            prefix=secret.prefix,
            last4=secret.last4,
            digest=secret.digest,
            scopes=list(scopes) or ["keys:write", "fhir:read", "fhir:write"],
            created_by_id="usr_alice",
        )
        client = APIClient(raise_request_exception=False)
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret.text}")
        return client

    return make


def test_an_app_is_registered_changed_and_ended(client_of: ClientOf) -> None:
    alice = client_of()
    made = alice.post("/v1/smart/clients", BODY, format="json")
    assert made.status_code == 201, made.json()
    body = made.json()
    assert body["client_secret"].startswith("hc_app_")
    assert body["organization_id"] == "org_riverside"
    path = f"/v1/smart/clients/{body['id']}"
    read = alice.get(path).json()
    assert "client_secret" not in read
    assert read["redirect_uris"] == BODY["redirect_uris"]
    changed = alice.patch(path, {"redirect_uris": ["https://app.example/new"]}, format="json")
    assert changed.json()["redirect_uris"] == ["https://app.example/new"]
    rotated = alice.post(f"{path}/rotate-secret").json()
    assert rotated["client_secret"] != body["client_secret"]
    assert [row["id"] for row in alice.get("/v1/smart/clients").json()["data"]] == [body["id"]]
    assert body["id"] not in {row["id"] for row in alice.get("/v1/api-keys").json()["data"]}
    assert alice.post(f"/v1/api-keys/{body['id']}/rotate").status_code == 404
    assert alice.delete(path).status_code == 204
    assert alice.get(path).json()["revoked_at"] is not None


def test_apps_are_listed_page_by_page_newest_first(client_of: ClientOf) -> None:
    alice = client_of()
    made = [alice.post("/v1/smart/clients", BODY, format="json").json()["id"] for _ in range(3)]
    first = alice.get("/v1/smart/clients", {"limit": "2"}).json()
    assert (first["meta"]["has_more"], first["meta"]["total"]) == (True, 3)
    query = {"limit": "2", "cursor": first["meta"]["cursor"]}
    rest = alice.get("/v1/smart/clients", query).json()
    assert rest["meta"]["cursor"] is None
    shown = [row["id"] for row in [*first["data"], *rest["data"]]]
    assert shown == sorted(made, reverse=True)


def test_a_launch_is_kept_as_a_digest_and_sealed(client_of: ClientOf) -> None:
    alice = client_of()
    app = alice.post("/v1/smart/clients", BODY, format="json").json()["id"]
    made = alice.post(f"/v1/smart/clients/{app}/launches", {"patient": "pat_123"}, format="json")
    assert made.status_code == 201
    body = made.json()
    assert body["launch_url"].startswith("https://app.example/launch?iss=http")
    assert body["iss"].endswith("/v1/fhir")
    kept = SmartLaunch.objects.get()
    assert b"pat_123" not in bytes(kept.context)
    assert body["launch"].encode() not in bytes(kept.digest)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"client_type": "secret"}, 422),
        ({"redirect_uris": ["http://evil.example/"]}, 422),
        ({"redirect_uris": []}, 422),
        ({"launch_uri": "http://evil.example/"}, 422),
        ({"scopes": ["system/*.rs"]}, 422),
        ({"scopes": ["patient/Observation.rs?value-quantity=5"]}, 422),
        ({"scopes": ["user/*.cruds"]}, 403),
        ({"client_type": "confidential-asymmetric"}, 422),
        ({"client_type": "public", "jwks": {"keys": []}}, 422),
        ({"project_id": "proj_riverside_referrals"}, 403),
    ],
)
def test_what_can_not_be_is_refused(
    client_of: ClientOf, change: dict[str, Any], status: int
) -> None:
    narrow = client_of("riverside", "keys:write", "fhir:read")
    answer = narrow.post("/v1/smart/clients", {**BODY, **change}, format="json")
    assert answer.status_code == status, answer.json()
    assert not SmartClient.objects.exists()


def test_a_stranger_finds_nothing(client_of: ClientOf) -> None:
    alice, charlie = client_of(), client_of("lakeside")
    app = alice.post("/v1/smart/clients", BODY, format="json").json()["id"]
    path = f"/v1/smart/clients/{app}"
    answers = [
        charlie.get(path),
        charlie.patch(path, {"name": "x"}, format="json"),
        charlie.delete(path),
        charlie.post(f"{path}/rotate-secret"),
        charlie.post(f"{path}/launches", {}, format="json"),
        charlie.get(f"{path}/grants"),
        charlie.delete("/v1/smart/grants/grant_x"),
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert charlie.get("/v1/smart/clients").json()["data"] == []
    client = SmartClient.objects.select_related("key").get()
    assert (client.key.name, client.key.revoked_at) == ("Growth chart", None)
