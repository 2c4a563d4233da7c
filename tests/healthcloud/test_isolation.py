"""Charlie's hammer: every route with ids of elsewhere, and two organizations at full speed.

The routes come from the OpenAPI document, so that a new route is attacked from its first day.
Elsewhere is another organization, another project of one's own, and the other environment; each
holds a row of every kind, marked with a word that must never be in an answer to somebody else.
"""

import base64
import json
import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from http.client import HTTPConnection
from typing import Any

import pytest
from django.db import connection
from pytest_django.plugin import DjangoDbBlocker
from rest_framework.test import APIClient

from assets.models import AgentRun, Deployment
from healthcloud.actors import SYSTEM
from healthcloud.api.openapi import build
from healthcloud.api.principal import ALL_SCOPES
from healthcloud.ledger.worker import run_until_idle
from healthcloud.organizations import keys, services
from healthcloud.organizations.models import ApiKey, Environment, Organization, Project
from healthcloud.tenancy.provisioning import create_tenant
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.healthcloud.events.test_process import web

__all__ = ["web"]

ClientFor = Callable[..., APIClient]
MODEL = "model_uti_dipstick_v1"
CATALOG = ("/v1/agents", "/v1/assets", "/v1/integrations")  # the same for everybody
METHODS = ("get", "post", "put", "patch", "delete")
FHIR = "application/fhir+json"
# Where FHIR lets a write at an unknown id succeed, it makes or keeps a row of one's own.
OWN_ROW = {("put", "/v1/fhir/{resource_type}/{id}"): 201,
           ("delete", "/v1/fhir/{resource_type}/{id}"): 204}  # fmt: skip
# What answers about one's own data or the body that was sent; the marks in it are checked.
ABOUT_ONESELF = {
    ("get", "/v1/fhir/{resource_type}/{id}/{searched}"),
    ("get", "/v1/fhir/{resource_type}/{id}/{searched}/_search"),
    ("post", "/v1/fhir/{resource_type}/{id}/{searched}/_search"),
    ("get", "/v1/fhir/{resource_type}/{id}/_search"),
    ("post", "/v1/fhir/{resource_type}/{id}/_search"),
    ("post", "/v1/fhir/{resource_type}/{id}/$validate"),
    ("post", "/v1/workflows/{slug}/validate"),
}
BODIES: dict[str, object] = {
    "recover": {"since": "2026-01-01T00:00:00Z"},
    "decide": {"decision": "approved"},
    "signal": {"name": "go"},
    "webhook_id": {"description": "taken"},
    "project_id": {"name": "taken"},
    "organization_id": {"name": "taken"},
    "user_id": {"role": "viewer"},
    "installation_id": {"config": {}},
    "credentials": {"client_id": "x"},
    "invoke": {"input": {}},
    "rollback": {"release": 1},
}


def workflow(mark: str, slug: str) -> dict[str, object]:
    step = {"id": "ask", "kind": "approval", "with": {"title": f"Treat {mark}?"}}
    return {"slug": slug, "name": mark, "steps": [step], "publish": True}


def patient(mark: str, rid: str) -> dict[str, object]:
    return {"resourceType": "Patient", "id": rid, "name": [{"family": mark}]}


