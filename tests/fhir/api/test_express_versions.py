"""Versions and patches in the loop's own thread: the views' answers, and what is left to them."""

import json
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from fhir.store import delete
from healthcloud.actors import SYSTEM
from healthcloud.audit.models import AuditEvent
from healthcloud.organizations.express import Answer
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.fhir.api.test_direct import PATIENT, live_key
from tests.fhir.api.test_direct import ask as ask_directly
from tests.fhir.api.test_express import _headers, ask, ask_all, stored, trail
from tests.healthcloud.conftest import live_scope, live_tenant

__all__ = ["live_key", "live_scope", "live_tenant"]

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"


def patch(secret: str, path: str, body: object, kind: str, **headers: str) -> Answer | None:
    """Send a patch to the express application; None where it declines."""
    return ask(secret, path, body, method="PATCH", content_type=kind, **headers)


def test_a_version_is_answered_and_recorded_as_the_view_does(
    live_key: str, live_tenant: Scope
) -> None:
    address = f"/v1/fhir/Patient/{stored(live_tenant, PATIENT)}/_history/1"
    before = trail(live_tenant)
    mine, theirs = ask(live_key, address), ask_directly(live_key, address)
    assert mine is not None
    assert theirs is not None
    assert (mine.body, _headers(mine)) == (theirs.body, _headers(theirs))
    assert sorted(trail(live_tenant)) == sorted(
        [*before, *[("vread", "success", "Patient", "")] * 2]
    )


@pytest.mark.parametrize("version", ["2", "0", "x", "99999999999"])
def test_a_version_that_is_not_there_is_left_to_the_view(
    live_key: str, live_tenant: Scope, version: str
) -> None:
    rid = stored(live_tenant, PATIENT)
    with tenant_scope(live_tenant):
        delete(resource_type="Patient", id=rid, actor=SYSTEM, now=timezone.now())
    before = trail(live_tenant)
    assert ask(live_key, f"/v1/fhir/Patient/{rid}/_history/{version}") is None
    assert trail(live_tenant) == before


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (JSON_PATCH, [{"op": "add", "path": "/gender", "value": "female"}]),
        (MERGE_PATCH, {"gender": "female"}),
    ],
)
def test_a_patch_is_answered_as_the_view_does(
    live_key: str, live_tenant: Scope, kind: str, body: Any
) -> None:
    path = f"/v1/fhir/Patient/{stored(live_tenant, PATIENT)}"
    mine = patch(live_key, path, body, kind, if_match='W/"1"')
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {live_key}")
    theirs = client.patch(path, json.dumps(body), content_type=kind)
    assert mine is not None
    assert (mine.status, theirs.status_code) == (200, 200)
    first, second = json.loads(mine.body), json.loads(theirs.content)
    assert (first["meta"].pop("versionId"), second["meta"].pop("versionId")) == ("2", "3")
    assert first["meta"].pop("lastUpdated") < second["meta"].pop("lastUpdated")
    assert first == second == {**first, "gender": "female"}
    with tenant_scope(live_tenant):
        events = AuditEvent.objects.filter(action="fhir.patch", target_id=first["id"])
        assert sorted(event.details["version"] for event in events) == [2, 3]


def test_patches_that_fail_or_take_their_time_are_left_to_the_view_with_nothing_done(
    live_key: str, live_tenant: Scope
) -> None:
    rid = stored(live_tenant, PATIENT)
    large = stored(live_tenant, {**PATIENT, "name": [{"family": "x" * 200}] * 200})
    path, gender = f"/v1/fhir/Patient/{rid}", {"gender": "female"}
    assert patch(live_key, path, {"gender": "unheard of"}, MERGE_PATCH) is None
    assert patch(live_key, path, {"id": "another"}, MERGE_PATCH) is None
    assert patch(live_key, path, gender, MERGE_PATCH, if_match='W/"7"') is None
    assert patch(live_key, path, gender, "application/fhir+json") is None
    assert patch(live_key, path, [{"op": "test", "path": "/id", "value": "b"}], JSON_PATCH) is None
    assert patch(live_key, "/v1/fhir/Patient/none", gender, MERGE_PATCH) is None
    assert patch(live_key, f"/v1/fhir/Patient/{large}", gender, MERGE_PATCH) is None
    for unchanged in (rid, large):
        read = ask(live_key, f"/v1/fhir/Patient/{unchanged}")
        assert read is not None
        assert json.loads(read.body)["meta"]["versionId"] == "1"


def test_of_patches_that_come_at_once_each_that_is_answered_is_a_version(
    live_key: str, live_tenant: Scope
) -> None:
    path = f"/v1/fhir/Patient/{stored(live_tenant, {**PATIENT, 'multipleBirthInteger': 1})}"
    body = [{"op": "add", "path": "/name/-", "value": {"family": "More"}}]
    asked: list[tuple[str, object]] = [(path, body) for _ in range(8)]
    answers = ask_all(live_key, asked, method="PATCH", content_type=JSON_PATCH)
    done = [json.loads(answer.body) for answer in answers if answer is not None]
    assert done
    before = len(PATIENT.get("name", ()))
    for made in done:  # none was lost: each version has one name more than its predecessor
        assert len(made["name"]) == before + int(made["meta"]["versionId"]) - 1
    versions = sorted(int(made["meta"]["versionId"]) for made in done)
    assert versions == list(range(2, len(done) + 2))
