"""Sixteen at once with conditions, patches and bundles: none doubled, none lost, none a fault."""

from collections import Counter
from datetime import datetime

import orjson

from fhir import store
from fhir.documents import JsonObject, from_dict
from fhir.interactions.batch import batch
from fhir.interactions.patch import patch, patch_where
from fhir.interactions.transaction import transaction
from fhir.patches import read_patch
from healthcloud.actors import Actor
from healthcloud.errors import HealthCloudError
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.fhir.store.test_races import PATIENT, WRITERS, at_once, live_scope, live_tenant

__all__ = ["live_scope", "live_tenant"]

WHERE = "identifier=urn:mrn|7"


def put_patient(scope: Scope, actor: Actor, now: datetime, **more: object) -> None:
    with tenant_scope(scope):
        store.create(
            resource={**PATIENT, **more}, resource_type="Patient", id="p", actor=actor, now=now
        )


def test_of_equal_conditional_updates_one_creates(
    live_tenant: Scope, alice_actor: Actor, now: datetime
) -> None:
    results = at_once(
        live_tenant,
        lambda _: store.update_where(
            resource_type="Patient", criteria=WHERE, resource=PATIENT, actor=alice_actor, now=now
        ),
    )
    assert len({getattr(result, "id", result) for result in results}) == 1
    assert sorted(getattr(result, "version", 0) for result in results) == list(range(1, 17))


def test_of_equal_conditional_deletes_one_deletes(
    live_tenant: Scope, alice_actor: Actor, now: datetime
) -> None:
    put_patient(live_tenant, alice_actor, now)
    results = at_once(
        live_tenant,
        lambda _: store.delete_where(
            resource_type="Patient", criteria=WHERE, actor=alice_actor, now=now
        ),
    )
    assert Counter(gone[0].version if gone else None for gone in results) == {
        2: 1,
        None: WRITERS - 1,
    }


def test_patches_of_one_resource_are_all_kept(
    live_tenant: Scope, alice_actor: Actor, now: datetime
) -> None:
    put_patient(live_tenant, alice_actor, now, name=[{"family": "Abt"}])

    def add_given(number: int) -> int:
        operation = {"op": "add", "path": "/name/-", "value": {"text": f"n{number}"}}
        change = read_patch(orjson.dumps([operation]), "application/json-patch+json")
        common = {"resource_type": "Patient", "patch": change, "actor": alice_actor, "now": now}
        if number % 2:
            return patch_where(criteria=WHERE, **common).version
        return patch(id="p", **common).version

    results = at_once(live_tenant, add_given)
    assert sorted(map(int, results)) == list(range(2, WRITERS + 2))
    with tenant_scope(live_tenant):
        names = store.read(resource_type="Patient", id="p").resource["name"]
    assert sorted(n["text"] for n in names[1:]) == sorted(f"n{n}" for n in range(WRITERS))


def test_of_patches_with_the_same_if_match_one_succeeds(
    live_tenant: Scope, alice_actor: Actor, now: datetime
) -> None:
    put_patient(live_tenant, alice_actor, now)
    change = read_patch(b'{"active": true}', "application/merge-patch+json")
    results = at_once(
        live_tenant,
        lambda _: patch(
            resource_type="Patient", id="p", patch=change, actor=alice_actor, now=now,
            if_match='W/"1"',
        ),
    )  # fmt: skip
    kinds = Counter(type(result) for result in results)
    assert kinds == {store.StoredResource: 1, store.VersionMismatch: WRITERS - 1}


def once(number: int) -> JsonObject:
    value = str(number)
    return {
        "resource": {
            "resourceType": "Patient",
            "identifier": [{"system": "urn:n", "value": value}],
        },
        "request": {
            "method": "POST",
            "url": "Patient",
            "ifNoneExist": f"identifier=urn:n|{value}",
        },
    }


def put(rid: str) -> JsonObject:
    return {
        "resource": {"resourceType": "Patient", "id": rid},
        "request": {"method": "PUT", "url": f"Patient/{rid}"},
    }


def test_bundles_over_the_same_conditions_and_ids_make_each_once(
    live_tenant: Scope, alice_actor: Actor, now: datetime
) -> None:
    def fail(error: Exception) -> tuple[int, JsonObject]:
        assert isinstance(error, HealthCloudError), error
        return error.status, {}

    def work(number: int) -> int:
        entries = [*(once(n) for n in range(8)), *(put(f"p{n}") for n in range(8))]
        if number % 2:
            entries.reverse()
        kind = "batch" if number % 4 < 2 else "transaction"
        bundle = from_dict({"resourceType": "Bundle", "type": kind, "entry": entries})
        if kind == "transaction":
            return len(transaction(bundle=bundle, actor=alice_actor, now=now))
        answers = batch(
            bundle=bundle, actor=alice_actor, now=now, failed=fail, permit=lambda entry: None
        )
        return sum(answer.status[0] == "2" for answer in answers)

    assert at_once(live_tenant, work) == [16] * WRITERS
    with tenant_scope(live_tenant):
        found = store.history(resource_type="Patient", count=1000)
        versions = [store.read(resource_type="Patient", id=f"p{n}").version for n in range(8)]
    assert sum(entry.created for entry in found.entries) == 16
    assert versions == [WRITERS] * 8
