"""Plain requests go from the bridge to their view, under the same rules as all others."""

import json
from collections.abc import Callable
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
from django.db import connection
from django.test import RequestFactory
from django.utils import timezone
from rest_framework.test import APIClient

from fhir.api.direct import ROUTES
from fhir.api.express import ROUTES as EXPRESS_ROUTES
from healthcloud.audit.models import AuditEvent
from healthcloud.organizations import keys
from healthcloud.organizations.direct import DirectApplication
from healthcloud.organizations.models import ApiKey, Project
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.healthcloud.conftest import live_scope, live_tenant

__all__ = ["live_scope", "live_tenant"]
ClientFor = Callable[..., APIClient]
PATIENT = {"resourceType": "Patient", "name": [{"family": "Direct", "given": ["Ada"]}]}
VOLATILE = frozenset({"X-Request-Id", "Location", "ETag", "Last-Modified", "Content-Length"})

direct = DirectApplication(ROUTES)


class Answer:
    """What the direct application answered."""

    def __init__(self, status: str, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status = int(status[:3])
        self.headers = dict(headers)
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    secret: str, path: str, body: object = None, *, method: str = "", **headers: str
) -> Answer | None:
    """Send a request to the direct application; None where it declines."""
    data = b"" if body is None else json.dumps(body).encode()
    environ = RequestFactory()._base_environ(
        PATH_INFO=path.partition("?")[0],
        QUERY_STRING=path.partition("?")[2],
        REQUEST_METHOD=method or ("GET" if body is None else "POST"),
        CONTENT_TYPE="application/fhir+json",
        CONTENT_LENGTH=str(len(data)),
        HTTP_AUTHORIZATION=f"Bearer {secret}",
        **{f"HTTP_{name.upper()}": value for name, value in headers.items()},
    )
    environ.pop("HTTP_COOKIE")
    environ["wsgi.input"] = BytesIO(data)
    seen: list[Any] = []
    chunks = direct(environ, lambda status, headers, error=None: seen.append((status, headers)))  # type: ignore[arg-type,return-value]  # nobody writes
    return None if chunks is None else Answer(*seen[0], b"".join(chunks))


def introduce(secret: str) -> None:
    """Let this process see a key: the whole way remembers it."""
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    for _ in range(2):  # the first notes the use, which makes a new version of the key
        response = client.get("/v1/fhir/Patient")
        assert response.status_code == 200


def secret_of(client: APIClient) -> str:
    """Return the key that a client sends."""
    return str(client._credentials["HTTP_AUTHORIZATION"]).removeprefix("Bearer ")


@pytest.fixture
def live_key(live_tenant: Scope) -> str:
    """A key of a tenant whose transactions really commit, known to this process."""
    secret = keys.generate("sandbox")
    ApiKey.objects.create(
        organization_id=live_tenant.organization_id,
        environment_id=live_tenant.environment_id,
        project_id=live_tenant.project_id,
        name="direct",
        prefix=secret.prefix,
        last4=secret.last4,
        digest=secret.digest,
        scopes=["fhir:read", "fhir:write"],
    )
    introduce(secret.text)
    return secret.text


def test_a_key_that_this_process_never_saw_goes_the_whole_way(live_tenant: Scope) -> None:
    assert ask(keys.generate("sandbox").text, "/v1/fhir/Patient") is None


def test_a_resource_is_created_read_and_found(live_key: str, live_tenant: Scope) -> None:
    created = ask(live_key, "/v1/fhir/Patient", PATIENT)
    assert created is not None
    assert created.status == 201
    read = ask(live_key, f"/v1/fhir/Patient/{created.json['id']}")
    assert read is not None
    assert read.status == 200
    assert read.body == created.body
    assert read.headers["ETag"] == created.headers["ETag"] == 'W/"1"'
    found = ask(live_key, "/v1/fhir/Patient?family=dir&_total=accurate")
    assert found is not None
    assert found.json["total"] == 1
    assert found.json["entry"][0]["resource"] == read.json
    with tenant_scope(live_tenant):
        event = AuditEvent.objects.get(action="fhir.create")
        assert (event.target_type, event.target_id) == ("Patient", created.json["id"])
        assert event.request_id == created.headers["X-Request-Id"]
    assert not connection.in_atomic_block


def test_a_revoked_key_is_refused_at_its_next_request(live_key: str, live_tenant: Scope) -> None:
    assert ask(live_key, "/v1/fhir/Patient") is not None
    ApiKey.objects.filter(digest=keys.digest_of(live_key)).update(revoked_at=timezone.now())
    assert ask(live_key, "/v1/fhir/Patient") is None
    assert ask(live_key, "/v1/fhir/Patient", PATIENT) is None
    with tenant_scope(live_tenant):
        assert not AuditEvent.objects.filter(action="fhir.create").exists()


def test_a_key_that_lost_a_scope_writes_no_more(live_key: str) -> None:
    ApiKey.objects.filter(digest=keys.digest_of(live_key)).update(scopes=["fhir:read"])
    assert ask(live_key, "/v1/fhir/Patient", PATIENT) is None
    introduce(live_key)
    assert ask(live_key, "/v1/fhir/Patient", PATIENT) is None
    assert ask(live_key, "/v1/fhir/Patient") is not None


