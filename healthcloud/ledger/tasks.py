"""The task behind the doorbell: it carries the name of a queue and nothing else."""

from celery import shared_task

from healthcloud.ledger import doorbell, worker


@shared_task(name=doorbell.DRAIN, ignore_result=True)
def drain(*, queue: str) -> int:
    """Do what is due in `queue`."""
    return worker.drain([queue], limit=10_000)
