"""Publishing: what is written, in whose transaction, and what is refused."""

from collections.abc import Callable
from datetime import datetime

import pytest
from django.db import transaction

from healthcloud.actors import Actor
from healthcloud.events.catalog import InvalidPayload, UnknownEventType
from healthcloud.events.models import Event, Listener
from healthcloud.events.numbering import number_committed
from healthcloud.events.services import publish, publish_all
from healthcloud.ledger.models import DueWork
from healthcloud.tenancy.scope import NoTenantScope, Scope, public_scope, tenant_scope

COMPLETED = {"run_id": "run_1", "workflow_id": "uti_screening"}


def test_an_event_takes_source_severity_and_project_from_catalog_and_scope(
    in_riverside: Scope, alice_actor: Actor, now: datetime
) -> None:
    event = publish(type="workflow.failed", payload=COMPLETED, actor=alice_actor, now=now)
    stored = Event.objects.get(event_id=event.id)
    assert (stored.source, stored.severity) == ("workflow", "error")
    assert stored.project_id == in_riverside.project_id
    assert (stored.actor_kind, stored.actor_id) == ("user", "usr_alice")
    assert stored.payload == COMPLETED
    assert stored.sequence is None
    assert stored.created_at == now


def test_publishing_costs_no_round_trip_of_its_own(
    in_riverside: Scope,
    alice_actor: Actor,
    now: datetime,
    django_assert_num_queries: object,
) -> None:
    with django_assert_num_queries(0):
        publish(type="workflow.completed", payload=COMPLETED, actor=alice_actor, now=now)
    assert Event.objects.get().type == "workflow.completed"


def test_several_are_published_in_their_order_with_what_is_sent_next(
    in_riverside: Scope,
    alice_actor: Actor,
    now: datetime,
    django_assert_num_queries: Callable[..., object],
) -> None:
    types = ["workflow.step.completed"] * 3 + ["workflow.completed"]
    happenings = [(type_, COMPLETED | {"step_id": f"s{n}"}, now) for n, type_ in enumerate(types)]
    with django_assert_num_queries(0):
        events = publish_all(happenings, actor=alice_actor)
    stored = Event.objects.filter(event_id__in=[event.id for event in events]).order_by("position")
    assert [(row.type, row.payload["step_id"]) for row in stored] == [
        (type_, f"s{n}") for n, type_ in enumerate(types)
    ]
    assert [row.position for row in stored] == [event.position for event in events]
    with django_assert_num_queries(0):
        assert publish_all([], actor=alice_actor) == []
    with pytest.raises(UnknownEventType):
        publish_all([*happenings, ("workflow.exploded", {}, now)], actor=alice_actor)


def test_numbers_follow_the_order_of_insertion_and_repeat_nothing(
    in_riverside: Scope, alice_actor: Actor, now: datetime
) -> None:
    first = number_committed()
    for _ in range(3):
        publish(type="workflow.completed", payload=COMPLETED, actor=alice_actor, now=now)
    assert number_committed() == first + 3
    assert number_committed() == first + 3
    numbers = Event.objects.order_by("position").values_list("sequence", flat=True)
    assert list(numbers) == [first + 1, first + 2, first + 3]


def test_an_event_that_is_rolled_back_leaves_no_gap(
    in_riverside: Scope, alice_actor: Actor, now: datetime
) -> None:
    publish(type="workflow.completed", payload=COMPLETED, actor=alice_actor, now=now)
    with transaction.atomic():
        publish(type="workflow.completed", payload=COMPLETED, actor=alice_actor, now=now)
        transaction.set_rollback(True)
    publish(type="workflow.completed", payload=COMPLETED, actor=alice_actor, now=now)
    number_committed()
    assert sorted(Event.objects.values_list("sequence", flat=True)) == [1, 2]


def test_dispatch_is_asked_for_once_a_transaction_and_only_when_someone_waits(
    in_riverside: Scope, alice_actor: Actor, now: datetime
) -> None:
    publish(type="workflow.completed", payload=COMPLETED, actor=alice_actor, now=now)
    with public_scope():
        assert not DueWork.objects.filter(kind="events.dispatch").exists()
    Listener.objects.create(name="test", cursor=0)
    for _ in range(3):
        publish(type="workflow.completed", payload=COMPLETED, actor=alice_actor, now=now)
    with public_scope():
        work = DueWork.objects.get(kind="events.dispatch")
    assert work.project_id is None
    assert work.schema == in_riverside.schema


def test_an_unknown_type_is_refused(in_riverside: Scope, alice_actor: Actor, now: datetime) -> None:
    with pytest.raises(UnknownEventType):
        publish(type="workflow.exploded", payload={}, actor=alice_actor, now=now)
    assert not Event.objects.exists()


@pytest.mark.parametrize(
    "payload",
    [
        {"run_id": "run_1"},
        {**COMPLETED, "name": "Ada"},
        {**COMPLETED, "patient": "Ada Lovelace"},
        {**COMPLETED, "resource": {"a": {"b": {"c": 1}}}},
        {**COMPLETED, "nested": {"birth_date": "1970-01-01"}},
    ],
)
def test_a_payload_with_more_than_ids_is_refused(
    in_riverside: Scope, alice_actor: Actor, now: datetime, payload: dict[str, object]
) -> None:
    with pytest.raises(InvalidPayload):
        publish(type="workflow.completed", payload=payload, actor=alice_actor, now=now)
    assert not Event.objects.exists()


def test_another_project_and_another_organization_see_nothing(
    riverside_scope: Scope,
    riverside_referrals_scope: Scope,
    lakeside_scope: Scope,
    alice_actor: Actor,
    now: datetime,
) -> None:
    with tenant_scope(riverside_scope):
        publish(type="workflow.completed", payload=COMPLETED, actor=alice_actor, now=now)
        assert Event.objects.count() == 1
    for scope in (riverside_referrals_scope, lakeside_scope):
        with tenant_scope(scope):
            assert Event.objects.count() == 0


def test_publishing_needs_a_tenant(db: None, alice_actor: Actor, now: datetime) -> None:
    with pytest.raises(NoTenantScope):
        publish(type="workflow.completed", payload=COMPLETED, actor=alice_actor, now=now)
