"""The Celery application: queues of doorbells, never of work itself.

Messages carry the name of a queue. A lost message is rung again by the sweeper and a doubled one
finds nothing to claim, so the broker needs no durability of its own.
"""

import os

from celery import Celery
from django.conf import settings
from kombu import Exchange, Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "healthcloud.settings")

if not settings.configured:  # the worker's own process, not one that merely rings
    os.environ.setdefault("HEALTHCLOUD_STATEMENT_SECONDS", "300")

QUEUES = ("control", "steps", "agents", "webhooks", "bulk")
VISIBILITY_SECONDS = 300

app = Celery("healthcloud")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.update(
    accept_content=["json"],
    broker_connection_max_retries=None,
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "visibility_timeout": VISIBILITY_SECONDS,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_timeout": 10,
        "socket_connect_timeout": 1,
        "socket_keepalive": True,
        # Publishing to a broker that is down fails at once: the sweeper rings later.
        "max_retries": 1,
        "interval_start": 0,
        "interval_step": 0,
    },
    # Celery would close the database connection before and after each task, and connecting costs
    # more than most of what a task does; `ledger.drain` lets go of connections that broke or aged.
    CELERY_DB_REUSE_MAX=10_000,
    enable_utc=True,
    task_acks_late=True,
    task_default_queue="control",
    task_ignore_result=True,
    # Without a key of its own each queue gets the default one, and every ring reaches all five.
    task_queues=[Queue(name, Exchange("work"), routing_key=name) for name in QUEUES],
    task_reject_on_worker_lost=True,
    task_serializer="json",
    timezone="UTC",
    worker_consumer="healthcloud.ledger.consumer:Consumer",
    worker_enable_soft_shutdown_on_idle=True,
    worker_hijack_root_logger=False,
    worker_max_memory_per_child=1_000_000,  # KiB
    worker_prefetch_multiplier=1,
    worker_soft_shutdown_timeout=25,
)
app.autodiscover_tasks()
