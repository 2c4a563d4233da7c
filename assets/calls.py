"""Direct calls of deployed assets: execute and commit in one, at once or as due work."""

import logging
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
from healthcloud.errors import HealthCloudError
from healthcloud.ledger.services import enqueue
from healthcloud.tenancy.scope import Scope, tenant_scope

logger = logging.getLogger(__name__)

AGENT_RUN_KIND = "agent.run"
AGENT_RUN_QUEUE = "agents"


def invoke(
    *,
    scope: Scope,
    deployment_id: str,
    action: str | None,
    input: Json,
    actor: Actor,
    now: datetime,
    idempotency_key: str,
) -> Outcome:
    """Execute and commit in one call, each in transactions of its own; for direct invocations.

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
            return commit(prepared, actor=actor, now=now)
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
) -> AgentRun:
    """Run a project's deployed agent and return its run record, also that of a failed run.

    Raises NotRunning (409), InputInvalid (422), AssetNotFound (404) when no run began.
    """
    with tenant_scope(scope):
        found = find(agent, scope)
    try:
        invoke(
            scope=scope,
            deployment_id=found.id,
            action=None,
            input=input,
            actor=actor,
            now=now,
            idempotency_key=idempotency_key,
        )
    except (AssetError, InvalidResource) as error:
        logger.info("agent_run_failed", extra={"code": error.code})  # the run record says why
    with tenant_scope(scope):
        return queries.agent_runs().get(deployment=found, idempotency_key=idempotency_key)


def queue_agent(
    *,
    scope: Scope,
    agent: str,
    input: Json,
    actor: Actor,
    now: datetime,
    idempotency_key: str,
) -> AgentRun:
    """Ask for an agent's run and return its queued record; due work carries it out.

    Raises NotRunning (409), InputInvalid (422), AssetNotFound (404).
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
