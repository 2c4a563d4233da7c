"""The store's interactions, seen through `fhir.store`."""

from dataclasses import replace
from datetime import datetime, timedelta

import orjson
import pytest

from fhir import store
from fhir.documents import MalformedJson
from fhir.rows import METHODS
from fhir.sql import fetch
from healthcloud.actors import Actor
from healthcloud.audit.models import AuditEvent
from healthcloud.tenancy.scope import ProjectRequired, Scope, tenant_scope

TEMPERATURE = b"""{ "resourceType" : "Observation", "status":"final",
 "subject": {"reference":"Patient/pat_123"},
 "code": {"coding": [{"system": "http://loinc.org", "code": "8310-5"}]},
  "valueQuantity": {"value": 0.40, "unit": "F"}}"""


@pytest.fixture
def temperature(in_riverside: Scope, alice_actor: Actor, now: datetime) -> store.StoredResource:
    """An observation in Alice's sandbox."""
    return store.create(
        resource=TEMPERATURE, resource_type="Observation", actor=alice_actor, now=now
    )


def test_create_keeps_every_byte_but_id_and_meta(temperature: store.StoredResource) -> None:
    assert b'"valueQuantity":{"value": 0.40, "unit": "F"}' in temperature.content
    stored = temperature.resource
    sent = orjson.loads(TEMPERATURE)
    assert {k: v for k, v in stored.items() if k not in {"id", "meta"}} == sent
    assert stored["id"] == temperature.id
    assert temperature.created
    assert temperature.version == 1


def test_create_stamps_version_time_and_scope(
    temperature: store.StoredResource, in_riverside: Scope
) -> None:
    meta = temperature.resource["meta"]
    assert meta["versionId"] == "1"
    assert meta["lastUpdated"] == "2026-11-22T10:00:00.000Z"
    assert meta["tag"] == [
        {"system": "https://healthcloud.dev/fhir/tag/organization", "code": "org_riverside"},
        {"system": "https://healthcloud.dev/fhir/tag/project", "code": "proj_riverside_screening"},
        {"system": "https://healthcloud.dev/fhir/tag/environment", "code": "sandbox"},
    ]


def test_read_answers_what_create_answered(temperature: store.StoredResource) -> None:
    found = store.read(resource_type="Observation", id=temperature.id)
    assert found.content == temperature.content
    assert found.version == 1
    assert found.updated_at == temperature.updated_at


def test_read_takes_one_round_trip(
    temperature: store.StoredResource, django_assert_num_queries: object
) -> None:
    with django_assert_num_queries(1):  # type: ignore[operator]  # pytest-django's fixture
        store.read(resource_type="Observation", id=temperature.id)


def test_create_takes_one_round_trip_trail_included(
    in_riverside: Scope, alice_actor: Actor, now: datetime, django_assert_num_queries: object
) -> None:
    with tenant_scope(replace(in_riverside, profiles="{}")):  # as a request knows it
        fetch("SELECT 1")  # the scope is entered
        with django_assert_num_queries(1):  # type: ignore[operator]  # pytest-django's fixture
            store.create(
                resource=TEMPERATURE, resource_type="Observation", actor=alice_actor, now=now
            )


def test_update_makes_the_next_version(
    temperature: store.StoredResource, alice_actor: Actor, now: datetime
) -> None:
    changed = {**temperature.resource, "status": "amended"}
    result = store.update(
        resource_type="Observation",
        id=temperature.id,
        resource=changed,
        actor=alice_actor,
        now=now + timedelta(seconds=1),
        if_match='W/"1"',
    )
    assert (result.version, result.created) == (2, False)
    assert (
        store.read(resource_type="Observation", id=temperature.id).resource["status"] == "amended"
    )
    old = store.vread(resource_type="Observation", id=temperature.id, version=1)
    assert old.content == temperature.content


