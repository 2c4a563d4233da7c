"""Start, carry, cancel and forget jobs."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from django.utils import timezone

from fhir.documents import JsonObject, new_id
from fhir.jobs import table
from fhir.jobs.kinds import Finished, before_of, step_of
from fhir.jobs.table import Job
from healthcloud.actors import Actor
from healthcloud.api.errors import describe
from healthcloud.audit.services import record
from healthcloud.errors import HealthCloudError, InternalError
from healthcloud.ledger.handlers import ClaimedWork, Done, Outcome
from healthcloud.ledger.models import Queue
from healthcloud.ledger.services import enqueue
from healthcloud.tenancy.scope import active_scope, tenant_scope

logger = logging.getLogger(__name__)

JOB_KIND: Final = "fhir.job"
EXPIRY_KIND: Final = "fhir.job.expiry"
KEPT_FOR: Final = timedelta(hours=24)
"""How long a job and its output are kept."""


def start(
    *,
    kind: str,
    request: JsonObject,
    scopes: Sequence[str],
    actor: Actor,
    now: datetime,
    position: JsonObject | None = None,
) -> Job:
    """Ask for a job in the active project; it begins after the commit.

    `scopes` are what a caller must hold to see the job and its output. The request is kept in
    the tenant's schema.
    """
    job = Job(
        id=new_id(),
        kind=kind,
        state="queued",
        created=now,
        updated=now,
        expires=now + KEPT_FOR,
        actor=actor,
        scopes=tuple(scopes),
        request=request,
        position=position or {},
        progress="queued",
        status=200,
        result=None,
    )
    table.insert(job)
    scope = active_scope()
    enqueue(scope=scope, kind=JOB_KIND, ref=job.id, queue=Queue.BULK, dedupe_key=job.id)
    enqueue(
        scope=scope,
        kind=EXPIRY_KIND,
        ref=job.id,
        queue=Queue.CONTROL,
        due_at=job.expires,
        dedupe_key=job.id,
    )
    record(
        actor=actor,
        action="fhir.job_start",
        target_type="Job",
        target_id=job.id,
        now=now,
        details={"kind": kind},
    )
    return job


def cancel(*, job_id: str, actor: Actor, now: datetime) -> None:
    """End a job and delete its output; raises ResourceNotFound."""
    table.require(job_id)
    job = table.find(job_id, lock=True)
    if job is None:
        return
    table.move(replace(job, state="cancelled", result=None, progress="cancelled"), now=now)
    table.empty(job_id)
    record(actor=actor, action="fhir.job_cancel", target_type="Job", target_id=job_id, now=now)


def carry(work: ClaimedWork) -> Outcome:
    """Carry a job from where it is to its end, one transaction a step."""
    while _step(work):
        work.lease.progress()
        work.lease.check()
    return Done()


def _step(work: ClaimedWork) -> bool:
    """Do one step; tell whether there is more to do."""
    now = timezone.now()
    try:
        at, prepared = _prepared(work)
        with tenant_scope(work.scope):
            job = table.find(work.ref, lock=True)
            if job is None or job.is_ended:
                return False
            if job.position != at:  # another worker went on meanwhile
                return True
            step = step_of(job.kind)(replace(job, prepared=prepared), now)
            if isinstance(step, Finished):
                _end(job, step, now=now)
                return False
            moved = replace(job, state="running", position=step.position, progress=step.progress)
            table.move(moved, now=now)
            return True
    except HealthCloudError as error:
        if error.status >= 500:
            raise
        fail(work, error)
        return False


def _prepared(work: ClaimedWork) -> tuple[JsonObject, object]:
    """Return where the job is, and what its kind wants to have done outside a transaction."""
    with tenant_scope(work.scope):
        job = table.find(work.ref)
    if job is None or job.is_ended:
        return {}, None
    before = before_of(job.kind)
    return job.position, before(job) if before is not None else None


def _end(job: Job, step: Finished, *, now: datetime) -> None:
    table.move(
        replace(job, state="done", status=step.status, result=step.result, progress=step.progress),
        now=now,
    )
    record(actor=job.actor, action="fhir.job_done", target_type="Job", target_id=job.id, now=now)


def fail(work: ClaimedWork, error: HealthCloudError) -> None:
    """End a job with the OperationOutcome of an error; nothing of the failed step is kept."""
    from fhir.api.outcomes import outcome_of

    description = describe(error)
    outcome = outcome_of(description, issue_code=getattr(error, "issue_code", None))
    with tenant_scope(work.scope):
        job = table.find(work.ref, lock=True)
        if job is None or job.is_ended:
            return
        failed = replace(
            job, state="failed", status=description.status, result=outcome, progress="failed"
        )
        table.move(failed, now=work.now)
        record(
            actor=job.actor,
            action="fhir.job_fail",
            target_type="Job",
            target_id=job.id,
            now=work.now,
            outcome="failure",
        )


def give_up(work: ClaimedWork, error: str) -> None:
    """End a job whose steps failed again and again."""
    logger.error("job given up", extra={"job": work.ref, "error": error})
    fail(work, InternalError(f"The job failed again and again ({error}); start it anew."))


def expire(work: ClaimedWork) -> Outcome:
    """Delete a job and its output when their time is over."""
    with tenant_scope(work.scope):
        table.delete(work.ref)
    return Done()
