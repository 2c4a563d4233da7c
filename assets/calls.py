"""Direct calls of deployed assets: execute and commit in one, at once or as due work."""

import logging
from collections.abc import Callable
from datetime import datetime

from assets import queries
from assets.invocation import Outcome, abandon, commit, execute
from assets.models import AgentRun, RunStatus
from assets.runs import find_or_create_run
from assets.runtime.packages import check_call
from assets.runtime.serving import call_context, find, serving
from assets.sdk import AssetError, Json
from fhir.store import InvalidResource
from healthcloud.actors import Actor
from healthcloud.api.idempotency import RequestInFlight
from healthcloud.errors import HealthCloudError
from healthcloud.ledger.services import enqueue
from healthcloud.tenancy.scope import Scope, tenant_scope

logger = logging.getLogger(__name__)

AGENT_RUN_KIND = "agent.run"
AGENT_RUN_QUEUE = "agents"


def ignore(_: object) -> None:
    """Keep nothing."""


def invoke(
    *,
    scope: Scope,
    deployment_id: str,
    action: str | None,
    input: Json,
    actor: Actor,
    now: datetime,
    idempotency_key: str,
    keep: Callable[[Outcome], None] = ignore,
) -> Outcome:
    """Execute and commit in one call, each in transactions of its own; for direct invocations.

    `keep` is called in the transaction of the effects, such as to store the answer with them.
    Raises what `execute` and `commit` raise; an agent's run record then says why.
    """
    with tenant_scope(scope):
        found = queries.deployment(deployment_id)
    prepared = execute(
        deployment=found,
        action=action,
        input=input,
        actor=actor,
        now=now,
        idempotency_key=idempotency_key,
        scope=scope,
    )
    try:
        with tenant_scope(scope):
            outcome = commit(prepared, actor=actor, now=now)
            keep(outcome)
            return outcome
    except RequestInFlight:
        raise  # another request took this call over, and the record of its run
    except HealthCloudError as error:
        abandon(prepared, error, now=now)
        raise


def run_agent(
    *,
    scope: Scope,
    agent: str,
    input: Json,
    actor: Actor,
    now: datetime,
    idempotency_key: str,
    keep: Callable[[AgentRun], None] = ignore,
) -> AgentRun:
    """Run a project's deployed agent and return its run record, also that of a failed run.

    `keep` is called with the record of a run that succeeded, in the transaction of its effects.
    Raises NotRunning (409), InputInvalid (422), AssetNotFound (404) when no run began.
    """
    with tenant_scope(scope):
        found = find(agent, scope)

    def record() -> AgentRun:
        return queries.agent_runs().get(deployment=found, idempotency_key=idempotency_key)

    try:
        invoke(
            scope=scope,
            deployment_id=found.id,
            action=None,
            input=input,
            actor=actor,
            now=now,
            idempotency_key=idempotency_key,
            keep=lambda _: keep(record()),
        )
    except (AssetError, InvalidResource) as error:
        logger.info("agent_run_failed", extra={"code": error.code})  # the run record says why
    with tenant_scope(scope):
        return record()


def queue_agent(
    *,
    scope: Scope,
    agent: str,
    input: Json,
    actor: Actor,
    now: datetime,
    idempotency_key: str,
    keep: Callable[[AgentRun], None] = ignore,
) -> AgentRun:
    """Ask for an agent's run and return its queued record; due work carries it out.

    `keep` is called with the record in the transaction that writes it. Raises NotRunning (409),
    InputInvalid (422), AssetNotFound (404).
    """
    with tenant_scope(scope):
        found, release = serving(agent, scope)
        context, _ = call_context(
            found, release, scope=scope, now=now, idempotency_key=idempotency_key
        )
        check_call(context, None, input)
        run, _ = find_or_create_run(
            context, found, input, RunStatus.QUEUED, actor=actor, trigger="api"
        )
        enqueue(
            scope=scope, kind=AGENT_RUN_KIND, ref=run.id, queue=AGENT_RUN_QUEUE, dedupe_key=run.id
        )
        keep(run)
        return run


def carry_out_run(*, scope: Scope, run_id: str, now: datetime) -> None:
    """Run a queued agent; a run that has ended is left as it is."""
    with tenant_scope(scope):
        run = queries.agent_run(run_id)
    if run.status not in (RunStatus.QUEUED, RunStatus.RUNNING):
        return
    run_agent(
        scope=scope,
        agent=run.asset_id,
        input=run.input,
        actor=Actor(**run.actor),
        now=now,
        idempotency_key=run.idempotency_key,
    )