def test_update_refuses_a_stale_version(
    temperature: store.StoredResource, alice_actor: Actor, now: datetime
) -> None:
    with pytest.raises(store.VersionMismatch):
        store.update(
            resource_type="Observation",
            id=temperature.id,
            resource=temperature.content,
            actor=alice_actor,
            now=now,
            if_match='W/"7"',
        )
    assert store.read(resource_type="Observation", id=temperature.id).version == 1


def test_update_creates_what_is_not_there(
    in_riverside: Scope, alice_actor: Actor, now: datetime
) -> None:
    patient = {"resourceType": "Patient", "id": "pat_123", "name": [{"family": "Ärmel"}]}
    result = store.update(
        resource_type="Patient", id="pat_123", resource=patient, actor=alice_actor, now=now
    )
    assert (result.created, result.version, result.reference) == (True, 1, "Patient/pat_123")


def test_update_refuses_another_id(
    temperature: store.StoredResource, alice_actor: Actor, now: datetime
) -> None:
    with pytest.raises(store.ResourceMismatch):
        store.update(
            resource_type="Observation",
            id="other",
            resource=temperature.content,
            actor=alice_actor,
            now=now,
        )


def test_delete_keeps_history_and_update_brings_back(
    temperature: store.StoredResource, alice_actor: Actor, now: datetime
) -> None:
    rid = temperature.id
    by = {"actor": alice_actor, "now": now}
    assert store.delete(resource_type="Observation", id=rid, **by) == 2
    assert store.delete(resource_type="Observation", id=rid, **by) == 2
    with pytest.raises(store.ResourceGone):
        store.read(resource_type="Observation", id=rid)
    with pytest.raises(store.ResourceGone):
        store.vread(resource_type="Observation", id=rid, version=2)
    back = store.update(resource_type="Observation", id=rid, resource=temperature.content, **by)
    assert (back.version, back.created) == (3, True)
    page = store.history(resource_type="Observation", id=rid)
    assert [(e.version.version, e.method) for e in page.entries] == [
        (3, "PUT"),
        (2, "DELETE"),
        (1, "POST"),
    ]
    assert page.total == 3


def test_missing_resources_are_not_found(in_riverside: Scope) -> None:
    with pytest.raises(store.ResourceNotFound):
        store.read(resource_type="Observation", id="nobody")
    with pytest.raises(store.ResourceNotFound):
        store.vread(resource_type="Observation", id="nobody", version="x")
    with pytest.raises(store.ResourceNotFound):
        store.history(resource_type="Observation", id="nobody")
    with pytest.raises(store.UnknownResourceType):
        store.read(resource_type="Nonsense", id="1")


def test_an_observation_without_status_is_refused(
    in_riverside: Scope, alice_actor: Actor, now: datetime
) -> None:
    with pytest.raises(store.InvalidResource) as refused:
        store.create(
            resource={"resourceType": "Observation", "code": {"text": "x"}},
            resource_type="Observation",
            actor=alice_actor,
            now=now,
        )
    assert "Observation.status" in str(refused.value.details)
    assert store.history().total == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b'{"resourceType":"Patient","active":true,"active":false}',
        b'{"resourceType":"Patient","name":[{"family":"a","family":"b"}]}',
        b'{"resourceType":"Patient","\\u0022":1,"a":{"b":1,"b":2}}',
        b'{"resourceType":"Patient","name":[{"family":"a\\u0000b"}]}',
        b'{"resourceType":"Patient","name":[{"family":"\\\\\\u001f"}]}',
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b"[" * 100000,
        b'{"resourceType":"Patient","name":[{"family":"\xff"}]}',
    ],
)
def test_malformed_json_is_refused(
    in_riverside: Scope, alice_actor: Actor, now: datetime, body: bytes
) -> None:
    with pytest.raises(MalformedJson):
        store.create(resource=body, resource_type="Patient", actor=alice_actor, now=now)


def test_conditional_create_finds_what_is_there(
    in_riverside: Scope, alice_actor: Actor, now: datetime
) -> None:
    patient = {"resourceType": "Patient", "identifier": [{"system": "urn:mrn", "value": "7"}]}
    first, second = (
        store.create(
            resource=patient,
            resource_type="Patient",
            actor=alice_actor,
            now=now,
            if_none_exist="identifier=urn:mrn|7",
        )
        for _ in range(2)
    )
    assert (first.created, second.created) == (True, False)
    assert first.id == second.id


