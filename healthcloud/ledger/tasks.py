"""The task behind the doorbell: it carries the name of a queue and nothing else."""

import multiprocessing
from typing import Any

from celery import current_app, shared_task
from celery.signals import worker_init, worker_shutting_down
from django.db import connection

from healthcloud.ledger import doorbell, worker

LINGER_SECONDS = 5.0  # how long a worker that has nothing to do stays awake
_stopping: dict[str, Any] = {}  # in workers: an event that their main process shares with the pool


@worker_init.connect
def _begin(**_: object) -> None:
    _stopping["event"] = multiprocessing.Event()


@worker_shutting_down.connect
def _stop(**_: object) -> None:
    if "event" in _stopping:
        _stopping["event"].set()


@shared_task(name=doorbell.DRAIN, ignore_result=True)
def drain(*, queue: str) -> int:
    """Do what is due, on a connection that is kept as web requests keep theirs.

    A worker looks into each queue that it serves, and stays awake for a while for what comes.
    """
    connection.close_if_unusable_or_obsolete()
    event = _stopping.get("event")
    if event is None:
        return worker.drain([queue], limit=10_000)
    served = [name for name in worker.ALL_QUEUES if name in current_app.amqp.queues.consume_from]
    return worker.drain(
        served or [queue],
        limit=10_000,
        linger=LINGER_SECONDS,
        stopping=event.is_set,
        beside=True,
    )
