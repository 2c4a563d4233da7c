"""Keeping the tables small: old runs go in chunks, and expired outputs.

Runs are kept for `HEALTHCLOUD_RUN_RETENTION_DAYS` after their end; those that are not over are
never deleted. What listens for nothing any more stops, since listening costs every writer.
"""

from datetime import datetime, timedelta

from django.conf import settings

from fhir import consumers
from healthcloud.events import listeners
from healthcloud.events.numbering import whole_tenant
from healthcloud.ledger.handlers import ClaimedWork, Outcome, RetryAt
from healthcloud.ledger.services import enqueue
from healthcloud.tenancy.scope import Scope, active_scope, tenant_scope
from workflows.models import FINAL, CachedOutput, EventWait, Run, Trigger
from workflows.triggers.names import LISTENER

KIND = "workflow.housekeeping"
EVERY = timedelta(hours=6)
CHUNK = 200


def ask(now: datetime) -> None:
    """Ask for housekeeping of the active tenant; safe to repeat."""
    scope = whole_tenant(active_scope())
    enqueue(scope=scope, kind=KIND, ref="tenant", due_at=now + EVERY, dedupe_key="tenant")


def keep_house(work: ClaimedWork) -> Outcome:
    """Delete what is old, a chunk a transaction, and look again later."""
    before = work.now - timedelta(days=settings.RUN_RETENTION_DAYS)
    while delete_runs(work.scope, before):
        work.lease.check()
        work.lease.progress()
    with tenant_scope(whole_tenant(work.scope)):
        CachedOutput.objects.filter(expires_at__lte=work.now).delete()
        stop_listening()
    return RetryAt(work.now + EVERY)


def delete_runs(scope: Scope, before: datetime) -> int:
    """Delete a chunk of the runs that ended before a time; return how many."""
    with tenant_scope(whole_tenant(scope)):
        old = Run.objects.filter(status__in=FINAL, finished_at__lt=before).order_by("finished_at")
        ids = list(old.values_list("id", flat=True)[:CHUNK])
        Run.objects.filter(id__in=ids).delete()
        return len(ids)


def stop_listening() -> None:
    """Stop listening to events and changes that nothing waits for: each costs its writer."""
    active = Trigger.objects.filter(active=True)
    if not active.filter(kind="event").exists() and not EventWait.objects.exists():
        listeners.detach(LISTENER, "")
    if not active.filter(kind="fhir").exists():
        consumers.detach(LISTENER)