def test_an_expired_key_is_declined(live_key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = timezone.now() + timedelta(seconds=30)
    ApiKey.objects.filter(digest=keys.digest_of(live_key)).update(expires_at=moment)
    introduce(live_key)
    assert ask(live_key, "/v1/fhir/Patient") is not None
    monkeypatch.setattr("django.utils.timezone.now", lambda: moment)
    assert ask(live_key, "/v1/fhir/Patient") is None


def test_writes_of_a_project_that_asks_for_profiles_go_the_whole_way(
    live_key: str, live_tenant: Scope
) -> None:
    projects = Project.objects.filter(id=live_tenant.project_id)
    wrong = {**PATIENT, "meta": {"profile": ["http://x/nowhere"]}}
    assert ask(live_key, "/v1/fhir/Patient", wrong) is not None
    try:
        projects.update(fhir_profiles={"mode": "required"})
        assert ask(live_key, "/v1/fhir/Patient", wrong) is None  # what was remembered is outdated
        introduce(live_key)
        assert ask(live_key, "/v1/fhir/Patient", wrong) is None
        found = ask(live_key, "/v1/fhir/Patient?_total=accurate")
        assert found is not None
        assert found.json["total"] == 1
    finally:
        projects.update(fhir_profiles={})


def test_an_archived_project_takes_no_more_writes(live_key: str, live_tenant: Scope) -> None:
    projects = Project.objects.filter(id=live_tenant.project_id)
    try:
        projects.update(status=Project.Status.ARCHIVED)
        assert ask(live_key, "/v1/fhir/Patient", PATIENT) is None
        introduce(live_key)
        assert ask(live_key, "/v1/fhir/Patient", PATIENT) is None
        assert ask(live_key, "/v1/fhir/Patient") is not None
    finally:
        projects.update(status=Project.Status.ACTIVE)


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("/v1/fhir/Patient/none", None, {}),
        ("/v1/fhir/Patient?family:nonsense=1", None, {}),
        ("/v1/fhir/Patient", {**PATIENT, "gender": "robot"}, {}),
        ("/v1/fhir/Patient", {"resourceType": "Observation"}, {}),
        ("/v1/fhir/Patient?_sort=-_lastUpdated&nonsense=1", None, {"prefer": "handling=strict"}),
        ("/v1/fhir/Patient?_elements=name", None, {"accept": "application/fhir+xml"}),
        ("/v1/fhir/Patient", PATIENT, {"prefer": "return=minimal"}),
    ],
)
def test_it_answers_as_the_whole_way_does_or_declines(
    client_for: ClientFor, path: str, body: object, headers: dict[str, str]
) -> None:
    client = client_for("riverside")
    introduce(secret_of(client))
    data = None if body is None else json.dumps(body)
    send = client.get if body is None else client.post
    whole = (
        send(path, headers=headers)
        if data is None
        else send(path, data, content_type="application/fhir+json", headers=headers)
    )
    answer = ask(secret_of(client), path, body, **headers)
    if answer is None:
        assert whole.status_code >= 400
        return
    assert answer.status == whole.status_code
    assert _steady(answer.headers) == _steady(dict(whole.items()))
    if whole.status_code >= 400:
        known = {**json.loads(whole.content), "id": answer.json["id"]}
        assert answer.json == known


def _steady(headers: dict[str, str]) -> dict[str, object]:
    found: dict[str, object] = {n: v for n, v in headers.items() if n not in VOLATILE}
    found["Content-Security-Policy"] = set(headers["Content-Security-Policy"].split("; "))
    return found


@pytest.mark.parametrize(
    "headers",
    [
        {"idempotency_key": "abcdefgh"},
        {"if_none_exist": "identifier=1"},
        {"healthcloud_version": "2026-11-01"},
        {"x_whatever": "1"},
        {"host": "elsewhere.example"},
    ],
)
def test_a_header_that_may_ask_for_more_leads_the_whole_way(
    live_key: str, live_tenant: Scope, headers: dict[str, str]
) -> None:
    assert ask(live_key, "/v1/fhir/Patient", PATIENT, **headers) is None
    with tenant_scope(live_tenant):
        assert not AuditEvent.objects.filter(action="fhir.create").exists()


def test_what_begins_more_than_its_row_is_created_the_whole_way(live_key: str) -> None:
    for kind in ("Subscription", "SearchParameter", "CodeSystem", "Consent"):
        assert ask(live_key, f"/v1/fhir/{kind}", {"resourceType": kind}) is None


def test_charlie_finds_nothing_of_alice(client_for: ClientFor) -> None:
    alice = client_for("riverside")
    charlie = client_for("lakeside")
    for client in (alice, charlie):
        introduce(secret_of(client))
    created = ask(secret_of(alice), "/v1/fhir/Patient", PATIENT)
    assert created is not None
    address = f"/v1/fhir/Patient/{created.json['id']}"
    answer = ask(secret_of(charlie), address)
    assert answer is not None
    assert answer.status == 404
    named = {"healthcloud_project": "proj_riverside_screening"}
    assert ask(secret_of(charlie), address, **named) is None
    assert ask(secret_of(alice), address) is not None


@pytest.mark.parametrize(
    "path",
    [
        "/v1/fhir/AuditEvent",
        "/v1/fhir/AuditEvent/acc-1",
        "/v1/fhir/SubscriptionTopic",
        "/v1/fhir/SubscriptionTopic/resources",
    ],
)
def test_addresses_with_views_of_their_own_go_the_whole_way(path: str) -> None:
    assert not [route for route in ROUTES if route.pattern.fullmatch(path)]
    assert not [route for route in EXPRESS_ROUTES if route.pattern.fullmatch(path)]
    assert [route for route in ROUTES if route.pattern.fullmatch("/v1/fhir/Patient")]
