"""The broker's queues: a ring reaches one queue and no other."""

from healthcloud.celery import QUEUES, app
from healthcloud.ledger.models import Queue


def test_a_ring_reaches_the_queue_it_names_and_no_other() -> None:
    router = app.amqp.Router()
    routes = {name: router.route({"queue": name}, "ledger.drain")["queue"] for name in QUEUES}
    places = {(queue.exchange.name, queue.routing_key) for queue in routes.values()}
    assert len(places) == len(QUEUES)
    assert {name: queue.name for name, queue in routes.items()} == {n: n for n in QUEUES}


def test_the_broker_has_the_queues_of_the_ledger() -> None:
    assert set(QUEUES) == set(Queue.values)