@dataclass
class Place:
    """Somewhere else, with the ids of what is there; `wide` are those of a whole organization."""

    organization: str
    environment: str
    project: str
    client: APIClient
    mark: str
    ids: dict[str, str] = field(default_factory=dict)

    def fill(self, scope: Scope, now: datetime) -> None:
        post = self._post
        self.client.put(
            f"/v1/fhir/Patient/pat_{self.mark}",
            json.dumps(patient(self.mark, f"pat_{self.mark}")),
            content_type=FHIR,
        )
        slug = f"flow_{self.mark.lower()}"
        post("/v1/workflows", workflow(self.mark, slug))
        run = post("/v1/workflows/run", {"workflow_id": slug, "input": {"note": self.mark}})
        webhook = post("/v1/webhooks", {"url": "https://example.com/x", "description": self.mark})
        post(f"/v1/webhooks/{webhook['id']}/test", {})
        installed = post("/v1/assets/install", {"asset_id": MODEL})
        deployed = post("/v1/deployments", {"asset_id": MODEL})
        key = post("/v1/api-keys", {"name": self.mark, "scopes": ["fhir:read"]})
        run_until_idle(["steps"])
        with tenant_scope(scope):
            agent_run = AgentRun.objects.create(
                id=f"arun_{self.mark}",
                project_id=scope.project_id,
                deployment=Deployment.objects.get(id=deployed["id"]),
                asset_id=MODEL,
                asset_version="1.0.0",
                release_number=1,
                idempotency_key=self.mark,
                trigger="api",
                actor={},
                input={"note": self.mark},
                started_at=now,
            )
        self.ids = {
            "id": f"pat_{self.mark}",
            "resource_type": "Patient",
            "searched": "Observation",
            "version": "1",
            "slug": slug,
            "workflows.run_id": run["id"],
            "agent-runs.run_id": agent_run.id,
            "webhook_id": webhook["id"],
            "delivery_id": self._first(f"/v1/webhooks/{webhook['id']}/deliveries"),
            "installation_id": installed["id"],
            "deployment_id": deployed["id"],
            "key_id": key["id"],
            "task_id": self._first("/v1/tasks"),
            "event_id": self._first("/v1/events"),
        }
        if self.project != "screening" or self.organization != "riverside":
            self.ids["project_id"] = f"proj_{self.organization}_{self.project}"
        if self.organization != "riverside":
            invited = services.invite(
                organization_id=f"org_{self.organization}",
                email=f"{self.mark}@example.com",
                role="viewer",
                actor=SYSTEM,
                now=now,
            )
            self.ids |= {
                "invitation_id": invited.invitation.id,
                "organization_id": f"org_{self.organization}",
                "user_id": "usr_charlie",
            }

    def snapshot(self) -> list[object]:
        """Return what the owner sees of everything, to see that nothing was changed."""
        paths = (
            f"/v1/fhir/Patient/pat_{self.mark}",
            f"/v1/workflows/{self.ids['slug']}",
            f"/v1/workflows/runs/{self.ids['workflows.run_id']}",
            f"/v1/tasks/{self.ids['task_id']}",
            f"/v1/webhooks/{self.ids['webhook_id']}",
            f"/v1/asset-installations/{self.ids['installation_id']}",
            f"/v1/deployments/{self.ids['deployment_id']}",
            f"/v1/api-keys/{self.ids['key_id']}",
            "/v1/events",
        )
        answers = [self.client.get(path) for path in paths]
        assert {answer.status_code for answer in answers} == {200}
        return [answer.json() for answer in answers]

    def _post(self, path: str, body: object) -> dict[str, Any]:
        answer = self.client.post(path, body, format="json")
        assert answer.status_code < 300, (path, answer.content)
        return answer.json()

    def _first(self, path: str) -> str:
        return str(self.client.get(path).json()["data"][0]["id"])


@pytest.fixture(params=[("lakeside", "sandbox", "screening"), ("riverside", "sandbox", "referrals"),
                        ("riverside", "production", "screening")], ids="-".join)  # fmt: skip
def elsewhere(
    request: pytest.FixtureRequest, client_for: ClientFor, empty_ledger: None, now: datetime
) -> Place:
    organization, environment, project = request.param
    client = client_for(organization, environment=environment, project=project)
    tenant = Environment.objects.get(id=f"env_{organization}_{environment}")
    scope = tenant.scope(Project.objects.get(id=f"proj_{organization}_{project}"))
    place = Place(organization, environment, project, client, f"Zz{organization}{project}".title())
    place.fill(scope, now)
    return place


@cache
def operations() -> list[tuple[str, str]]:
    paths: dict[str, dict[str, object]] = build()["paths"]
    found = [(method, path) for path, item in paths.items() for method in METHODS if method in item]
    return sorted(found, key=OWN_ROW.__contains__)  # those last, since they make rows of one's own


def address(path: str, ids: dict[str, str]) -> str | None:
    """Return the route's path with ids of elsewhere; None where elsewhere has nothing of it."""
    room = path.split("/")[2]
    names = re.findall(r"{(\w+)}", path)
    values = {name: ids.get(f"{room}.{name}") or ids.get(name) for name in names}
    if None in values.values():
        return None
    return re.sub(r"{(\w+)}", lambda found: str(values[found[1]]), path)


