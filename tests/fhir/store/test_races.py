"""Sixteen writers at once: no duplicate, no lost update, no deadlock."""

import threading
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

import pytest
from django.db import connection

from fhir import store
from fhir.documents import from_dict
from fhir.interactions.batch import batch
from fhir.interactions.transaction import transaction
from fhir.search import search
from healthcloud.actors import Actor
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.healthcloud.conftest import live_scope, live_tenant

__all__ = ["live_scope", "live_tenant"]

T = TypeVar("T")
WRITERS = 16
PATIENT = {"resourceType": "Patient", "identifier": [{"system": "urn:mrn", "value": "7"}]}


def at_once(scope: Scope, work: Callable[[int], T]) -> list[T | Exception]:
    """Run the work in sixteen threads that start together; answer results and errors."""
    results: list[T | Exception] = []
    barrier = threading.Barrier(WRITERS)

    def run(number: int) -> None:
        try:
            barrier.wait(timeout=30)
            with tenant_scope(scope):
                result = work(number)
            results.append(result)
        except Exception as error:
            results.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(results) == WRITERS
    return results


def test_of_equal_conditional_creates_one_creates(
    live_tenant: Scope, alice_actor: Actor, now: datetime
) -> None:
    results = at_once(
        live_tenant,
        lambda _: store.create(
            resource=PATIENT,
            resource_type="Patient",
            actor=alice_actor,
            now=now,
            if_none_exist="identifier=urn:mrn|7",
        ),
    )
    created = [r for r in results if isinstance(r, store.StoredResource) and r.created]
    assert len(created) == 1
    assert {getattr(result, "id", result) for result in results} == {created[0].id}
    with tenant_scope(live_tenant):
        found = search(resource_type="Patient", query="_summary=count", now=now)
    assert found.total == 1


def test_updates_of_one_id_are_all_kept_in_order(
    live_tenant: Scope, alice_actor: Actor, now: datetime
) -> None:
    results = at_once(
        live_tenant,
        lambda _: store.update(
            resource={**PATIENT, "id": "p"},
            resource_type="Patient",
            id="p",
            actor=alice_actor,
            now=now,
        ),
    )
    assert sorted(getattr(result, "version", 0) for result in results) == list(range(1, 17))
    assert sum(getattr(result, "created", False) for result in results) == 1


def test_of_updates_with_the_same_if_match_one_succeeds(
    live_tenant: Scope, alice_actor: Actor, now: datetime
) -> None:
    with tenant_scope(live_tenant):
        store.create(resource=PATIENT, resource_type="Patient", id="p", actor=alice_actor, now=now)
    results = at_once(
        live_tenant,
        lambda _: store.update(
            resource={**PATIENT, "id": "p"},
            resource_type="Patient",
            id="p",
            actor=alice_actor,
            now=now,
            if_match='W/"1"',
        ),
    )
    assert sum(isinstance(result, store.StoredResource) for result in results) == 1
    assert sum(isinstance(result, store.VersionMismatch) for result in results) == 15


@pytest.mark.parametrize("rounds", [1, 2])
def test_transactions_over_the_same_ids_neither_fail_nor_lose(
    live_tenant: Scope, alice_actor: Actor, now: datetime, rounds: int
) -> None:
    def put(rid: str) -> dict[str, object]:
        return {
            "resource": {"resourceType": "Patient", "id": rid},
            "request": {"method": "PUT", "url": f"Patient/{rid}"},
        }

    def work(number: int) -> int:
        ids = [f"p{n}" for n in range(10)]
        entries = [put(rid) for rid in (reversed(ids) if number % 2 else ids)]
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        return len(transaction(bundle=from_dict(bundle), actor=alice_actor, now=now))

    for _ in range(rounds):
        assert at_once(live_tenant, work) == [10] * WRITERS
    with tenant_scope(live_tenant):
        versions = {store.read(resource_type="Patient", id=f"p{n}").version for n in range(10)}
    assert versions == {WRITERS * rounds}


def test_batches_over_the_same_ids_in_opposite_orders_all_succeed(
    live_tenant: Scope, alice_actor: Actor, now: datetime
) -> None:
    ids = [f"p{number}" for number in range(6)]
    entries = [
        {
            "resource": {**PATIENT, "id": rid},
            "request": {"method": "PUT", "url": f"Patient/{rid}"},
        }
        for rid in ids
    ]

    def send(number: int) -> list[str]:
        ordered = entries if number % 2 else entries[::-1]
        bundle = from_dict({"resourceType": "Bundle", "type": "batch", "entry": ordered})
        answers = batch(
            bundle=bundle,
            actor=alice_actor,
            now=now,
            failed=lambda error: (500, {"error": repr(error)}),
            permit=lambda entry: None,
        )
        return [answer.status[:3] for answer in answers]

    results = at_once(live_tenant, send)
    assert [set(r) <= {"200", "201"} if isinstance(r, list) else r for r in results] == (
        [True] * WRITERS
    )
    with tenant_scope(live_tenant):
        versions = {store.read(resource_type="Patient", id=rid).version for rid in ids}
    assert versions == {WRITERS}
