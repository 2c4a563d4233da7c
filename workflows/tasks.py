"""Due work of workflows: runs and lanes to be carried, schedules; what events and changes start."""

from collections.abc import Sequence

from django.utils import timezone

from fhir import consumers
from fhir.feed import Change
from healthcloud.events import listeners
from healthcloud.events.models import Event
from healthcloud.ledger.handlers import ClaimedWork, Outcome, register
from healthcloud.ledger.models import Queue
from workflows import housekeeping, worker
from workflows.due import LANE_KIND, WORK_KIND
from workflows.triggers import listening, scheduling
from workflows.triggers.names import LISTENER, SCHEDULE_KIND


@register(WORK_KIND, Queue.STEPS, on_dead=worker.give_up)
def carry_run(work: ClaimedWork) -> Outcome:
    """Carry a run as far as it goes."""
    return worker.carry(work)


@register(LANE_KIND, Queue.STEPS, on_dead=worker.give_up_lane)
def carry_lane(work: ClaimedWork) -> Outcome:
    """Carry a branch or an item as far as it goes."""
    return worker.carry_lane(work)


@register(SCHEDULE_KIND, Queue.CONTROL, max_attempts=100)
def run_schedule(work: ClaimedWork) -> Outcome:
    """Start what a schedule says is due."""
    return scheduling.run_due(work)


@listeners.register(LISTENER)
def hear_events(ref: str, events: Sequence[Event]) -> None:
    """Start and wake what waits for events."""
    listening.hear_events(events, timezone.now())


@consumers.register(LISTENER)
def hear_changes(ref: str, changes: Sequence[Change]) -> None:
    """Start what waits for changes of clinical data."""
    listening.hear_changes(changes, timezone.now())


@register(housekeeping.KIND, Queue.BULK, max_attempts=100)
def keep_house(work: ClaimedWork) -> Outcome:
    """Delete what is old."""
    return housekeeping.keep_house(work)
