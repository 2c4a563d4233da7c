"""What is plainest is answered in the loop's thread, exactly as its view would answer."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from fhir.api.express import ROUTES
from fhir.store import create, delete
from healthcloud.actors import SYSTEM
from healthcloud.audit.models import AuditEvent
from healthcloud.organizations import keys
from healthcloud.organizations.express import Answer, ExpressApplication
from healthcloud.organizations.models import ApiKey, Project
from healthcloud.tenancy.awaiting import LoopConnections
from healthcloud.tenancy.pipeline import Statement
from healthcloud.tenancy.scope import Scope, execute, tenant_scope
from tests.fhir.api.test_direct import PATIENT, VOLATILE, introduce, live_key
from tests.fhir.api.test_direct import Answer as DirectAnswer
from tests.fhir.api.test_direct import ask as ask_directly
from tests.healthcloud.conftest import live_scope, live_tenant

__all__ = ["live_key", "live_scope", "live_tenant"]
VITAL = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "8310-5"}]},
    "valueQuantity": {"value": 36.60, "unit": "C"},
}


def ask(
    secret: str, path: str, body: object = None, *, method: str = "", **headers: str
) -> Answer | None:
    """Send a request to the express application; None where it declines."""
    [answer] = ask_all(secret, [(path, body)], method=method, **headers)
    return answer


def ask_all(
    secret: str,
    asked: list[tuple[str, object]],
    *,
    method: str = "",
    size: int = 2,
    headers_last: list[tuple[bytes, bytes]] | None = None,
    **headers: str,
) -> list[Answer | None]:
    """Send requests at once, over few connections; what is to be done later is done at the end."""
    later: list[Callable[[], object]] = []
    application = ExpressApplication(ROUTES, LoopConnections(size), later.append)

    async def one(path: str, body: object) -> Answer | None:
        data = b"" if body is None else json.dumps(body).encode()
        sent = {
            "host": "testserver",
            "authorization": f"Bearer {secret}",
            "content-type": "application/fhir+json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        address, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": method or ("GET" if body is None else "POST"),
            "scheme": "http",
            "path": address,
            "raw_path": address.encode(),
            "query_string": query.encode(),
            "server": ("testserver", 80),
            "headers": [(n.encode(), v.encode()) for n, v in sent.items()] + (headers_last or []),
        }
        return await application(scope, data)

    async def everything() -> list[Answer | None]:
        try:
            return await asyncio.gather(*(one(path, body) for path, body in asked))
        finally:
            application.connections.close()

    answers = asyncio.run(everything())
    for action in later:
        action()
    return answers


def trail(scope: Scope) -> list[tuple[str, str, str, str]]:
    """Return interaction, outcome, type and query of each access that was recorded."""
    sql = "SELECT interaction, outcome, rtype, query FROM fhir_access ORDER BY 1, 4"
    with tenant_scope(scope):
        return [tuple(cell.decode() for cell in row) for row in execute([Statement(sql)])[0]]


def stored(scope: Scope, resource: dict[str, Any]) -> str:
    """Store a resource and return its id."""
    with tenant_scope(scope):
        kind = str(resource["resourceType"])
        made = create(resource=resource, resource_type=kind, actor=SYSTEM, now=timezone.now())
    return made.id


def test_a_resource_is_created_read_and_found(live_key: str, live_tenant: Scope) -> None:
    before = len(trail(live_tenant))
    created = ask(live_key, "/v1/fhir/Patient", PATIENT, x_request_id="req_12345678")
    assert created is not None
    assert created.status == 201
    rid = json.loads(created.body)["id"]
    assert dict(created.headers)[b"location"].endswith(f"/Patient/{rid}/_history/1".encode())
    read = ask(live_key, f"/v1/fhir/Patient/{rid}")
    assert read is not None
    assert (read.status, read.body) == (200, created.body)
    found = ask(live_key, "/v1/fhir/Patient?family=dir&_total=accurate")
    assert found is not None
    assert json.loads(found.body)["total"] == 1
    with tenant_scope(live_tenant):
        event = AuditEvent.objects.get(action="fhir.create")
        assert (event.target_id, event.request_id) == (rid, "req_12345678")
    seen = trail(live_tenant)
    assert len(seen) == before + 2
    assert ("read", "success", "Patient", "") in seen
    assert ("search", "success", "Patient", "family=dir&_total=accurate") in seen


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?family=dir",
        "?family=nobody",
        "?family=dir&_summary=true",
        "?_elements=name&_total=accurate",
        "?nonsense=1",
        "?_sort=-birthdate&_count=1&family=dir&family=direct",
        "?_has:Observation:patient:code=8310-5",
        "?_revinclude=Observation:subject&_include=Patient:organization",
        "?name:exact=Direct,Other&gender:missing=true&_count=0",
        "?given=Ad%C3%A1,Ada%20",
    ],
)
def test_a_search_is_answered_as_the_view_does(
    live_key: str, live_tenant: Scope, query: str
) -> None:
    rid = stored(live_tenant, PATIENT)
    stored(live_tenant, {**PATIENT, "gender": "female", "birthDate": "1980-01-01"})
    stored(live_tenant, {**VITAL, "subject": {"reference": f"Patient/{rid}"}})
    mine = ask(live_key, f"/v1/fhir/Patient{query}")
    assert mine is not None
    theirs = ask_directly(live_key, f"/v1/fhir/Patient{query}")
    assert theirs is not None
    assert (mine.status, _headers(mine)) == (theirs.status, _headers(theirs))
    mine_body, theirs_body = json.loads(mine.body), theirs.json
    for body in (mine_body, theirs_body):
        del body["id"], body["meta"]
    assert mine_body == theirs_body


@pytest.mark.parametrize("wish", ["", "return=minimal", "return=representation"])
def test_a_create_is_answered_as_the_view_does(
    live_key: str, live_tenant: Scope, wish: str
) -> None:
    headers = {"prefer": wish} if wish else {}
    mine = ask(live_key, "/v1/fhir/Observation", VITAL, **headers)
    theirs = ask_directly(live_key, "/v1/fhir/Observation", VITAL, **headers)
    assert mine is not None
    assert theirs is not None
    assert (mine.status, _headers(mine)) == (theirs.status, _headers(theirs))
    assert bool(mine.body) is bool(theirs.body) is (wish != "return=minimal")
    if mine.body:
        assert mine.body[mine.body.index(b'"tag"') :] == theirs.body[theirs.body.index(b'"tag"') :]


def test_a_read_is_answered_as_the_view_does(live_key: str, live_tenant: Scope) -> None:
    address = f"/v1/fhir/Patient/{stored(live_tenant, PATIENT)}"
    mine, theirs = ask(live_key, address), ask_directly(live_key, address)
    assert mine is not None
    assert theirs is not None
    assert (mine.body, _headers(mine)) == (theirs.body, _headers(theirs))


def _headers(answer: Answer | DirectAnswer) -> dict[str, object]:
    """Return the headers that are the same in every answer of the kind, by lower-case names."""
    listed = answer.headers
    if isinstance(listed, dict):
        named = {name.lower(): value for name, value in listed.items()}
    else:
        named = {name.decode(): value.decode() for name, value in listed}
        assert len(named) == len(listed)
    found: dict[str, object] = {
        name: value
        for name, value in named.items()
        if name not in {volatile.lower() for volatile in VOLATILE}
    }
    found["content-security-policy"] = set(named["content-security-policy"].split("; "))
    found["names"] = frozenset(named)
    return found


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("/v1/fhir/Patient/none", None, {}),
        ("/v1/fhir/Patient/a?_format=json", None, {}),
        ("/v1/fhir/Robot/a", None, {}),
        ("/v1/fhir/Patient?family:nonsense=1", None, {}),
        ("/v1/fhir/Patient?_format=xml", None, {}),
        ("/v1/fhir/Patient?_pretty=true", None, {}),
        ("/v1/fhir/Patient?_count=500", None, {}),
        ("/v1/fhir/Patient?_include=*", None, {}),
        ("/v1/fhir/Patient?_include=Patient:link&_include:iterate=Patient:link", None, {}),
        ("/v1/fhir/Patient?family=Jos\u00e9", None, {}),
        ("/v1/fhir/Patient?family=%00", None, {}),
        ("/v1/fhir/Patient?project_id=proj_riverside_screening", None, {}),
        ("/v1/fhir/Patient?_list=abc", None, {}),
        ("/v1/fhir/Observation?code:in=http://loinc.org/vs", None, {}),
        ("/v1/fhir/Patient?nonsense=1", None, {"prefer": "handling=strict"}),
        ("/v1/fhir/Patient", None, {"prefer": "respond-async"}),
        ("/v1/fhir/Binary", None, {}),
        ("/v1/fhir/Patient", None, {"accept": "application/fhir+xml"}),
        ("/v1/fhir/Patient", None, {"accept": "image/png"}),
        ("/v1/fhir/Patient", None, {"if_none_match": 'W/"1"'}),
        ("/v1/fhir/Patient", None, {"host": "elsewhere.example"}),
        ("/v1/fhir/Patient", None, {"healthcloud_version": "2026-11-01"}),
        ("/v1/fhir/Patient", {**PATIENT, "gender": "robot"}, {}),
        ("/v1/fhir/Patient", {"resourceType": "Observation"}, {}),
        ("/v1/fhir/Patient", PATIENT, {"if_none_exist": "_count=1"}),
        ("/v1/fhir/Patient", PATIENT, {"idempotency_key": "abcdefgh"}),
        ("/v1/fhir/Patient", PATIENT, {"content_type": "text/plain"}),
        ("/v1/fhir/Patient", PATIENT, {"prefer": "return=OperationOutcome"}),
        ("/v1/fhir/Patient", {**PATIENT, "id": "x", "text": {"div": "x" * 40_000}}, {}),
        ("/v1/fhir/Consent", {"resourceType": "Consent"}, {}),
    ],
)
def test_what_is_not_plain_is_declined_with_nothing_done(
    live_key: str, live_tenant: Scope, path: str, body: object, headers: dict[str, str]
) -> None:
    before = trail(live_tenant)
    assert ask(live_key, path, body, **headers) is None
    assert trail(live_tenant) == before
    with tenant_scope(live_tenant):
        assert not AuditEvent.objects.filter(action="fhir.create").exists()


def test_a_header_that_stands_twice_is_not_plain(live_key: str) -> None:
    twice = [(b"accept", b"*/*"), (b"accept", b"application/fhir+xml")]
    assert ask_all(live_key, [("/v1/fhir/Patient", None)], headers_last=twice) == [None]


def test_a_revoked_key_is_refused_at_its_next_request(live_key: str, live_tenant: Scope) -> None:
    address = f"/v1/fhir/Patient/{stored(live_tenant, PATIENT)}"
    assert ask(live_key, address) is not None
    ApiKey.objects.filter(digest=keys.digest_of(live_key)).update(revoked_at=timezone.now())
    before = trail(live_tenant)
    assert ask_all(live_key, [(address, None), ("/v1/fhir/Patient", PATIENT)]) == [None, None]
    assert trail(live_tenant) == before
    with tenant_scope(live_tenant):
        assert AuditEvent.objects.filter(action="fhir.create").count() == 1


def test_a_key_that_lost_a_scope_does_no_more(live_key: str) -> None:
    ApiKey.objects.filter(digest=keys.digest_of(live_key)).update(scopes=["Observation:read"])
    assert ask(live_key, "/v1/fhir/Patient") is None
    with suppress(AssertionError):  # of the status that the whole way answers
        introduce(live_key)
    assert ask(live_key, "/v1/fhir/Patient") is None
    assert ask(live_key, "/v1/fhir/Patient", PATIENT) is None
    assert ask(live_key, "/v1/fhir/Observation") is not None


def test_an_archived_project_goes_the_whole_way(live_key: str, live_tenant: Scope) -> None:
    projects = Project.objects.filter(id=live_tenant.project_id)
    try:
        projects.update(status=Project.Status.ARCHIVED)
        assert ask(live_key, "/v1/fhir/Patient", PATIENT) is None
        introduce(live_key)
        assert ask(live_key, "/v1/fhir/Patient", PATIENT) is None
    finally:
        projects.update(status=Project.Status.ACTIVE)


def test_writes_of_a_project_that_asks_for_profiles_go_the_whole_way(
    live_key: str, live_tenant: Scope
) -> None:
    projects = Project.objects.filter(id=live_tenant.project_id)
    wrong = {**PATIENT, "meta": {"profile": ["http://x/nowhere"]}}
    try:
        projects.update(fhir_profiles={"mode": "required"})
        assert ask(live_key, "/v1/fhir/Patient", wrong) is None
        introduce(live_key)
        assert ask(live_key, "/v1/fhir/Patient", wrong) is None
        assert ask(live_key, "/v1/fhir/Patient") is not None
    finally:
        projects.update(fhir_profiles={})


def test_a_key_bound_to_addresses_goes_the_whole_way(live_key: str) -> None:
    found = ApiKey.objects.filter(digest=keys.digest_of(live_key))
    found.update(allowed_addresses=["127.0.0.0/8"])
    introduce(live_key)
    assert ask(live_key, "/v1/fhir/Patient") is None


def test_a_caller_with_a_rate_limit_goes_the_whole_way(live_key: str, settings: Any) -> None:
    settings.SANDBOX_UNLIMITED = False
    assert ask(live_key, "/v1/fhir/Patient") is None


def test_another_organization_finds_nothing(live_key: str, live_tenant: Scope) -> None:
    theirs = {"healthcloud_project": "proj_riverside_screening"}
    assert ask(live_key, "/v1/fhir/Patient", **theirs) is None


def test_many_requests_share_few_connections(live_key: str, live_tenant: Scope) -> None:
    rids = [stored(live_tenant, PATIENT) for _ in range(3)]
    asked = [(f"/v1/fhir/Patient/{rids[n % 3]}", None) for n in range(20)]
    answers = ask_all(live_key, asked, size=2)
    assert [json.loads(a.body)["id"] for a in answers if a] == [rids[n % 3] for n in range(20)]


def test_what_the_database_refused_is_declined(
    live_key: str, live_tenant: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(self: LoopConnections, statements: object, *, guarded: bool) -> object:
        raise psycopg.errors.QueryCanceled("canceling statement due to statement timeout")

    monkeypatch.setattr(LoopConnections, "run", refuse)
    assert ask(live_key, "/v1/fhir/Patient", PATIENT) is None
    assert ask(live_key, "/v1/fhir/Patient") is None


def test_of_a_lost_connection_a_write_is_told_and_a_read_is_declined(
    live_key: str, live_tenant: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lose(self: LoopConnections, statements: object, *, guarded: bool) -> object:
        raise psycopg.OperationalError("the server closed the connection")

    monkeypatch.setattr(LoopConnections, "run", lose)
    assert ask(live_key, "/v1/fhir/Patient") is None
    answer = ask(live_key, "/v1/fhir/Patient", PATIENT)
    assert answer is not None
    assert answer.status in {500, 503}
    assert json.loads(answer.body)["resourceType"] == "OperationOutcome"


def test_creates_that_come_at_once_are_stored_and_recorded_one_by_one(
    live_key: str, live_tenant: Scope
) -> None:
    asked: list[tuple[str, object]] = [
        ("/v1/fhir/Patient", {**PATIENT, "name": [{"family": f"Together{n}"}]}) for n in range(16)
    ]
    answers = ask_all(live_key, asked)
    bodies = [json.loads(answer.body) for answer in answers if answer is not None]
    assert [body["name"][0]["family"] for body in bodies] == [f"Together{n}" for n in range(16)]
    ids = {body["id"] for body in bodies}
    assert len(ids) == 16
    with tenant_scope(live_tenant):
        events = AuditEvent.objects.filter(action="fhir.create", target_id__in=ids)
        assert {event.target_id for event in events} == ids
        assert len({event.request_id for event in events}) == 16
        assert {event.details["version"] for event in events} == {1}
    for body in bodies:
        read = ask(live_key, f"/v1/fhir/Patient/{body['id']}")
        assert read is not None
        assert json.loads(read.body) == body


def put(secret: str, rid: str, body: object, **headers: str) -> Answer | None:
    return ask(secret, f"/v1/fhir/Patient/{rid}", body, method="PUT", **headers)


def test_an_update_is_answered_as_the_view_does(live_key: str, live_tenant: Scope) -> None:
    rid = stored(live_tenant, PATIENT)
    mine = put(live_key, rid, {**PATIENT, "id": rid, "gender": "female"})
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {live_key}")
    body = {**PATIENT, "id": rid, "gender": "male"}
    theirs = client.put(f"/v1/fhir/Patient/{rid}", body, format="json")
    assert mine is not None
    assert (mine.status, theirs.status_code) == (200, 200)
    names = {name.decode() for name, _ in mine.headers}
    volatile = {name.lower() for name in VOLATILE} | {"content-length"}
    assert names - volatile == {name.lower() for name in theirs.headers} - volatile
    assert json.loads(mine.body)["meta"]["versionId"] == "2"
    assert json.loads(theirs.content)["meta"]["versionId"] == "3"
    with tenant_scope(live_tenant):
        events = AuditEvent.objects.filter(action="fhir.update", target_id=rid)
        assert sorted(event.details["version"] for event in events) == [2, 3]


def test_an_update_of_what_is_not_there_creates_it_and_one_of_what_is_gone_goes_on(
    live_key: str, live_tenant: Scope
) -> None:
    made = put(live_key, "chosen-1", {**PATIENT, "id": "chosen-1"})
    assert made is not None
    assert made.status == 201
    assert dict(made.headers)[b"location"].endswith(b"/Patient/chosen-1/_history/1")
    with tenant_scope(live_tenant):
        delete(resource_type="Patient", id="chosen-1", actor=SYSTEM, now=timezone.now())
    again = put(live_key, "chosen-1", {**PATIENT, "id": "chosen-1"})
    assert again is not None
    assert (again.status, json.loads(again.body)["meta"]["versionId"]) == (201, "3")


def test_what_an_update_asks_besides_is_declined_or_heeded(
    live_key: str, live_tenant: Scope
) -> None:
    rid = stored(live_tenant, PATIENT)
    body = {**PATIENT, "id": rid}
    assert put(live_key, rid, body, if_match='W/"7"') is None
    assert put(live_key, rid, body, if_none_match="*") is None
    assert put(live_key, rid, {**body, "id": "another"}) is None
    assert put(live_key, rid, PATIENT) is None
    assert put(live_key, rid, {**body, "gender": "unheard of"}) is None
    read = ask(live_key, f"/v1/fhir/Patient/{rid}")
    assert read is not None
    assert json.loads(read.body)["meta"]["versionId"] == "1"
    heeded = put(live_key, rid, body, if_match='W/"1"')
    assert heeded is not None
    assert json.loads(heeded.body)["meta"]["versionId"] == "2"


def test_of_updates_that_come_at_once_each_that_is_answered_is_a_version(
    live_key: str, live_tenant: Scope
) -> None:
    rid = stored(live_tenant, PATIENT)
    path = f"/v1/fhir/Patient/{rid}"
    asked: list[tuple[str, object]] = [(path, {**PATIENT, "id": rid}) for _ in range(8)]
    answers = [answer for answer in ask_all(live_key, asked, method="PUT") if answer is not None]
    versions = sorted(int(json.loads(answer.body)["meta"]["versionId"]) for answer in answers)
    assert answers
    assert versions == list(range(2, len(answers) + 2))
    read = ask(live_key, path)
    assert read is not None
    assert int(json.loads(read.body)["meta"]["versionId"]) == versions[-1]


def test_of_updates_that_expect_the_same_version_one_is_written(
    live_key: str, live_tenant: Scope
) -> None:
    rid = stored(live_tenant, PATIENT)
    path = f"/v1/fhir/Patient/{rid}"
    asked: list[tuple[str, object]] = [(path, {**PATIENT, "id": rid}) for _ in range(8)]
    answers = ask_all(live_key, asked, method="PUT", if_match='W/"1"')
    assert len([answer for answer in answers if answer is not None]) == 1


def identified(value: str) -> dict[str, Any]:
    return {**PATIENT, "identifier": [{"system": "http://example.org/mrn", "value": value}]}


def test_of_conditional_creates_that_come_at_once_one_creates(
    live_key: str, live_tenant: Scope
) -> None:
    condition = "identifier=http://example.org/mrn|once"
    asked: list[tuple[str, object]] = [("/v1/fhir/Patient", identified("once"))] * 12
    answers = ask_all(live_key, asked, size=4, if_none_exist=condition)
    # Who waited for the condition for long went the whole way.
    statuses = [answer.status for answer in answers if answer is not None]
    assert statuses.count(201) == 1
    assert set(statuses) <= {200, 201}
    assert len({json.loads(answer.body)["id"] for answer in answers if answer is not None}) == 1
    found = ask(live_key, f"/v1/fhir/Patient?{condition}&_total=accurate")
    assert found is not None
    assert json.loads(found.body)["total"] == 1
    with tenant_scope(live_tenant):
        assert AuditEvent.objects.filter(action="fhir.create").count() == 1


def test_a_conditional_create_finds_what_is_there_and_leaves_trouble_to_the_view(
    live_key: str, live_tenant: Scope
) -> None:
    rid = stored(live_tenant, identified("there"))
    for _ in range(2):
        stored(live_tenant, identified("twice"))

    def conditional(value: str, condition: str) -> Answer | None:
        return ask(live_key, "/v1/fhir/Patient", identified(value), if_none_exist=condition)

    found = conditional("there", "identifier=http://example.org/mrn|there")
    assert found is not None
    assert (found.status, json.loads(found.body)["id"]) == (200, rid)
    assert dict(found.headers)[b"location"].endswith(f"/Patient/{rid}/_history/1".encode())
    for condition in (
        "identifier=http://example.org/mrn|twice",
        "_count=1",
        "nonsense=1",
        "organization.name=x&nonsense=1",
    ):
        assert conditional("new", condition) is None
    made = conditional("new", "Patient?identifier=http://example.org/mrn|new&family=dir")
    assert made is not None
    assert made.status == 201
    with tenant_scope(live_tenant):
        assert AuditEvent.objects.filter(action="fhir.create").count() == 4


def test_who_waits_for_a_row_holds_up_nobody_that_came_along(
    live_key: str, live_tenant: Scope
) -> None:
    rid, other = stored(live_tenant, PATIENT), stored(live_tenant, PATIENT)
    asked: list[tuple[str, object]] = [
        (f"/v1/fhir/Patient/{one}", {**PATIENT, "id": one}) for one in (rid, other)
    ]
    with tenant_scope(live_tenant):
        held = "SELECT 1 FROM fhir_resource WHERE rid = %s::text FOR UPDATE"
        assert execute([Statement(held, [rid])]) == [[(1,)]]
        waited, done = ask_all(live_key, asked, method="PUT")
    assert waited is None
    assert done is not None
    assert json.loads(done.body)["meta"]["versionId"] == "2"