def body_for(path: str, mark: str, ids: dict[str, str]) -> tuple[str, str]:
    if path.startswith("/v1/fhir"):
        return json.dumps(patient("Mine", ids["id"])), FHIR
    if path.startswith("/v1/workflows/{slug}"):
        return json.dumps(workflow("Mine", ids["slug"])), "application/json"
    tail = path.rsplit("/", 1)[1].strip("{}")
    return json.dumps(BODIES.get(tail, {})), "application/json"


def attack(client: APIClient, method: str, path: str, place: Place) -> Any:
    target = address(path, place.ids)
    if target is None:
        return None
    if method == "get":
        return client.get(target)
    body, kind = body_for(path, place.mark, place.ids)
    if method == "patch" and path.startswith("/v1/fhir"):
        body, kind = "[]", "application/json-patch+json"
    return getattr(client, method)(target, body, content_type=kind)


@pytest.mark.django_db
@pytest.mark.parametrize("wide", [False, True], ids=["project-key", "organization-key"])
def test_no_route_shows_or_changes_what_is_elsewhere(
    elsewhere: Place, client_for: ClientFor, wide: bool
) -> None:
    if wide and (elsewhere.organization, elsewhere.environment) == ("riverside", "sandbox"):
        pytest.skip("an organization-wide key may reach all projects of its environment")
    attacker = client_for("riverside", project=None if wide else "screening")
    attacker.credentials(
        **attacker._credentials, HTTP_HEALTHCLOUD_PROJECT="proj_riverside_screening"
    )
    before, wrong, tried = elsewhere.snapshot(), [], Counter()
    for method, path in operations():
        if path.startswith(CATALOG) or path.startswith("/v1/assets"):
            continue
        answer = attack(attacker, method, path, elsewhere)
        if answer is None:
            continue
        tried[answer.status_code] += 1
        shown = re.sub(rf"(pat|arun)_{elsewhere.mark}", "", answer.content.decode())
        if elsewhere.mark in shown:
            wrong.append((method, path, answer.status_code, "shows a mark"))
        if "{" in path and not _refused(method, path, answer.status_code):
            wrong.append((method, path, answer.status_code, shown[:200]))
    assert not wrong, "\n".join(map(str, wrong))
    assert tried[404] + tried[403] > 40
    assert elsewhere.snapshot() == before


def _refused(method: str, path: str, status: int) -> bool:
    if "/$" in path and status == 400:  # parameters of an operation are read before its target
        return True
    if (method, path) in OWN_ROW:
        return status == OWN_ROW[method, path]
    if (method, path) in ABOUT_ONESELF:
        return status < 500
    of_a_type = path.startswith("/v1/fhir/{resource_type}") and "{id}" not in path
    return status in {403, 404} or of_a_type  # one's own search or create; its marks are checked


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("header", "status"),
    [
        ({"HTTP_HEALTHCLOUD_PROJECT": "proj_lakeside_screening"}, 404),
        ({"HTTP_HEALTHCLOUD_PROJECT": "proj_riverside_referrals"}, 403),
    ],
)
def test_no_route_enters_a_project_that_is_not_the_keys(
    client_for: ClientFor, header: dict[str, str], status: int
) -> None:
    client = client_for("riverside", project="screening")
    open_to_all = {"/v1/fhir/metadata"}
    for method, path in operations():
        answer = client.generic(method.upper(), re.sub(r"{\w+}", "Patient", path), **header)
        expected = {status} if path not in open_to_all else {200, status}
        assert answer.status_code in expected | {400, 404}, (method, path, answer.content)


@pytest.mark.django_db
def test_the_character_nul_is_refused_and_no_fault_of_ours(
    client_for: ClientFor, alice: object
) -> None:
    stranger, browser = (APIClient(raise_request_exception=False) for _ in range(2))
    browser.force_login(alice, backend="django.contrib.auth.backends.ModelBackend")
    cursor = base64.urlsafe_b64encode(b'["a\\u0000",1]').decode()
    answers = [
        stranger.get("/v1/events/stream?ticket=tkt_%00.x"),
        browser.get("/v1/projects?organization_id=%00"),
        browser.get("/v1/projects?environment=%00"),
        client_for("riverside", project="screening").get(
            f"/v1/fhir/Patient?_sort=_id&_cursor={cursor}"
        ),
    ]
    assert [answer.status_code for answer in answers] == [401, 400, 400, 400]


# --- Two organizations at full speed ----------------------------------------------------------


