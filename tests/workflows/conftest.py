"""Definitions and runs for the tests of workflows."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from healthcloud.actors import Actor
from healthcloud.ledger.worker import run_until_idle
from healthcloud.tenancy.scope import Scope
from tests.healthcloud.conftest import client_for
from workflows import queries, runs, services
from workflows.models import Run

__all__ = ["client_for"]

Json = dict[str, Any]
Runner = Callable[..., Run]


def definition(*steps: Json, **members: object) -> Json:
    """Return a definition with these steps."""
    return {"slug": "flow", "name": "Flow", "steps": list(steps), **members}


@pytest.fixture
def run_workflow(in_riverside: Scope, alice_actor: Actor, now: datetime) -> Runner:
    """Publish a definition, run it with an input until nothing is due, and return the run."""

    def run(source: Json, input: Json | None = None) -> Run:
        services.create_workflow(definition=source, actor=alice_actor, now=now, publish=True)
        started = runs.start(actor=alice_actor, workflow=source["slug"], input=input or {}, now=now)
        run_until_idle(["steps"])
        return queries.run(started.id)

    return run
