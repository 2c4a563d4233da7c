"""A worker that dies before or after any of its commits: the run comes out as on a calm day.

The commits of a run are counted once without a fault; then the worker dies at each of them in
turn, and another one goes on. What is compared is all that anyone can see afterwards: status and
output, steps, resources with their versions, events, and calls outside.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, NoReturn
from unittest import mock

import pytest
from django.db import connection

from fhir.search import search
from healthcloud.actors import Actor
from healthcloud.events.models import Event
from healthcloud.ledger import claims
from healthcloud.ledger.models import DueWork
from healthcloud.ledger.worker import run_until_idle
from healthcloud.tenancy.backend.base import DatabaseWrapper
from healthcloud.tenancy.scope import Scope, public_scope, tenant_scope
from tests.healthcloud.conftest import live_scope, live_tenant
from tests.healthcloud.receiver import Receiver, running_receiver
from workflows import runs, services
from workflows.models import Run, StepRun

__all__ = ["live_scope", "live_tenant"]

pytestmark = pytest.mark.resilience
# From there leases and timers are over: what waits begins at the first, ends before the second.
LATER = (timedelta(minutes=5), timedelta(minutes=10))


class Killed(BaseException):
    """The worker dies here; nothing catches it, as nothing catches SIGKILL."""


def _die() -> NoReturn:
    """End as a process does: the connection is gone, whatever was open on it."""
    if connection.connection is not None:
        connection.connection.close()
    connection.closed_in_transaction = True
    raise Killed


class Failpoints:
    """Counts the commits of a worker, and dies at one of them, before or after it happened."""

    def __init__(self, at: int = 0, *, after: bool = False) -> None:
        self.at = at
        self.after = after
        self.count = 0

    def around(self, commit: Callable[..., Any]) -> Callable[..., Any]:
        def failing(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            dies = self.count == self.at
            if dies and not self.after:
                _die()
            result = commit(*args, **kwargs)
            if dies:
                _die()
            return result

        return failing

    @contextmanager
    def armed(self) -> Iterator[None]:
        names = ("claim", "finish", "release")
        single = {name: self.around(getattr(claims, name)) for name in names}
        commit = self.around(DatabaseWrapper._commit)
        with (
            mock.patch.object(DatabaseWrapper, "_commit", commit),
            mock.patch.multiple(claims, **single),
        ):
            yield


def _basic(name: str, **more: object) -> dict[str, object]:
    identifier = [{"system": "urn:failpoints", "value": f"{{{{ run.id }}}}/{name}"}]
    return {"resourceType": "Basic", "code": {"text": "x"}, "identifier": identifier, **more}


def _create(name: str, **more: object) -> dict[str, object]:
    return {"id": name, "kind": "fhir_create", "with": {"resource": _basic(name)}, **more}


def _flow(url: str) -> dict[str, object]:
    changed = _basic("first", id="{{ steps.first.output.id }}", code={"text": "changed"})
    items = {"id": "items", "kind": "transform", "with": {"list": [1, 2]}}
    call = {"url": f"{url}/{{{{ run.id }}}}", "method": "POST", "body": {}}
    return {
        "slug": "flow",
        "name": "Flow",
        "steps": [
            _create("first", compensate=[_create("undone")]),
            {"id": "change", "kind": "fhir_update", "with": {"resource": changed}},
            items,
            {"id": "tell", "kind": "emit", "with": {"type": "custom.told", "payload": {}}},
            {
                "id": "each",
                "kind": "map",
                "with": {"items": "{{ steps.items.output.list }}"},
                "steps": [
                    {
                        "id": "item",
                        "kind": "fhir_create",
                        "with": {"resource": _basic("item{{ item }}")},
                    }
                ],
            },
            {"id": "pause", "kind": "wait", "with": {"duration": "1m"}},
            {"id": "call", "kind": "http_request", "with": call},
            {"id": "child", "kind": "workflow", "with": {"workflow": "child"}},
            {"id": "no", "kind": "fail", "with": {"message": "undo it", "code": "refused"}},
        ],
    }


CHILD = {"slug": "child", "name": "Child", "steps": [_create("inner")]}


class Stage:
    """A tenant with the workflows, in which runs are started and carried."""

    def __init__(self, scope: Scope, actor: Actor, now: datetime, receiver: Receiver) -> None:
        self.scope = scope
        self.actor = actor
        self.now = now
        self.receiver = receiver
        with tenant_scope(scope):
            for source in (CHILD, _flow(receiver.url)):
                services.create_workflow(definition=source, actor=actor, now=now, publish=True)

    def run(self, points: Failpoints) -> dict[str, object]:
        """Start a run, let its worker die where it is told to, let another finish."""
        with tenant_scope(self.scope):
            run = runs.start(actor=self.actor, workflow="flow", input={}, now=self.now)
        try:
            with points.armed():
                self._carry()
        except Killed:
            connection.close()
            self._carry()
        return self.seen(run.id)

    def _carry(self) -> None:
        for ahead in LATER:
            run_until_idle(["steps"], ahead=ahead)

    def seen(self, run_id: str) -> dict[str, object]:
        """Return all that can be seen of a run and its child, without ids and times."""
        with tenant_scope(self.scope):
            family = [run_id, *Run.objects.filter(parent=run_id).values_list("id", flat=True)]
            ended = Run.objects.filter(id__in=family).order_by("created_at")
            steps = StepRun.objects.filter(run__in=family, superseded=False).exclude(status="lost")
            events = [e for e in Event.objects.all() if self._is_of(e, family)]
            with public_scope():
                left = DueWork.objects.filter(ref__in=family).count()
            made = self._resources(family)
            return {
                "runs": [(run.slug, run.status, (run.error or {}).get("code")) for run in ended],
                "steps": Counter((s.path, s.iteration, s.status) for s in steps),
                "events": Counter((e.type, e.payload.get("step_id")) for e in events),
                "resources": made,
                "calls": len({r.headers["idempotency-key"] for r in self._calls(run_id)}),
                "due work": left,
            }

    def _resources(self, family: list[str]) -> Counter[tuple[str, int]]:
        """Count what the runs made, by step and version."""
        names = ("first", "undone", "item1", "item2", "inner")
        wanted = ",".join(f"urn:failpoints|{run}/{name}" for run in family for name in names)
        query = f"identifier={wanted}&_count=100"
        found = search(resource_type="Basic", query=query, now=self.now).entries
        values = [(entry.resource["identifier"][0]["value"], entry.version) for entry in found]
        return Counter((value.partition("/")[2], version) for value, version in values)

    def _is_of(self, event: Event, family: list[str]) -> bool:
        return event.payload.get("run_id") in family or event.actor_id in family

    def _calls(self, run_id: str) -> list[Any]:
        return [r for r in self.receiver.received if r.path == f"/{run_id}"]


@pytest.fixture
def stage(live_tenant: Scope, alice_actor: Actor, now: datetime, settings: Any) -> Iterator[Stage]:
    settings.WORKFLOW_HTTP_HOSTS = ["127.0.0.1"]
    with running_receiver() as receiver:
        yield Stage(live_tenant, alice_actor, now, receiver)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_run_comes_out_the_same_whichever_commit_its_worker_dies_at(
    stage: Stage, *, after: bool
) -> None:
    calm = Failpoints()
    wanted = stage.run(calm)
    assert wanted["runs"] == [("flow", "failed", "refused"), ("child", "completed", None)]
    assert wanted["calls"] == 1
    assert calm.count > 20
    for number in range(1, calm.count + 1):
        points = Failpoints(number, after=after)
        assert stage.run(points) == wanted, f"died at commit {number} of {calm.count}"
        assert points.count >= number
