"""Old events go, the newest stays, numbers go on, and the work asks for itself."""

from datetime import datetime, timedelta

from healthcloud.actors import Actor
from healthcloud.events import retention
from healthcloud.events.models import Delivery, Event
from healthcloud.events.numbering import number_committed
from healthcloud.events.services import publish
from healthcloud.events.webhooks import create_webhook
from healthcloud.ledger.models import DueWork
from healthcloud.ledger.worker import run_until_idle
from healthcloud.tenancy.scope import Scope, tenant_scope

COMPLETED = {"run_id": "run_1", "workflow_id": "uti_screening"}
OLD = timedelta(days=91)


def test_only_what_is_older_than_ninety_days_goes(
    riverside_scope: Scope, lakeside_scope: Scope, alice_actor: Actor, now: datetime
) -> None:
    for scope in (riverside_scope, lakeside_scope):
        with tenant_scope(scope):
            for age in (OLD, OLD, timedelta(days=89)):
                publish(
                    type="workflow.started", payload=COMPLETED, actor=alice_actor, now=now - age
                )
            number_committed()
    assert retention.purge(riverside_scope, now=now) == 2
    with tenant_scope(riverside_scope):
        assert list(Event.objects.values_list("sequence", flat=True)) == [3]
    with tenant_scope(lakeside_scope):
        assert Event.objects.count() == 3


def test_the_newest_event_stays_so_that_numbers_go_on(
    riverside_scope: Scope, alice_actor: Actor, now: datetime
) -> None:
    with tenant_scope(riverside_scope):
        for _ in range(3):
            publish(type="workflow.started", payload=COMPLETED, actor=alice_actor, now=now - OLD)
        number_committed()
    assert retention.purge(riverside_scope, now=now) == 2
    with tenant_scope(riverside_scope):
        publish(type="workflow.started", payload=COMPLETED, actor=alice_actor, now=now)
        assert number_committed() == 4


def test_deliveries_go_with_their_events(
    riverside_scope: Scope, alice_actor: Actor, now: datetime
) -> None:
    with tenant_scope(riverside_scope):
        create_webhook(
            url="http://127.0.0.1:9/",
            types=["*"],
            description="",
            metadata={},
            actor=alice_actor,
            now=now,
        )
        for _ in range(2):
            publish(type="workflow.started", payload=COMPLETED, actor=alice_actor, now=now - OLD)
    run_until_idle()  # dispatches both, attempts to deliver them, and purges
    with tenant_scope(riverside_scope):
        assert list(Event.objects.values_list("sequence", flat=True)) == [2]
        assert list(Delivery.objects.values_list("event__sequence", flat=True)) == [2]


def test_the_first_event_of_a_tenant_begins_a_daily_look(
    riverside_scope: Scope, alice_actor: Actor, now: datetime
) -> None:
    with tenant_scope(riverside_scope):
        publish(type="workflow.started", payload=COMPLETED, actor=alice_actor, now=now)
        number_committed()
        number_committed()
    run_until_idle()
    work = DueWork.objects.get(kind="events.retention")
    assert timedelta(hours=23) < work.due_at - work.created_at < timedelta(hours=25)
