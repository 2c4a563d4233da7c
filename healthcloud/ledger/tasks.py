"""The task behind the doorbell: it carries the name of a queue and nothing else."""

from celery import shared_task
from django.db import connection

from healthcloud.ledger import doorbell, worker


@shared_task(name=doorbell.DRAIN, ignore_result=True)
def drain(*, queue: str) -> int:
    """Do what is due in `queue`, on a connection that is kept as web requests keep theirs."""
    connection.close_if_unusable_or_obsolete()
    return worker.drain([queue], limit=10_000)
