"""Schedules: due work at the next moment, a run for it, and the moment after that.

`missed` says what becomes of moments that passed while nothing was running: `run_once` makes one
run for all of them, `skip` none, `run_all` one for each (the latest hundred).
"""

from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from healthcloud.ledger.handlers import ClaimedWork, Done, Outcome, RetryAt
from healthcloud.ledger.services import enqueue
from healthcloud.tenancy.scope import active_scope, tenant_scope
from workflows.models import Trigger
from workflows.triggers.cron import next_after, parse_cron
from workflows.triggers.firing import fire
from workflows.triggers.names import SCHEDULE_KIND

GRACE: Final = timedelta(minutes=5)
MOST_MISSED: Final = 100


def next_moment(spec: dict[str, str], after: datetime) -> datetime:
    """Return the first moment of a schedule after another."""
    return next_after(parse_cron(spec["cron"]), after, ZoneInfo(spec.get("timezone", "UTC")))


def ask_for(trigger: Trigger) -> None:
    """Ask to be woken at a schedule's next moment; inside the project's scope."""
    enqueue(
        scope=active_scope(),
        kind=SCHEDULE_KIND,
        ref=trigger.id,
        due_at=trigger.due_at,
        dedupe_key=trigger.id,
    )


def run_due(work: ClaimedWork) -> Outcome:
    """Start what a schedule says is due, and wait for its next moment."""
    with tenant_scope(work.scope):
        own = Trigger.objects.select_related("workflow").select_for_update(of=("self",))
        trigger = own.filter(id=work.ref, active=True).first()
        if trigger is None or trigger.due_at is None:
            return Done()
        if trigger.due_at > work.now:
            return RetryAt(trigger.due_at)
        for moment in _to_run(trigger, work.now):
            stamp = moment.isoformat()
            facts = {"kind": "schedule", "id": trigger.id, "scheduled_for": stamp}
            told = {"scheduled_for": stamp}
            fire(trigger, facts, {}, work.now, told=told, key=f"{trigger.id}:{stamp}")
        due_at = next_moment(trigger.spec, work.now)
        Trigger.objects.filter(id=trigger.id).update(due_at=due_at)
        return RetryAt(due_at)


def _to_run(trigger: Trigger, now: datetime) -> list[datetime]:
    """Return the moments for which runs start now."""
    assert trigger.due_at is not None  # checked by the caller
    moments = [trigger.due_at]
    while (following := next_moment(trigger.spec, moments[-1])) <= now:
        moments.append(following)
        moments = moments[-MOST_MISSED:]
    policy = trigger.spec.get("missed", "run_once")
    if policy == "run_all":
        return moments
    if policy == "skip":
        return [moment for moment in moments[-1:] if now - moment <= GRACE]
    return moments[-1:]