def test_write_many_creates_and_updates(
    temperature: store.StoredResource, alice_actor: Actor, now: datetime
) -> None:
    patients = [{"resourceType": "Patient", "id": f"p{n}"} for n in range(300)]
    results = store.write_many(
        resources=[*patients, temperature.content], actor=alice_actor, now=now
    )
    assert [r.id for r in results[:300]] == [f"p{n}" for n in range(300)]
    assert results[-1].version == 2
    assert not results[-1].created
    assert store.read(resource_type="Patient", id="p299").version == 1


def test_charlie_finds_nothing_of_alices(
    temperature: store.StoredResource,
    lakeside_scope: Scope,
    riverside_production_scope: Scope,
    riverside_referrals_scope: Scope,
    alice_actor: Actor,
    now: datetime,
) -> None:
    for scope in (lakeside_scope, riverside_production_scope, riverside_referrals_scope):
        with tenant_scope(scope):
            with pytest.raises(store.ResourceNotFound):
                store.read(resource_type="Observation", id=temperature.id)
            assert (
                store.delete(
                    resource_type="Observation", id=temperature.id, actor=alice_actor, now=now
                )
                is None
            )
            assert store.history().total == 0
    assert store.read(resource_type="Observation", id=temperature.id).version == 1


def test_a_scope_without_project_is_asked_for_one(riverside_wide_scope: Scope) -> None:
    with tenant_scope(riverside_wide_scope), pytest.raises(ProjectRequired):
        store.read(resource_type="Observation", id="x")


def test_writes_are_in_the_trail_and_refusals_are_not(
    temperature: store.StoredResource, alice_actor: Actor, now: datetime
) -> None:
    by = {"actor": alice_actor, "now": now}
    store.write_many(resources=[{"resourceType": "Patient", "id": f"p{n}"} for n in (1, 2)], **by)
    store.delete(resource_type="Patient", id="p1", **by)
    with pytest.raises(store.InvalidResource):
        store.create(
            resource={"resourceType": "Patient", "gender": "x"}, resource_type="Patient", **by
        )
    trail = AuditEvent.objects.order_by("position")
    assert [(e.action, e.target_type, e.target_id, e.actor_id) for e in trail] == [
        ("fhir.create", "Observation", temperature.id, "usr_alice"),
        ("fhir.write", "Bundle", "2 resources", "usr_alice"),
        ("fhir.delete", "Patient", "p1", "usr_alice"),
    ]
    assert trail[1].details == {"update": ["Patient/p1/_history/1", "Patient/p2/_history/1"]}


def test_transaction_answers_a_bundle(
    in_riverside: Scope, alice_actor: Actor, now: datetime
) -> None:
    entry = {
        "request": {"method": "POST", "url": "Patient"},
        "resource": {"resourceType": "Patient"},
    }
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    answer = store.transaction(bundle=bundle, actor=alice_actor, now=now)
    assert answer["type"] == "transaction-response"
    assert answer["entry"][0]["response"]["status"] == "201 Created"


def test_the_feed_is_the_history_in_commit_order(
    temperature: store.StoredResource, in_riverside: Scope
) -> None:
    rows = fetch("SELECT seq, version, method FROM fhir_history ORDER BY xid, seq")
    assert [(version, METHODS[method]) for _, version, method in rows] == [(1, "POST")]


def test_an_escaped_backslash_before_u0000_is_text(
    in_riverside: Scope, alice_actor: Actor, now: datetime
) -> None:
    body = b'{"resourceType":"Patient","name":[{"family":"a\\\\u0000","given":["\\u00e9"]}]}'
    kept = store.create(resource=body, resource_type="Patient", actor=alice_actor, now=now)
    assert kept.resource["name"] == [{"family": "a\\u0000", "given": ["é"]}]