@pytest.fixture
def second_live(live_tenant: Scope, django_db_blocker: DjangoDbBlocker) -> Iterator[Scope]:
    """Another organization whose transactions commit, beside `live_tenant`."""
    with django_db_blocker.unblock():
        organization, _ = Organization.objects.get_or_create(
            id="org_live2", defaults={"name": "Live 2", "slug": "live2"}
        )
        environment, made = Environment.objects.get_or_create(
            id="env_live2",
            defaults={"organization": organization, "kind": "sandbox", "status": "active"},
        )
        project, _ = Project.objects.get_or_create(
            id="proj_live2",
            defaults={"organization": organization, "name": "Live 2", "slug": "live2"},
        )
        if made:
            create_tenant(environment)
        yield environment.scope(project)
        ApiKey.objects.filter(environment=environment).delete()
        connection.close()


def live_key(scope: Scope) -> str:
    secret = keys.generate("sandbox")
    ApiKey.objects.create(
        organization_id=scope.organization_id,
        environment_id=scope.environment_id,
        project_id=scope.project_id,
        name="hammer",
        prefix=secret.prefix,
        last4=secret.last4,
        digest=secret.digest,
        scopes=list(ALL_SCOPES),
        created_by_id="usr_alice",
    )
    return secret.text


@dataclass(frozen=True)
class Side:
    """One of the two organizations: its key, its mark, and the mark of the other."""

    organization: str
    key: str
    mark: str
    foreign: str


ENOUGH = 500


def requests(side: Side, number: int) -> Iterator[tuple[str, str, bytes]]:
    """Yield requests that mean the same ids in both organizations."""
    rid = f"same_{number % 7}"
    body = json.dumps(patient(side.mark, rid)).encode()
    entries = [
        {"request": {"method": "GET", "url": f"Patient/{rid}"}},
        {"request": {"method": "GET", "url": f"Patient?family={side.foreign}"}},
    ]
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": entries}
    yield "PUT", f"/v1/fhir/Patient/{rid}", body
    yield "GET", f"/v1/fhir/Patient/{rid}", b""
    yield "GET", f"/v1/fhir/Patient?family={side.mark}&_total=accurate", b""
    yield "GET", f"/v1/fhir/Patient?family={side.foreign}", b""
    yield "GET", f"/v1/fhir/Patient/{rid}/_history?_count=3", b""
    yield "POST", "/v1/fhir", json.dumps(bundle).encode()
    yield "GET", "/v1/events?type=fhir.*&limit=5", b""
    yield "GET", f"/v1/patients/{rid}", b""


def hammer(host: str, sides: list[Side], until: float, wrong: list[object], count: Counter) -> None:
    """Send both organizations' requests over one connection, and check every answer.

    It goes on until the time is up and enough was asked, however slow the machine is.
    """
    connection_ = HTTPConnection(host, timeout=60)
    number = threading.get_ident() % 7
    while (time.monotonic() < until or count[200] <= ENOUGH) and not wrong:
        number += 1
        for pair in zip(*(requests(side, number) for side in sides), strict=True):
            for side, (method, path, body) in zip(sides, pair, strict=True):
                headers = {"Authorization": f"Bearer {side.key}", "Content-Type": FHIR}
                connection_.request(method, path, body or None, headers)
                answer = connection_.getresponse()
                text = answer.read().decode()
                count[answer.status] += 1
                seen = text.replace(f"family={side.foreign}", "")
                owner = answer.headers["HealthCloud-Organization-Id"]
                if side.foreign in seen or owner != side.organization or answer.status >= 500:
                    wrong.append((side.mark, method, path, answer.status, owner, text[:300]))
                    return
    connection_.close()


@pytest.mark.slow
def test_two_organizations_at_full_speed_never_see_each_other(
    web: tuple[subprocess.Popen[bytes], str], live_tenant: Scope, second_live: Scope
) -> None:
    _, host = web
    scopes, marks = (live_tenant, second_live), ("Aardvark", "Zebra")
    sides = [
        Side(scope.organization_id, live_key(scope), mark, foreign)
        for scope, mark, foreign in zip(scopes, marks, reversed(marks), strict=True)
    ]
    wrong: list[object] = []
    count: Counter[int] = Counter()
    until = time.monotonic() + 12
    threads = [
        threading.Thread(target=hammer, args=(host, order, until, wrong, count))
        for order in (sides, sides[::-1]) * 4
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert count[200] > ENOUGH, count
    assert set(count) <= {200, 201, 409}, count
